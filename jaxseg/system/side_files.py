"""Small files beside runs and data: whole, or damaged and said so; never believed half.

write(file, content)    JSON with a checksum; the file is there whole or not at all
read(file)              its content
arrays(file)            the arrays of an .npz file, which has checksums by itself
put_aside(file)         a damaged file out of the way, as NAME.damaged
"""

import json
import math
import shutil
import socket
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from jaxseg.system import limits
from jaxseg.system.disk import whole

CHECKED = "crc32"
"""Key of the checksum; files of earlier versions have none."""

_DAMAGED = (
    OSError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, RuntimeError,
    MemoryError, SyntaxError, zlib.error, zipfile.BadZipFile, tokenize.TokenError,
)  # fmt: skip
"""What json, zipfile and NumPy raise for files that are damaged or of another format."""


class DamagedError(Exception):
    """A file is not what was written; the message says how it shows, without the file's name."""


def write(file: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON with a checksum.

    Args:
        file: The file; what is there is replaced.
        content: Name -> anything that JSON holds.

    Raises:
        DiskError: It cannot be written.
    """
    text = json.dumps(sealed(content), indent=2)
    with whole(file) as aside:
        aside.write_text(f"{text}\n", encoding="utf-8")
        if file.is_dir():
            put_aside(file)


def read(file: Path) -> dict[str, Any]:
    """The content of such a file, without its checksum.

    Raises:
        DamagedError: It is not what was written.
    """
    try:
        content = json.loads(file.read_bytes())
    except _DAMAGED as error:
        raise DamagedError(reason(error)) from None
    if not isinstance(content, dict):
        raise DamagedError("it holds no names")
    return opened(content)


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content and its checksum."""
    return {**content, CHECKED: _checksum(content)}


def opened(content: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `sealed`; content of earlier versions has no checksum.

    Raises:
        DamagedError: The checksum is that of another content.
    """
    texts = {name: value for name, value in content.items() if isinstance(value, str)}
    saved = {name: value for name, value in texts.items() if name == CHECKED or len(value) == 8}
    for name, value in saved.items():
        inner = {other: content[other] for other in content if other != name}
        # The checksum under another name is that of a damaged name.
        if (value == _checksum(inner)) != (name == CHECKED):
            raise DamagedError("its checksum is that of another content")
    if CHECKED in content and CHECKED not in saved:
        raise DamagedError("its checksum is none")
    return {name: value for name, value in content.items() if name != CHECKED}


def arrays(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file; objects are not unpickled.

    Raises:
        DamagedError: It is not what was written.
        UserError: It is larger than `limits.ARRAY`.
    """
    try:
        return limits.load_arrays(file)
    except _DAMAGED as error:
        raise DamagedError(reason(error)) from None


def number(value: object) -> float:
    """A finite number of JSON.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def put_aside(file: Path) -> Path:
    """Renames a file, or what is in its place, to NAME.damaged; returns that path.

    Raises:
        OSError: The folder cannot be written to.
    """
    aside = file.with_name(f"{file.name}.damaged")
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    else:
        aside.unlink(missing_ok=True)
    return file.rename(aside)


def kernel() -> str:
    """What the processes that see each other's locks in any case have in common."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def reason(error: BaseException) -> str:
    """One line of what is wrong."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else "it ends too early"


def _checksum(content: Mapping[str, Any]) -> str:
    text = json.dumps(json.loads(json.dumps(content)), sort_keys=True)
    return f"{zlib.crc32(text.encode()):08x}"
