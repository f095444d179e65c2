"""Damages one file of a checkpoint as a failing disk, or a person with an editor, does."""

import random
from pathlib import Path


def damage(workdir: Path, draw: random.Random) -> str:
    """Damages one file of a checkpoint.

    Args:
        workdir: The run.
        draw: Decides what is done to which file.

    Returns:
        What was done to it.
    """
    steps = sorted((workdir / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
    folder = draw.choice([*steps, steps[-1], steps[-1]])
    # Orbax names files of arrays at random; their sizes are those of the run's shapes.
    files = sorted(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: (path.parent, path.stat().st_size, path.name),
    )
    kind = draw.choice(["flip", "flip", "flip", "zero", "cut", "empty", "delete", "swap", "folder"])
    if draw.random() < 0.2:
        kind = "digit"
        files = [file for file in files if any(map(str.isdigit, _text(file)))]
    # Half of the damages by size, as a failing disk has it, half of them by files.
    sizes = [file.stat().st_size + 1 for file in files]
    file = draw.choice(files) if draw.random() < 0.5 else draw.choices(files, sizes)[0]
    content = bytearray(file.read_bytes())
    at = draw.randrange(max(1, len(content)))
    if kind == "flip" and content:
        content[at] ^= 1 << draw.randrange(8)
    elif kind == "zero":
        end = min(len(content), at + 4096)
        content[at:end] = bytes(end - at)
    elif kind == "cut":
        del content[at:]
    elif kind == "empty":
        content.clear()
    elif kind == "digit":
        place = draw.choice([n for n, letter in enumerate(_text(file)) if letter.isdigit()])
        content[place] = ord(draw.choice([d for d in "0123456789" if ord(d) != content[place]]))
    if kind == "swap":
        twin = draw.choice(steps) / file.relative_to(folder)
        other = twin if twin.is_file() and twin != file else draw.choice(files)
        content[:] = other.read_bytes()
        other.write_bytes(file.read_bytes())
    file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind != "delete":
        file.write_bytes(content)
    return f"{kind} {file.relative_to(workdir)} at {at}"


def _text(file: Path) -> str:
    """The content of a file that is ASCII text, else nothing."""
    try:
        return file.read_bytes().decode("ascii")
    except UnicodeDecodeError:
        return ""
