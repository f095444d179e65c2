"""The command `jaxseg`: finds the commands and starts them, without heavy imports of its own."""

import sys

from jaxseg.system import interrupts

COMMANDS = {
    "train": ("train --config CONFIG.py|NAME ...", "train a network"),
    "evaluate": ("evaluate RUN ...", "measure a run: tables, pictures, intervals"),
    "doubts": ("doubts RUN ...", "labels that are probably wrong: list, picture, maps"),
    "predict": ("predict RUN SCENE.tif MAP.tif ...", "map a scene of any size"),
    "report": (
        "report RUN [--map MAP.tif] ...",
        "write a page about a run, for others",
    ),
    "robustness": ("robustness RUN ...", "corrupt and attack the images of a run"),
    "polygons": ("polygons MAP.tif FILE.gpkg ...", "polygons of a map, with area and confidence"),
    "export": ("export RUN FILE.safetensors|FOLDER ...", "write a run for PyTorch, XLA, ONNX"),
    "card": ("card RUN [--push OWNER/NAME] ...", "write a model card for the hub, and push both"),
    "new": ("new MY.py --images A --masks B", "write a config for your own files"),
    "data": ("data CONFIG.py|NAME | --images A --masks B", "look at data before training"),
    "pack": ("pack CONFIG.py|NAME FOLDER ...", "convert images once, to be read faster"),
    "bench": ("bench CONFIG.py|NAME ...", "windows/s of reading, of the step, of both"),
    "configs": ("configs [NAME] [--copy FILE.py]", "list the shipped configs, or copy one"),
    "models": ("models [NAME] ...", "list the networks, or the layers of one"),
    "weights": ("weights [NAME]", "list published weights, or show the card of one"),
    "border": ("border CONFIG.py|RUN [FILE.png] ...", "draw the border weights of a loss"),
    "class-weights": ("class-weights --config CONFIG.py ...", "count the classes of a dataset"),
    "plan": ("plan CONFIG.py|NAME --topology v5e:2x4 ...", "predict memory and speed of a step"),
    "polsar": ("polsar FOLDER|FILE.tif ...", "check and draw a polarimetric scene"),
}
"""Command -> its usage and what it does."""

MISTAKE = 2


def main(arguments: list[str] | None = None) -> None:
    """The command `jaxseg`."""
    if arguments is None:
        interrupts.watch()
    arguments = sys.argv[1:] if arguments is None else arguments
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help"):
        sys.stdout.write(usage())
    elif command == "--version":
        from importlib.metadata import version

        sys.stdout.write(f"jaxseg {version('jaxseg')}\n")
    elif command not in COMMANDS:
        sys.stderr.write(f"jaxseg has no command {command}.\n\n{usage()}")
        sys.exit(MISTAKE)
    elif command == "configs":
        from jaxseg.cli import shipped

        shipped.configs(rest)
    else:
        if sys.stderr.isatty() and not {"-h", "--help"} & set(rest):
            sys.stderr.write(f"jaxseg {command} ...\n")  # the imports take some seconds
        from jaxseg.cli import commands

        getattr(commands, command.replace("-", "_"))(rest)


def usage() -> str:
    """The usage of all commands, within 80 columns."""
    lines = [f"  jaxseg {call}\n      {what}" for call, what in COMMANDS.values()]
    return (
        "Semantic segmentation of Earth observation: train, evaluate, map.\n\n"
        + "\n".join(lines)
        + "\n\n`jaxseg COMMAND --help` lists its flags; `jaxseg --version` prints the version.\n"
    )
