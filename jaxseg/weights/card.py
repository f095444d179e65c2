"""Cards of published weights: what a file is, where it is, and what its bands and values mean.

One file for each in the folder `cards`. `source` states where its facts were read; what was not
stated there is empty: `sha256 = ""`, `revision = ""`.
"""

import dataclasses
import difflib
import functools
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from jaxseg.errors import UserError
from jaxseg.scenes.sensor import Unit

FOLDER = Path(__file__).parent / "cards"

PACKAGE = "pypi:"
"""Begin of the address of a file in a package of PyPI: pypi:PACKAGE/FOLDER/FILE."""


@dataclasses.dataclass(frozen=True)
class Card:
    """Published weights.

    Attributes:
        name: What `Pretrained(name=...)` calls them.
        title: What they are, in one line.
        address: Of the file: https://..., or pypi:PACKAGE/FOLDER/FILE of an installed package.
        revision: Commit, release or version of the address; `main` if no fixed one is known, and
            empty if the address has none.
        sha256: Checksum of the file, or its first digits where only these are published; empty =
            not known.
        licence: As the publisher states it.
        citation: What to cite.
        source: Where these facts were read.
        backbone: The encoder, as `--config.model.backbone` names it.
        form: Whose names the tensors have.
        part: `all` if the file holds a whole network, else `encoder`.
        bands: The bands they were trained on, in order.
        wavelengths: Centres of the bands in nanometres; () = none, as for radar.
        unit: Unit of `mean` and `std`.
        mean: What was subtracted from each band in the training.
        std: What it was divided by then.
        scaling: The same as the authors did it, in words.
        network: Class of the whole network; empty for an encoder.
        classes: Its classes.
        unlike: Bands in another unit than the others, such as temperatures.
        note: What else to know.
    """

    name: str
    title: str
    address: str
    revision: str
    sha256: str
    licence: str
    citation: str
    source: str
    backbone: str
    form: str
    part: Literal["all", "encoder"]
    bands: tuple[str, ...]
    wavelengths: tuple[float, ...]
    unit: Unit
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scaling: str
    network: str = ""
    classes: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    note: str = ""

    @property
    def file(self) -> str:
        """Name of the file, without its folder."""
        return self.address.rpartition("/")[2]


def names() -> list[str]:
    """The names of all cards, in order."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


@functools.cache
def card(name: str) -> Card:
    """The card of a name.

    Raises:
        UserError: There is none; the message has similar names.
    """
    known = names()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
        hint = f" Perhaps {' or '.join(close)}." if close else ""
        raise UserError(f"No weights are called {name!r}.{hint} `jaxseg weights` lists them.")
    return read(FOLDER / f"{name}.toml")


def read(file: Path) -> Card:
    """The card in a file.

    Raises:
        UserError: A field is missing, unknown or of another type, or fields contradict each other.
    """
    try:
        told = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is not a card: {error}.") from None
    fields = {field.name: field for field in dataclasses.fields(Card)}
    required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    if wrong := sorted((required - set(told)) | (set(told) - set(fields))):
        raise UserError(f"{file}: fields missing or unknown: {', '.join(wrong)}.")
    kinds = get_type_hints(Card)
    values = {name: _typed(value, kinds[name], f"{file}: {name}") for name, value in told.items()}
    found = Card(**values)
    if fault := _fault(found, file.stem):
        raise UserError(f"{file}: {fault}.")
    return found


def _typed(value: Any, kind: Any, where: str) -> Any:  # noqa: ANN401  (of any field)
    """A TOML value as its field holds it."""
    if kind in (tuple[str, ...], tuple[float, ...]):
        inner = get_args(kind)[0]
        if isinstance(value, list) and all(type(each) is inner for each in value):
            return tuple(value)
    elif kind is str:
        if isinstance(value, str):
            return value
    elif value in get_args(kind):  # a Literal
        return value
    raise UserError(f"{where} = {value!r} is not of the type {kind}.")


def _fault(card: Card, stem: str) -> str:
    """What contradicts itself in a card."""
    count = len(card.bands)
    empty = [
        field.name
        for field in dataclasses.fields(card)
        if field.default is dataclasses.MISSING
        and field.name not in ("revision", "sha256", "wavelengths")
        and not getattr(card, field.name)
    ]
    if empty:
        return f"empty are {', '.join(empty)}"
    if card.name != stem:
        return f"its name is {card.name}"
    if {count} != {len(card.mean), len(card.std)} or len(card.wavelengths) not in (0, count):
        return f"{count} bands, {len(card.mean)} means, {len(card.std)} deviations"
    if min(card.std) <= 0 or not set(card.unlike) <= set(card.bands):
        return "a deviation is not positive, or a band of `unlike` is not one of its bands"
    if not re.fullmatch("([0-9a-f]{8,64})?", card.sha256):
        return "sha256 is not empty and not 8 to 64 hexadecimal digits"
    if not card.address.startswith(("https://", PACKAGE)):
        return "the address begins neither with https:// nor with pypi:"
    if (card.part == "all") != bool(card.network and card.classes):
        return "a whole network has `network` and `classes`, an encoder has neither"
    return ""
