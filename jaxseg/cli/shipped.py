"""The command `jaxseg configs`: the configs that come with the library, listed and copied."""

import argparse
import ast
import sys
from pathlib import Path

from jaxseg import shipped_configs
from jaxseg.errors import DiskError
from jaxseg.system.disk import whole

MISTAKE = 2


def configs(arguments: list[str]) -> None:
    """The command `jaxseg configs`."""
    parser = argparse.ArgumentParser(
        "jaxseg configs", description="Lists the shipped configs, or shows or copies one of them."
    )
    parser.add_argument("name", nargs="?", help="name of a config; if left out, all are listed")
    parser.add_argument("--copy", type=Path, metavar="FILE.py", help="file to copy it to, to edit")
    flags = parser.parse_args(arguments)
    files = shipped_configs()
    if flags.name is None:
        width = max(map(len, files))
        for name, file in files.items():
            sys.stdout.write(f"{name:{width}}  {_first_sentence(file)}\n")
        sys.stdout.write("\nTrain one: jaxseg train --config NAME\n")
    elif flags.name not in files:
        sys.stderr.write(f"Error: no config {flags.name}; there are {', '.join(files)}.\n")
        sys.exit(MISTAKE)
    elif flags.copy is None:
        sys.stdout.write(files[flags.name].read_text())
    elif flags.copy.exists() or flags.copy.suffix != ".py":
        sys.stderr.write(
            f"Error: {flags.copy} exists or does not end in .py: give a new name that does.\n"
        )
        sys.exit(MISTAKE)
    else:
        try:
            with whole(flags.copy) as aside:
                aside.write_text(files[flags.name].read_text())
        except DiskError as error:
            sys.stderr.write(f"Error: {error}\n")
            sys.exit(MISTAKE)
        sys.stdout.write(f"{flags.copy}: edit it, then jaxseg train --config {flags.copy}\n")


def _first_sentence(file: Path) -> str:
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())
