"""A figure as a file, which is there whole or not at all."""

from pathlib import Path

from matplotlib.figure import Figure

from jaxseg.system.disk import whole


def write_figure(figure: Figure, path: Path, *, dpi: float = 0, tight: bool = False) -> None:
    """Writes a PNG picture; its folder is made if it is missing.

    Args:
        figure: What to write.
        path: The file.
        dpi: Pixels per inch; 0 = those of the figure.
        tight: Whether the margins are cut off.

    Raises:
        UserError: The file cannot be written.
    """
    with whole(path) as aside:
        path.parent.mkdir(parents=True, exist_ok=True)
        box = "tight" if tight else None
        figure.savefig(aside, dpi=dpi or "figure", format="png", bbox_inches=box)
