"""The fields in which a source of your own data names its classes, checked before files are."""

import colorsys
from collections.abc import Mapping, Sequence

from jaxseg.datasets.folder.pairing import FLAG
from jaxseg.datasets.label_table import MAX_CLASSES
from jaxseg.errors import UserError

Color = tuple[int, int, int]


def check_classes(classes: Sequence[str], per_class: Mapping[str, Sequence[object]]) -> None:
    """Refuses names and what is given for each of them where they do not fit each other.

    Args:
        classes: Names.
        per_class: Field -> its entries, one a class; none where the field may be empty.

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
                f"({', '.join(classes)}). Give one each, in their order."
            )


def check_colors(colors: Sequence[Color]) -> None:
    """Refuses what is no colour.

    Raises:
        UserError: A part is not 0 to 255.
    """
    for color in colors:
        if not all(0 <= part <= 255 for part in color):
            raise UserError(f"Colour {color}: red, green and blue have to be 0 to 255.")


def hues(count: int) -> tuple[Color, ...]:
    """Colours that differ: hues by the golden ratio, every other one darker."""
    colors = (
        colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.75, (0.95, 0.65)[index % 2])
        for index in range(count)
    )
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colors)
