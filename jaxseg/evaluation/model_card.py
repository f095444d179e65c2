"""The model card of a run: a README.md as the Hugging Face hub reads it.

Its head (YAML) has what the hub sorts and searches by; the text has what others need to know before
they use the weights: data, sensor, scores with intervals, training, licence. Nothing is guessed:
what is not known is said to be, and what only the author knows is left to be filled in.
"""

import html
import json
import math
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from jaxseg import config_text
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.datasets.paired import without_side
from jaxseg.evaluation.page import stored
from jaxseg.evaluation.page.stored import Ends, Evaluated, Training
from jaxseg.metrics.measure import percent
from jaxseg.run import checkpoint
from jaxseg.scenes.scene import Source
from jaxseg.scenes.sensor import Sensor
from jaxseg.system.disk import whole

UNKNOWN = "unknown"
"""The hub's identifier of a licence that is not known."""

FILL_IN = "**To be filled in:**"
"""Before what only the author knows."""


def write(
    workdir: Path,
    out: Path,
    *,
    licence: str = "",
    evaluation: Path | None = None,
    which: str = "best",
    repository: str = "",
    code: Code = (),
) -> list[str]:
    """Writes the card of a checkpoint of a run.

    Args:
        workdir: The run's folder.
        out: The card; what is there is replaced.
        licence: Identifier of the licence on the hub; "" = to be filled in.
        evaluation: Folder of the evaluation with the scores; None = the last one of the checkpoint.
        which: `best`, `latest` or a step.
        repository: OWNER/NAME on the hub; "" = to be filled in.
        code: Where the run's classes from outside jaxseg may be taken from.

    Returns:
        What is not in it, and why, as sentences.

    Raises:
        UserError: There is no such run or checkpoint, the given evaluation is not one of it, or the
            card cannot be written.
    """
    config, step = checkpoint.chosen(workdir, which, code)
    source = without_side(config.data.source)
    training, notes = stored.training(workdir)
    found, more = stored.last_evaluation(workdir, step, tuple(source.classes), evaluation)
    notes += more
    if found is None:
        notes.append(f"No scores: this step was not evaluated. First: jaxseg evaluate {workdir}")
    name = workdir.resolve().name
    parts = [
        _head(config, source, found, licence, name),
        f"# {_text(name)}\n\n{_summary(config, source)}",
        _use(repository),
        _data(config, source),
        _sensor(config.sensor),
        _scores(found),
        _training(config, training, step),
        _limits(),
        _licence(config, licence),
        f"Written by jaxseg {version('jaxseg')}.",
    ]
    with whole(out, advice="Give another --out.") as aside:
        aside.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return notes


def licence_of(card: Path) -> str:
    """The identifier of the licence in the head of a card; empty if it is to be filled in."""
    found = re.search(r'^license: *"?([^"\n]+)"?$', card.read_text(encoding="utf-8"), re.MULTILINE)
    return "" if found is None or found[1] == UNKNOWN else found[1]


# -- private ---------------------------------------------------------------------------------------


def _head(config: Config, source: Source, found: Evaluated | None, licence: str, name: str) -> str:
    """The hub's metadata; JSON's strings and lists are YAML."""
    lines = [
        f"license: {json.dumps(licence or UNKNOWN)}",
        "library_name: jaxseg",
        "pipeline_tag: image-segmentation",
        f"tags: {json.dumps(['jax', 'flax', 'earth-observation', 'semantic-segmentation'])}",
    ]
    if found is not None:
        data = {"type": type(source).__name__, "name": type(source).__name__}
        data["split"] = found.folder.name
        numbers = {"mean_iou": found.scores.miou, "accuracy": found.scores.overall_accuracy}
        result = {
            "task": {"type": "image-segmentation", "name": "semantic segmentation"},
            "dataset": data,
            "metrics": [
                {"type": kind, "value": round(value, 4)}
                for kind, value in numbers.items()
                if math.isfinite(value)
            ],
        }
        index = [{"name": f"{name}, {type(config.model).__name__}", "results": [result]}]
        lines.append(f"model-index: {json.dumps(index, ensure_ascii=False)}")
    return "\n".join(["---", *lines, "---"])


def _summary(config: Config, source: Source) -> str:
    network, bands = type(config.model).__name__, len(config.sensor.bands)
    return (
        f"Semantic segmentation of {bands} band(s) into {len(source.classes)} classes "
        f"({_text(', '.join(source.classes))}) by {network}, in JAX/Flax with jaxseg.\n\n"
        f"{FILL_IN} what it is for, where and when its images were taken, whom to ask."
    )


def _use(repository: str) -> str:
    place = f'huggingface_hub.snapshot_download("{repository or "OWNER/NAME"}")'
    return (
        "## Use\n\n```python\nimport huggingface_hub\n\nfrom jaxseg import load_run\n\n"
        f"run = load_run({place})\n"
        "classes = run.predict(image)  # (H, W, bands), the sensor's own values\n```\n\n"
        "Radiometry is a part of the run. Nothing in the files is executed."
    )


