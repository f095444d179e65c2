"""The part of a scene that is mapped: by rows and columns, or by coordinates."""

import math

from jaxseg.errors import UserError
from jaxseg.prediction.image import Scene
from jaxseg.prediction.settings import Settings
from jaxseg.scenes.scene import Window


def region(settings: Settings, scene: Scene) -> Window:
    """The part of the scene that is asked for.

    Raises:
        UserError: It is not inside the scene.
    """
    window = settings.window
    if settings.bounds is not None:
        window = _of_bounds(settings.bounds, scene)
    if window is None:
        return Window(0, 0, scene.height, scene.width)
    bottom, right = window.y + window.height, window.x + window.width
    small = min(window.height, window.width) < 1
    if small or min(window.y, window.x) < 0 or bottom > scene.height or right > scene.width:
        raise UserError(
            f"--window {' '.join(map(str, window))}: first row, first column, rows and columns of "
            f"a part of the scene, which has {scene.height} x {scene.width} pixels."
        )
    return window


def _of_bounds(bounds: tuple[float, float, float, float], scene: Scene) -> Window:
    """All pixels of the scene that lie at least in part within west, south, east, north.

    Raises:
        UserError: The bounds contain no pixel of the scene.
    """
    west, south, east, north = bounds
    corners = [~scene.header.transform @ (x, y) for x in (west, east) for y in (south, north)]
    columns, rows = ([corner[axis] for corner in corners] for axis in (0, 1))
    left, right = max(0, math.floor(min(columns))), min(scene.width, math.ceil(max(columns)))
    top, bottom = max(0, math.floor(min(rows))), min(scene.height, math.ceil(max(rows)))
    if not (west < east and south < north and left < right and top < bottom):
        raise UserError(
            f"--bounds {' '.join(f'{number:g}' for number in bounds)}: west, south, east and north "
            f"in {scene.header.crs or 'pixels'} hold no pixel of the scene."
        )
    return Window(top, left, bottom - top, right - left)
