"""Many scenes, one map each: divided among processes, resumed, and none stops the others."""

from collections.abc import Sequence
from pathlib import Path

from jaxseg.errors import DiskError, UserError
from jaxseg.prediction.archive import SceneFiles
from jaxseg.prediction.predict import Mapper
from jaxseg.system.console import make_console, say
from jaxseg.system.disk import writing

SHOWN = 20
"""Scenes that failed and are named at the end; each was named when it failed, too."""


def map_each(
    mapper: Mapper, scenes: Sequence[SceneFiles], folder: Path, previews: Path | None = None
) -> list[Path]:
    """Makes the map of each scene of this process, at its place below a folder.

    With at least as many scenes as processes, a process maps whole scenes; otherwise all of them
    share the blocks of every scene. A scene that cannot be mapped does not stop the others.

    Args:
        mapper: How maps are made, and which share of them.
        scenes: All of the archive, in an order that is the same in all processes.
        folder: Of the maps; made if it is not there.
        previews: Folder of a picture of each map, likewise; None = no pictures.

    Returns:
        The files of the maps that are complete, and their pictures.

    Raises:
        UserError: Some of the scenes could not be mapped.
    """
    console, share = make_console(), mapper.settings.share
    whole = len(scenes) >= share.count
    places = share.of(len(scenes)) if whole else range(len(scenes))
    own = mapper.whole() if whole else mapper
    failed: dict[str, str] = {}
    written: list[Path] = []
    for number, place in enumerate(places, start=1):
        scene = scenes[place]
        out = folder / f"{scene.name}.tif"
        say(console, f"[{number}/{len(places)}] {scene.name}")
        picture = None if previews is None else previews / f"{scene.name}.png"
        for file in (out, picture or out):
            with writing(file.parent):
                file.parent.mkdir(parents=True, exist_ok=True)
        try:
            written += own.map([scene], out, picture)
        except DiskError:
            raise  # the others would fail alike, each after it is computed
        except UserError as error:
            failed[scene.name] = str(error)
            say(console, f"  failed: {error}")
    if failed:
        named = "\n".join(f"  {name}: {why}" for name, why in list(failed.items())[:SHOWN])
        more = f"\n  and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
        what = "maps are not complete" if own.settings.finish else "scenes could not be mapped"
        raise UserError(
            f"{len(failed)} of {len(places)} {what}:\n{named}{more}\n"
            "The others are complete; the same command tries these again."
        )
    return written
