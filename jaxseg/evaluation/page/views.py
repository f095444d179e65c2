"""What the page shows: the worst and the best windows, and a map."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxseg.evaluation.page import charts
from jaxseg.evaluation.page.markup import Html, drawing, photo, said, section, table, tag
from jaxseg.pictures.map_view import MapView, scale_bar
from jaxseg.pictures.marking import Colors
from jaxseg.pictures.tiles import Tile, colorize, striped

SMALL = 600
"""Rows or columns of a map that is shown larger than it is."""


def windows(tiles: dict[str, list[Tile]], colors: Colors, names: Sequence[str]) -> Html:
    """The worst and the best windows; a border that is moved swipes between two pictures."""
    pairs = ("image-map", "image-reference", "reference-map")
    choices = [
        tag(
            "label",
            tag("input", type="radio", name="pair", value=pair, checked=pair == pairs[0]),
            " " + pair.replace("-", " | "),
        )
        for pair in pairs
    ]
    content = [tag("fieldset", tag("legend", "Compare"), *choices)]
    for kind in ("worst", "best"):
        if tiles.get(kind):
            content.append(tag("h3", f"{kind.capitalize()} windows"))
            shown = (_tile(tile, colors) for tile in tiles[kind])
            content.append(tag("div", *shown, class_="tiles"))
    every = [tile for of_kind in tiles.values() for tile in of_kind]
    present = {k for t in every for k in np.unique(t.prediction[t.valid]).tolist()}
    present |= {k for t in every for k in np.unique(t.label[t.counted()]).tolist()}
    legend = (charts.swatch(colors[k], names[k]) for k in sorted(present) if k < len(names))
    content.append(tag("p", *legend, class_="legend"))
    told = "Move the border: point at a picture, or use the slider and its arrow keys. "
    told += "Striped pixels are not counted: they have no label or no data."
    return section("windows", "Worst and best windows", *content, said(told))


def scene_map(path: Path, found: MapView, colors: Colors, names: Sequence[str], step: int) -> Html:
    """A map with its legend and a scale bar."""
    ids = np.where(found.valid, found.ids.astype(np.int64), len(names))
    height, width = ids.shape
    picture = striped(colorize(ids, colors), found.valid)
    counts = np.bincount(ids[found.valid], minlength=len(names))
    present: list[int] = np.flatnonzero(counts).tolist()
    larger = max(1, SMALL // max(height, width))
    picture = picture.repeat(larger, axis=0).repeat(larger, axis=1)
    shown = f"The map {path.name}: {', '.join(names[k] for k in present)}"
    size = {"width": width * larger, "height": height * larger}
    parts = [tag("img", src=drawing(picture), alt=shown, **size)]
    if found.metres is not None:
        length, told = scale_bar(found.metres, width)
        bar = tag("path", d="M1 0V6H99V0")
        how = {"viewBox": "0 0 100 7", "preserveAspectRatio": "none", "aria_hidden": "true"}
        parts.append(tag("svg", bar, width=f"{100 * length / width:.2f}%", class_="scale", **how))
        parts.append(tag("p", told, class_="soft"))
    rows = [
        [charts.swatch(colors[k], names[k]), f"{100 * counts[k] / max(1, counts.sum()):.2f}"]
        for k in present
    ]
    header, tags = found.header, found.header.tags
    facts = [f"{path.name}: {header.height} x {header.width} pixels"]
    if (header.height, header.width) != (height, width):
        facts.append(f"shown as {height} x {width}, from which the shares are")
    if "JAXSEG_RUN" in tags:
        facts.append(f"made by {tags['JAXSEG_RUN']}, step {tags.get('JAXSEG_STEP', 'not known')}")
    if tags.get("JAXSEG_STEP", str(step)) != str(step):
        facts.append(f"the scores on this page are those of step {step}")
    facts.append("no scale: it has no CRS" if found.metres is None else f"{header.crs}")
    legend = table("Share of the map", ["class", "% of pixels"], rows)
    sheet = tag("div", tag("figure", *parts, class_="sheet"), legend, class_="row")
    return section("map", "Map", sheet, said("; ".join(facts) + "."))


def _tile(tile: Tile, colors: Colors) -> Html:
    """A window: three pictures of one size, of which two are seen."""
    views = {
        "image": photo(tile.rgb),
        "reference": drawing(striped(colorize(tile.label, colors), tile.counted())),
        "map": drawing(striped(colorize(tile.prediction, colors), tile.valid)),
    }
    height, width = tile.label.shape
    size = {"width": width, "height": height, "draggable": "false"}
    name = "/".join(tile.name.split("/")[-2:])  # without the folders of the machine
    pictures = [
        tag("img", src=address, class_=kind, alt=f"{kind} of {name}", **size)
        for kind, address in views.items()
    ]
    share = tile.share()
    right = "nothing counted" if math.isnan(share) else f"{100 * share:.2f} % right"
    label = f"Border between the two pictures of {name}, in percent"
    slider = tag("input", type="range", min=0, max=100, value=50, aria_label=label)
    swipe = tag("div", *pictures, tag("span"), class_="swipe")
    return tag("figure", swipe, slider, tag("figcaption", f"{name}: {right}"), class_="tile")
