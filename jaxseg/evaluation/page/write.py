"""From a run to its page: `write(run, page)`."""

import datetime
import functools
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.datasets.paired import without_side
from jaxseg.errors import UserError
from jaxseg.evaluation import evaluate as assessment
from jaxseg.evaluation import own_data, report
from jaxseg.evaluation.page import origin, robust, scores, stored, views
from jaxseg.evaluation.page.markup import Html, document, joined, tag
from jaxseg.evaluation.page.stored import Evaluated
from jaxseg.pictures.map_view import read_classes
from jaxseg.pipeline.survey import Survey, survey
from jaxseg.run import checkpoint, data_files
from jaxseg.system.console import track
from jaxseg.system.disk import whole

MAP_SIDE = 1200
"""Rows or columns of a map on the page at most, whichever are more."""

SPLITS = ("train", "validation", "test")


def write(
    workdir: Path,
    out: Path,
    *,
    scene_map: Path | None = None,
    evaluation: Path | None = None,
    which: str = "best",
    code: Code = (),
    console: Console | None = None,
) -> list[str]:
    """Writes the page about a checkpoint of a run.

    Args:
        workdir: The run's folder.
        out: The page, a name that ends in .html; what is there is replaced.
        scene_map: A map of the run's classes to show; None = no map.
        evaluation: Folder of the evaluation to show; None = the last one of the checkpoint, or else
            the test split is evaluated now.
        which: `best`, `latest` or a step.
        code: Where the run's classes from outside jaxseg may be taken from.
        console: Where to show how far it is; None = nowhere.

    Returns:
        What is not on the page, and why, as sentences; the page says the same.

    Raises:
        UserError: There is no such run or checkpoint, the map or the given evaluation is not one of
            this run, or the page cannot be written.
    """
    console = console or Console(quiet=True)
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out {out}: give a name that ends in .html.")
    config, step = checkpoint.chosen(workdir, which, code)
    source = without_side(config.data.source)
    classes = tuple(source.classes)
    shown_map = None if scene_map is None else read_classes(scene_map, MAP_SIDE, classes)

    training, notes = stored.training(workdir)
    found, more = stored.last_evaluation(workdir, step, classes, evaluation)
    if found is None:
        more += _evaluated(workdir, which, code, console)
        found, again = stored.last_evaluation(workdir, step, classes)
        more += [note for note in again if note not in more]
    surveys, unread = _surveyed(config, workdir, console)
    robustness, left_out = robust.kept(workdir, step)
    notes = [*notes, *more, *unread, *left_out]

    parts: dict[str, Html] = {}
    if found is not None:
        parts["classes"] = scores.classes(found, source.colors)
        parts["confusion"] = scores.confusion(found)
        parts["reliability"] = scores.reliability(found)
        if any(found.tiles.values()):
            parts["windows"] = views.windows(found.tiles, source.colors, classes)
    if robustness is not None:
        parts["robustness"] = robust.shown(robustness)
    if scene_map is not None and shown_map is not None:
        parts["map"] = views.scene_map(scene_map, shown_map, source.colors, classes, step)
    parts["training"] = origin.training(training)
    parts["data"] = origin.data(surveys, source, config.sensor)
    parts["config"] = origin.config(config)
    parts["environment"] = origin.environment(training.starts)
    name = workdir.resolve().name
    body = joined(_head(name, config, step, found, workdir), _notes(notes), *_body(found, parts))
    with whole(out, advice="Give another --out.") as aside:
        aside.write_text(document(f"{name}: report", body), encoding="utf-8")
    return notes


def _evaluated(workdir: Path, which: str, code: Code, console: Console) -> list[str]:
    """Evaluates the test split, as `jaxseg evaluate` does; says why if that is not possible."""
    try:
        found = assessment.evaluate(workdir, which=which, code=code, console=console)
    except UserError as error:
        return [f"No scores: no evaluation of this step is stored, and there can be none: {error}"]
    report.write(found, workdir)
    return []


def _surveyed(config: Config, workdir: Path, console: Console) -> tuple[list[Survey], list[str]]:
    """A look at each split, and what is odd."""
    source, surveys = without_side(config.data.source), []
    try:
        with own_data.opened(workdir, source, make=False, console=console):
            for split in SPLITS:
                shown = functools.partial(track, what=split, console=console)
                part = survey(source, split, shown)
                if part is not None:
                    surveys.append(part)
            return surveys, data_files.changed(workdir, source)
    except (UserError, OSError) as error:
        return [], [f"Splits and their classes are not shown: the data cannot be read ({error})"]


def _head(name: str, config: Config, step: int, found: Evaluated | None, workdir: Path) -> Html:
    """What the page is about."""
    of = f"{type(config.model).__name__}, step {step} of {config.num_steps}"
    if found is not None:
        place, own = found.folder.resolve(), (workdir / "evaluation").resolve()
        inside = place.is_relative_to(own)
        of += f"; evaluation of {place.relative_to(own) if inside else place.name}"
    theme = tag("button", "Dark", id="theme", type="button", hidden=True, title="Colours")
    return tag("header", tag("h1", name), tag("p", of), theme)


def _notes(notes: list[str]) -> Html:
    return tag("ul", *(tag("li", note) for note in notes), class_="notes") if notes else Html("")


def _body(found: Evaluated | None, parts: dict[str, Html]) -> list[Html]:
    """Links to the sections, the scores in short, the sections, and what wrote the page."""
    links = (tag("a", name, href=f"#{name}") for name in parts)
    today = datetime.datetime.now(tz=datetime.UTC)
    written = f"Written by jaxseg {version('jaxseg')} on {today:%Y-%m-%d %H:%M} UTC."
    return [
        tag("nav", *links, aria_label="Sections"),
        tag("main", Html("") if found is None else scores.cards(found), *parts.values()),
        tag("footer", written),
    ]