def _data(config: Config, source: Source) -> str:
    data = config.data
    rows = [
        ("source", type(source).__name__),
        ("classes", ", ".join(source.classes)),
        ("windows", f"{data.crop} x {data.crop} pixels, {data.batch_size} in a batch"),
    ]
    return (
        f"## Data\n\n{_table(('fact', 'value'), rows)}\n\n{FILL_IN} origin and licence of the data."
    )


def _sensor(sensor: Sensor) -> str:
    """Bands with the values that they have in the training, so that others can compare theirs."""
    unknown = ("-",) * len(sensor.bands)
    waves = tuple(f"{wave:g}" if wave else "-" for wave in sensor.wavelengths) or unknown
    typical = tuple(" / ".join(f"{value:g}" for value in band) for band in sensor.typical)
    rows = list(zip(sensor.bands, waves, typical or unknown, strict=True))
    size = "not known" if sensor.gsd is None else f"{sensor.gsd:.4g} m"
    scale = "not known" if sensor.scale is None else f"{sensor.scale:g} x value"
    if sensor.scale is not None and sensor.offset:
        scale += f" {sensor.offset:+g}"
    told = f"Unit: {sensor.unit or 'not known'} ({scale}); pixel size: {size}."
    headings = ("band", "nm", "values: 1 % / median / 99 %")
    return f"## Sensor\n\n{_table(headings, rows)}\n\n{told}"


def _scores(found: Evaluated | None) -> str:
    if found is None:
        return "## Scores\n\nNot evaluated."
    numbers = []
    for name, shown in (
        ("miou", "mean IoU"),
        ("overall_accuracy", "overall accuracy"),
        ("mean_f1", "mean F1"),
        ("kappa", "kappa"),
    ):
        value, ends = getattr(found.scores, name), found.intervals[name]
        numbers.append((shown, *_with_interval(value, ends, share=name != "kappa")))
    classes = [
        (name, *_with_interval(found.scores.iou[k], found.class_intervals[k], share=True))
        for k, name in enumerate(found.scores.classes)
    ]
    told = " ".join(found.told)
    return (
        f"## Scores\n\nOf {_text(found.folder.name)}, step {found.step}. {_text(told)}\n\n"
        f"{_table(('score', 'value', '95 % interval'), numbers)}\n\n"
        f"{_table(('IoU of class', 'value', '95 % interval'), classes)}"
    )


def _with_interval(value: float, ends: Ends, *, share: bool) -> tuple[str, str]:
    form, unit = (percent, " %") if share else ("{:.3f}".format, "")
    interval = "not known" if ends is None else f"{form(ends[0])} to {form(ends[1])}{unit}"
    return "-" if math.isnan(value) else f"{form(value)}{unit}", interval


def _training(config: Config, training: Training, step: int) -> str:
    weights = "from scratch"
    if config.init_from is not None:
        weights = f"another run, {Path(config.init_from).name}"
    elif config.pretrained.name:
        weights = f"{config.pretrained.name} ({config.pretrained.read_part})"
    elif config.pretrained.path is not None:
        weights = f"{Path(config.pretrained.path).name} ({config.pretrained.part})"
    rows = [
        ("network", config_text.shown_briefly(config.model)),
        ("radiometry", ", ".join(map(config_text.shown_briefly, config.preprocess)) or "none"),
        ("augmentation", ", ".join(type(each).__name__ for each in config.augment) or "none"),
        ("loss", ", ".join(f"{type(loss).__name__}" for loss in config.loss.values())),
        ("optimizer", config_text.shown_briefly(config.optimizer)),
        ("steps", f"{step} of {config.num_steps}, seed {config.seed}"),
        ("started from", weights),
    ]
    rows += [(name, str(value)) for name, value in _environment(training).items()]
    return f"## Training\n\n{_table(('fact', 'value'), rows)}"


def _environment(training: Training) -> dict[str, object]:
    """Devices and versions of the last start."""
    last = training.starts[-1] if training.starts else {}
    return {name: last[name] for name in ("devices", "jaxseg", "jax", "flax") if name in last}


def _limits() -> str:
    return (
        "## Limits\n\nScores hold for images like those of the evaluation. Images of another "
        "sensor, unit or scale are refused by jaxseg where it can know.\n\n"
        f"{FILL_IN} regions, seasons and classes for which it was not tried."
    )


def _licence(config: Config, licence: str) -> str:
    own = f"Of these weights: {_text(licence)}." if licence else f"{FILL_IN} of these weights."
    given = None if config.init_from is not None else config.pretrained.card
    if given is not None:
        own += (
            f" The training began with {given.name} (licence: {given.licence}; cite "
            f"{given.citation})."
        )
    return f"## Licence\n\n{own}"


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *(tuple(map(_text, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Text from elsewhere, such as names of classes, in one line without Markdown or HTML."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in plain)
