"""The fields of a source that describe its classes, checked before any file is opened."""

import colorsys
from collections.abc import Mapping, Sequence

from jaxseg.datasets.folder.pairing import FLAG
from jaxseg.datasets.label_table import MAX_CLASSES
from jaxseg.errors import UserError

Color = tuple[int, int, int]


def check_classes(classes: Sequence[str], per_class: Mapping[str, Sequence[object]]) -> None:
    """Rejects class names, or fields with one entry per class, that are inconsistent.

    Args:
        classes: Names of the classes.
        per_class: Field -> its entries, one per class; without fields that are empty.

    Raises:
        UserError: There are too few or too many classes, one is named twice, or a field has another
            number of entries.
    """
    count = len(classes)
    if not 2 <= count <= MAX_CLASSES:
        raise UserError(f"{FLAG}.classes names {count}: give 2 to {MAX_CLASSES}.")
    if len(set(classes)) < count:
        raise UserError(f"{FLAG}.classes names a class twice: {', '.join(classes)}.")
    for field, values in per_class.items():
        if len(values) != count:
            raise UserError(
                f"{FLAG}.{field} has {len(values)} entries for {count} classes "
                f"({', '.join(classes)}). Give one per class, in their order."
            )


def check_colors(colors: Sequence[Color]) -> None:
    """Rejects values that are not colours.

    Raises:
        UserError: A component is not 0 to 255.
    """
    for color in colors:
        if not all(0 <= part <= 255 for part in color):
            raise UserError(f"Colour {color}: red, green and blue must be 0 to 255.")


def hues(count: int) -> tuple[Color, ...]:
    """Distinct colours: hues spaced by the golden ratio, every other one darker."""
    colors = (
        colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.75, (0.95, 0.65)[index % 2])
        for index in range(count)
    )
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colors)
