"""The labels of a run's data that are probably wrong: `find(workdir, split)`."""

from pathlib import Path

from rich.console import Console

from jaxseg import sharding
from jaxseg.config_text import Code
from jaxseg.datasets.held_out import HELD_OUT
from jaxseg.datasets.leakage import refuse_trained_pixels
from jaxseg.datasets.paired import without_side
from jaxseg.errors import UserError
from jaxseg.evaluation import own_data
from jaxseg.evaluation.doubts.files import Found, refuse_other_files, write
from jaxseg.evaluation.doubts.passes import Doubts
from jaxseg.evaluation.evaluate import check_classes, of_source, of_tiles
from jaxseg.files.vectors import check_extra
from jaxseg.run import checkpoint
from jaxseg.run.contract import Check
from jaxseg.run.evaluator import Evaluator
from jaxseg.scenes.scene import Source
from jaxseg.sharding import MeshShape

SMALLEST = 9
"""Pixels of a region that is listed, by default: less is mostly an outline drawn a pixel off."""

SEEN = (
    "The network was trained on these labels and may repeat their errors:",
    "of the wrong ones, fewer are found. HeldOut of jaxseg.datasets keeps scenes",
    "out of the training, for --split held-out.",
)

MOST = 0.5
"""Share of doubted labels above which the network is doubted instead."""

WEAK = (
    "More than half of the labels are doubted. Most likely the network is wrong and",
    "not the labels: `jaxseg evaluate` states its scores; train it longer first.",
)


def find(
    workdir: Path,
    split: str,
    folder: Path,
    *,
    source: Source | None = None,
    which: str = "best",
    smallest: int = SMALLEST,
    shared_ground: float = 0.0,
    code: Code = (),
    check: bool = True,
    tile: int = 0,
    overlap: float = 0.0,
    make: bool = False,
    polygons: bool = False,
    console: Console | None = None,
) -> Found:
    """Finds the labels that are probably wrong and writes maps, a table and a picture of them.

    Args:
        workdir: The run's folder.
        split: `test`, `validation`, `train`, or `held-out` of a source that holds scenes out.
        folder: Where to write; see `jaxseg.evaluation.doubts.files`.
        source: Other data; None = those of the run.
        which: `best`, `latest` or a step.
        smallest: Pixels that a region needs to be listed.
        shared_ground: Share of the ground of the split, 0..1, that the training may have shown.
        code: Where the run's classes from outside jaxseg may be taken from.
        check: Whether other data are compared with the images of the training.
        tile: Rows and columns of the windows; 0 = the evaluation crop of the run.
        overlap: Share of a window's side that two neighbours have in common, at least.
        make: Whether data that the run's config names may be fetched, drawn or downloaded.
        polygons: Whether regions are written as polygons (GeoPackage), too.
        console: Where to show how far it is; None = nowhere.

    Raises:
        UserError: There is no such run, checkpoint or split, the split contains pixels that the run
            was trained on (other than by `train`), or the folder cannot be written.
        SensorError: The images do not match what the run was trained on.
    """
    if smallest < 1:
        raise UserError(f"--smallest {smallest}: give the pixels of a region, at least 1.")
    if polygons:
        check_extra()
    refuse_other_files(folder)
    console = console or Console(quiet=True)
    config, state = checkpoint.reopen(workdir, MeshShape(), which, code)
    trained = config.data.source
    if source is not None and not own_data.shared_paths(trained, source):
        source.scenes(split)  # a person's own data are made on first use
    with own_data.opened(workdir, trained, make=make, console=console):
        is_own = source is None or without_side(source) == without_side(trained)
        if split == HELD_OUT and not is_own:
            raise UserError(
                f"--split {HELD_OUT}: these are scenes that this run has not been trained on, by "
                "its own config. Leave flags of other data out."
            )
        config = of_tiles(of_source(config, trained if source is None else source), tile)
        given = config.data.source
        check_classes(trained, given)
        if split != HELD_OUT:
            allowed = max(shared_ground, config.data.shared_ground)
            refuse_trained_pixels(trained, given, split, allowed)
        kind: Check = "none" if not check else "own" if is_own else "other"
        mesh = sharding.make_mesh(MeshShape())
        evaluator = Evaluator(config, mesh, split, console=console, check=kind, overlap=overlap)
        found = write(
            Doubts(config, mesh, evaluator, state),
            evaluator.scenes,
            given,
            folder,
            split=split,
            step=int(state.step),
            run=workdir.resolve().name,
            smallest=smallest,
            polygons=polygons,
        )
    weak = found.doubted.sum() > MOST * found.doubts.count.sum()
    seen = split == "train" and is_own
    return found._replace(notes=(*(WEAK if weak else ()), *(SEEN if seen else ())))
