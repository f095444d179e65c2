"""Open image files: kept in one pool and lent to one thread at a time.

So reading a second window does not open the file again, and every reader is thread-safe.

GDAL keeps decoded blocks, whole rows in a file of strips, for each opening of a file apart. So no
more threads read one local file at a time than there are cores: more openings of it would each keep
fewer rows and decode more of them again. Other files, and those of other machines, do not wait.
"""

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import rasterio
from rasterio.errors import RasterioIOError

from jaxseg.errors import UserError
from jaxseg.files import formats

ARRAYS = (".mat", ".npy", ".npz")
"""Endings of files of arrays, which `jaxseg.files.arrays` reads and GDAL does not."""

OF_ARRAYS = (
    "Arrays are not images: the source ArrayScene reads them for training and evaluation (jaxseg "
    "new my.py --images FILE --masks FILE writes a config). Maps are made of image files: write "
    "GeoTIFF."
)
"""What to do about such a file where an image is expected."""

OPEN_FILES = 256
"""How many files stay open for their next window; systems commonly allow a process 1024."""

CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
"""Threads that read one local file at a time; others wait."""

_GDAL = {
    # A truncated JPEG or PNG is an error; by default GDAL reads the missing part as gray or black.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE",
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
    # Opening one of a million files must not list their folder; side-car files are still found.
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    # A server that does not answer is an error, not a program that hangs; in seconds.
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
}


def gdal_settings() -> dict[str, str]:
    """How GDAL is set; those of the environment, such as GDAL_HTTP_TIMEOUT, come first."""
    return {name: os.environ.get(name, value) for name, value in _GDAL.items()}


@contextmanager
def lent(path: str) -> Iterator[rasterio.DatasetReader]:
    """The open file, for one thread alone; GDAL's errors become errors that a user understands.

    A thread does not borrow a file that it holds: it might wait for itself.
    """
    with rasterio.Env(**gdal_settings()):
        try:
            key = _key(path)
            with _POOL.turn(key) if _is_local(path) else nullcontext():
                file = _POOL.take(key) or _opened(path)
                yield file
                _POOL.give_back(key, file)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file. Check the path.") from None
        except (RasterioIOError, OSError) as error:
            # The file has not returned to the pool: the next reader opens it again.
            with suppress(RasterioIOError, OSError, UserError):
                # Or GDAL reports this error for the next file, too.
                _opened(path).close()
            reason = str(error.__cause__ or error).replace(path, Path(path).name).rstrip(".")
            raise UserError(f"Cannot read {path}: {reason}. {_advice(path, reason)}") from error


def _opened(path: str) -> rasterio.DatasetReader:
    return formats.opened(path)


def _advice(path: str, reason: str) -> str:
    """What to do about a file that cannot be read."""
    if "codec" in reason or "compression" in reason.lower():
        return "It is compressed in a way that this GDAL cannot read: convert it with one that can."
    if path.lower().endswith(".vrt"):
        return "A file that this virtual raster names is missing or damaged: correct its path."
    if path.lower().endswith(ARRAYS):
        return OF_ARRAYS
    if "not recognized" in reason:
        return "It is damaged, or not what its ending says: fetch it again, rename or remove it."
    return "The file is damaged or not an image: fetch it again or remove it."


def _key(path: str) -> "_Key":
    """What tells apart two states of a file; GDAL alone knows what is not a local file."""
    if not _is_local(path):
        return path, 0, 0
    status = os.stat(path)  # noqa: PTH116  (a Path costs more than the call)
    return path, status.st_mtime_ns, status.st_size


def _is_local(path: str) -> bool:
    return not path.startswith("/vsi") and "://" not in path


_Key = tuple[str, int, int]


class _Pool:
    """Idle open files by path, time and size; the least recently used ones are closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: OrderedDict[_Key, list[rasterio.DatasetReader]] = OrderedDict()
        self._count = 0
        self._turns: dict[_Key, tuple[threading.Semaphore, int]] = {}

    @contextmanager
    def turn(self, key: _Key) -> Iterator[None]:
        """Waits until fewer than `CORES` threads are in the turn of this file."""
        with self._lock:
            turns, threads = self._turns.get(key, (threading.Semaphore(CORES), 0))
            self._turns[key] = turns, threads + 1
        try:
            with turns:
                yield
        finally:
            with self._lock:
                turns, threads = self._turns.pop(key)
                if threads > 1:
                    self._turns[key] = turns, threads - 1

    def take(self, key: _Key) -> rasterio.DatasetReader | None:
        with self._lock:
            files = self._idle.get(key)
            if not files:
                return None
            self._count -= 1
            file = files.pop()
            if not files:
                del self._idle[key]
            return file

    def give_back(self, key: _Key, file: rasterio.DatasetReader) -> None:
        surplus: list[rasterio.DatasetReader] = []
        with self._lock:
            self._idle.setdefault(key, []).append(file)
            self._idle.move_to_end(key)
            self._count += 1
            while self._count > OPEN_FILES:
                _, files = self._idle.popitem(last=False)
                self._count -= len(files)
                surplus += files
        for old in surplus:
            old.close()


def _forget_after_fork() -> None:
    """Gives a forked process a new pool: it may neither use nor close its parent's open files."""
    global _POOL
    _OF_PARENTS.append(_POOL)
    _POOL = _Pool()


_POOL = _Pool()
_OF_PARENTS: list[_Pool] = []
os.register_at_fork(after_in_child=_forget_after_fork)
