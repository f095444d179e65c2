"""The list of published weights, and the card of one of them."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from jaxseg.system.console import say
from jaxseg.weights import card as cards
from jaxseg.weights.card import Card
from jaxseg.weights.fetching import VARIABLE, places

UNTOLD = "not stated"


def show(console: Console, name: str = "") -> None:
    """Shows the card of that name, else the list of those whose names contain it.

    Raises:
        UserError: No name does.
    """
    names = cards.names()
    if name in names:
        _show_card(console, cards.card(name))
        return
    found = [known for known in names if name.lower() in known]
    if not found:
        cards.card(name)  # says so
    _show_list(console, [cards.card(known) for known in found])


def _show_list(console: Console, found: list[Card]) -> None:
    """One line for each, within 80 columns."""
    table = Table(box=SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("holds", no_wrap=True)
    table.add_column("bands", justify="right", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    for card in found:
        holds = "network" if card.network else "encoder"
        table.add_row(card.name, holds, str(len(card.bands)), card.licence)
    console.print(table)
    say(console, "`jaxseg weights NAME` shows a card; --config.pretrained.name NAME uses it.")


def _show_card(console: Console, card: Card) -> None:
    """Everything that a card states, and where its file is."""
    here = [place for place in places(card) if place.is_file()]
    classes = f"{card.network}, classes {', '.join(card.classes)}" if card.network else "encoder"
    facts = {
        "title": card.title,
        "holds": classes,
        "encoder": card.backbone,
        "form": card.form,
        "values": card.scaling,
        "note": card.note,
        "licence": card.licence,
        "cite": card.citation,
        "address": card.address,
        "revision": card.revision or UNTOLD,
        "SHA-256": _checksum(card),
        "facts from": card.source,
        "file here": str(here[0]) if here else f"none ({VARIABLE} and the cache were looked at)",
    }
    for name, value in facts.items():
        if value:
            say(console, f"{name + ':':<12}{value}")
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("band")
    for heading in ("nm", "mean", "deviation"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("unit")
    waves = card.wavelengths or (0.0,) * len(card.bands)
    for band, wave, mean, std in zip(card.bands, waves, card.mean, card.std, strict=True):
        unit = "another one" if band in card.unlike else card.unit
        table.add_row(band, f"{wave:g}" if wave else "-", f"{mean:.5g}", f"{std:.5g}", unit)
    console.print(table)


def _checksum(card: Card) -> str:
    if not card.sha256:
        return f"{UNTOLD}: the file is used with a warning"
    if len(card.sha256) < 64:
        return f"begins with {card.sha256} (more is not published)"
    return card.sha256
