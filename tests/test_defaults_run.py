"""What a run does where nobody says otherwise: every default is pinned once, with its reason."""

import dataclasses
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jaxseg import sharding
from jaxseg.cli.commands import frame
from jaxseg.cli.flags import datasets as data_flags
from jaxseg.cli.flags import runs as run_flags
from jaxseg.cli.flags import training as train_flags
from jaxseg.cli.flags.robustness import RobustnessFlags
from jaxseg.config import Config
from jaxseg.config_text import shown
from jaxseg.evaluation import baseline, pictured
from jaxseg.evaluation import evaluate as assessment
from jaxseg.evaluation import wishart as wishart_baseline
from jaxseg.evaluation.gaussian import GaussianClassifier
from jaxseg.losses.distillation import Distillation
from jaxseg.losses.incremental import LocalPOD, UnbiasedCrossEntropy, UnbiasedDistillation
from jaxseg.losses.noisy_labels import CoTeaching, CrossModalSelection
from jaxseg.losses.pixels import CrossEntropy
from jaxseg.losses.presence import Presence
from jaxseg.losses.pseudo_labels import PseudoLabels
from jaxseg.losses.reconstruction import MaskedReconstruction
from jaxseg.metrics.boundaries import BoundaryTotal, Tolerance
from jaxseg.models.parts.normalisation import Normalisation
from jaxseg.optimizer import Optimizer
from jaxseg.pictures import charts, marking
from jaxseg.pictures import tiles as pictures
from jaxseg.pipeline import band_statistics
from jaxseg.pipeline.windows import Data
from jaxseg.prediction.polygons import Polygons
from jaxseg.run import checkpoint, fitting, recent_steps, whole_scenes
from jaxseg.run import evaluator as evaluation
from jaxseg.scenes import scene as batch
from jaxseg.scenes.sensor import Sensor
from jaxseg.sharding import MeshShape
from jaxseg.system import console
from jaxseg.transforms.corruptions import CORRUPTIONS
from jaxseg.transforms.radiometry import Standardize
from jaxseg.weights.new_classes import Incremental
from jaxseg.weights.pretrained import Pretrained

DEFAULTS: list[tuple[Any, str, object, str]] = [
    # -- the config -------------------------------------------------------------------------------
    (Config, "preprocess", (Standardize(),), "every sensor's numbers are brought to one scale"),
    (Config, "augment", (), "what may be changed depends on the images"),
    (Config, "augment_raw", (), "likewise"),
    (Config, "loss", {"ce": CrossEntropy()}, "the plain loss; others are asked for"),
    (Config, "aux_weight", 0.4, "PSPNet's factor of its auxiliary loss, Zhao et al. 2017"),
    (Config, "optimizer", Optimizer(), "see below"),
    (Config, "num_steps", 1000, "a first look"),
    (Config, "accumulate", 1, "the batch fits, as a rule"),
    (Config, "norm", Normalisation(), "see below"),
    (Config, "seed", 0, "a run repeats itself unless asked"),
    (Config, "sensor", Sensor(()), "measured when a run starts"),
    (Config, "pretrained", Pretrained(), "from scratch"),
    (Config, "init_from", None, "from scratch"),
    (Config, "incremental", Incremental(), "a run of its own"),
    (Config, "mesh", MeshShape(), "see below"),
    (Config, "log_every", 10, "a line every few seconds"),
    (Config, "eval_every", 500, "twice in the default run"),
    (Config, "save_every", 500, "with every validation, so that the best can be kept"),
    (Config, "keep", 2, "one may be damaged by the kill that made it the last"),
    # -- the data ---------------------------------------------------------------------------------
    (Data, "crop", 256, "fits every network's stride and most scenes"),
    (Data, "batch_size", 16, "a multiple of eight devices"),
    (Data, "evaluation_crop", 0, "the size that was trained"),
    (Data, "shared_ground", 0.0, "scores of pixels that were trained on say little"),
    (Data, "pad", False, "a scene smaller than the crop is more often a mistake"),
    (Data, "threads", 8, "reading waits for disks, not for cores"),
    # -- the optimizer ----------------------------------------------------------------------------
    (Optimizer, "learning_rate", 1e-3, "AdamW's usual one"),
    (Optimizer, "name", "adamw", "needs no tuning per network"),
    (Optimizer, "schedule", "poly", "DeepLab's and PSPNet's"),
    (Optimizer, "power", 0.9, "DeepLab's and PSPNet's"),
    (Optimizer, "warmup", 0, "not every network needs it"),
    (Optimizer, "momentum", 0.9, "DeepLab's and PSPNet's"),
    (Optimizer, "nesterov", False, "neither of them does"),
    (Optimizer, "weight_decay", 1e-4, "PSPNet's"),
    (Optimizer, "clip", None, "no limit that nobody knows of"),
    (Optimizer, "ema", None, "the last parameters are evaluated"),
    (Optimizer, "factors", (), "one rate for all"),
    (Optimizer, "frozen", (), "everything learns"),
    (Optimizer, "unfreeze", None, "what is frozen stays so"),
    # -- teachers and losses that choose labels ---------------------------------------------------
    (Distillation, "layers", ("bottleneck",), "the coarsest features of the U-Nets"),
    (Distillation, "student", "", "both networks are of one kind"),
    (Distillation, "features", 0.0, "a term is asked for"),
    (Distillation, "attention", 0.0, "a term is asked for"),
    (Distillation, "hallucination", 0.0, "a term is asked for"),
    (Distillation, "logits", 0.0, "a term is asked for"),
    (Distillation, "channels", 0.0, "a term is asked for"),
    (Distillation, "temperature", 2.0, "our choice"),
    (Distillation, "weight", 1.0, "its terms have factors of their own"),
    (Incremental, "run", None, "a run of its own"),
    (Incremental, "pretuning", 0, "new classes begin as the background, as in MiB"),
    (Incremental, "importance", True, "NeST"),
    (Incremental, "learning_rate", 0.1, "our choice"),
    (Incremental, "layer", "head", "what networks of the library call it"),
    (UnbiasedCrossEntropy, "weight", 1.0, "the loss as it is"),
    (UnbiasedDistillation, "weight", 10.0, "Cermelli et al. 2020, Pascal VOC"),
    (LocalPOD, "layers", ("bottleneck",), "the coarsest features of the U-Nets"),
    (LocalPOD, "features", 0.01, "Douillard et al. 2021, the code"),
    (LocalPOD, "logits", 0.0005, "Douillard et al. 2021, the code"),
    (LocalPOD, "weight", 1.0, "its terms have factors of their own"),
    (PseudoLabels, "weight", 1.0, "the loss as it is"),
    (MaskedReconstruction, "weight", 1.0, "the loss as it is"),
    (Presence, "weight", 1.0, "factor 1 in Lextal/pspnet-pytorch"),
    (Presence, "class_weights", (), "all classes alike"),
    (CoTeaching, "weight", 1.0, "the loss as it is"),
    (CoTeaching, "forget", None, "nobody knows how many labels are wrong"),
    (CoTeaching, "ramp", 0.2, "our choice"),
    (CoTeaching, "start", 0.0, "at once, as in the paper"),
    (CrossModalSelection, "weight", 1.0, "the loss as it is"),
    (CrossModalSelection, "rho", 0.5, "half of each class is kept whole in the end"),
    (CrossModalSelection, "ramp", 0.5, "our choice"),
    (CrossModalSelection, "consistency", 0.5, "our choice"),
    # -- normalisation ----------------------------------------------------------------------------
    (Normalisation, "kind", "global", "as all references do on one device"),
    (Normalisation, "size", 0, "the windows of a device, which does not wait for others"),
    (Normalisation, "groups", 16, "divides the channels of every network here; 32 does not"),
    # -- devices ----------------------------------------------------------------------------------
    (MeshShape, "data", -1, "all devices, each with whole images"),
    (MeshShape, "fsdp", 1, "networks fit on a device"),
    (MeshShape, "space", 1, "images do, too"),
    (sharding, "SMALL", 2**14, "gathering less costs more than storing it"),
    (recent_steps, "AHEAD", 2, "more would only fill the devices' memory"),
    # -- what is measured -------------------------------------------------------------------------
    (batch, "IGNORE", 255, "the custom of the field, and the largest uint8"),
    (fitting, "WINDOWS", 256, "means and variances are settled long before"),
    (band_statistics, "TYPICAL_WINDOWS", 32, "they tell scales apart, not scenes"),
    (band_statistics, "TYPICAL_PIXELS", 1024, "likewise"),
    (evaluation, "CALIBRATION_WINDOWS", 256, "one number needs no more"),
    (baseline, "BASELINE_WINDOWS", 256, "a few numbers per class need no more"),
    (baseline, "BASELINE_SIDE", 1024, "a window's pixels fit into memory"),
    (BoundaryTotal, "tolerance", Tolerance(2.0), "borders are drawn by hand to two pixels or so"),
    (BoundaryTotal, "rim", Tolerance(0.02, "diagonal"), "Cheng et al., Boundary IoU, CVPR 2021"),
    (GaussianClassifier, "prior_pixels", None, "as many pixels as there are bands"),
    (GaussianClassifier, "ridge", 1e-6, "below what changes a map, above rounding"),
    (wishart_baseline, "RIDGE", 1e-6, "likewise"),
    (wishart_baseline, "BANDS", 9, "real numbers of a Hermitian 3 x 3 matrix"),
    # -- what is shown and kept -------------------------------------------------------------------
    (charts, "SHOWN", 30, "rows that can be read"),
    (charts, "MARKERS", ("s", "D", "^", "v", "P", "X", "<", ">"), "told apart without colours"),
    (pictures, "DPI", 120.0, "sharp on a screen"),
    (marking, "RIGHT", (214, 214, 214), "light grey: not looked at"),
    (marking, "RED", (214, 30, 40), "looked at"),
    (marking, "MAGENTA", (255, 0, 255), "where a class is red; few maps have it"),
    (marking, "CLEAR", 40.0, "20 times what is just seen"),
    (pictures, "WIDTH", 10.4, "a page"),
    (pictured, "WINDOWS", 4, "fit on a page"),
    (pictured, "PART", 0.25, "our choice: a strip says little"),
    (whole_scenes, "SCENES", 6, "few enough to look at every time"),
    (whole_scenes, "SIDE", 600, "half the width of a page, in pixels"),
    (pictures, "STRIPES", ((0, 0, 0), (96, 96, 96)), "no class is striped"),
    (console, "SECONDS_BETWEEN_PLAIN_LINES", 10.0, "a log that can be read"),
    (shown, "MANY", 256, "standard deviations whole, fitted matrices by their length"),
    (checkpoint, "METRIC", "miou", "the field's score"),
    (frame, "MISTAKE", 2, "what argument parsers exit with"),
    (frame, "INTERRUPTED", 130, "128 + SIGINT"),
    # -- arguments of functions -------------------------------------------------------------------
    (assessment.evaluate, "split", "test", "what is reported"),
    (assessment.evaluate, "source", None, "the run's own data"),
    (assessment.evaluate, "which", "best", "what is reported"),
    (assessment.evaluate, "mesh_shape", MeshShape(), "all devices"),
    (assessment.evaluate, "baseline", True, "shows what context buys"),
    (assessment.evaluate, "measures", (), "those of the library, with their defaults"),
    (assessment.evaluate, "tile", 0, "windows as the run has them"),
    (assessment.evaluate, "overlap", 0.0, "numbers of earlier evaluations stay; the table says so"),
    (assessment.evaluate, "console", None, "quiet in Python"),
    (checkpoint.reopen, "which", "best", "what is reported"),
    (checkpoint.Checkpoints, "keep", 1, "reading keeps what is there"),
    (checkpoint.Checkpoints, "repair", False, "reading changes nothing"),
    (evaluation.Evaluator, "confidence", False, "a validation in training has no use for it"),
    (evaluation.Evaluator, "overlap", 0.0, "a validation in training need not be slower"),
    (evaluation.Evaluator.snapshots, "count", 3, "few enough to look at every time"),
    (pictures.stretch, "low", 2.0, "two of a hundred pixels may be darker: shadows"),
    (pictures.stretch, "high", 98.0, "or brighter: clouds"),
    (pictures.panel_array, "gap", 4, "seen, and no more"),
    (pictures.short, "length", 28, "fits beside a chart"),
    # -- flags of the commands --------------------------------------------------------------------
    (train_flags.TrainFlags, "workdir", None, "runs/ and the name of the config's file"),
    (train_flags.TrainFlags, "distributed", False, "one process, as a rule"),
    (train_flags.TrainFlags, "coordinator", "", "one process, as a rule"),
    (train_flags.TrainFlags, "process", "", "one process, as a rule"),
    (train_flags.TrainFlags, "profile", 0, "a recording makes steps slower"),
    (train_flags.TrainFlags, "track", "", "nothing is sent anywhere"),
    (train_flags.TrainFlags, "changed_files", False, "a run of two data sets is a run of neither"),
    (train_flags.TrainFlags, "take_over", False, "another machine may still be training there"),
    (train_flags.TrainFlags, "code", (), "a run of jaxseg's own classes needs none"),
    (RobustnessFlags, "split", "test", "what no decision was made on"),
    (RobustnessFlags, "step", "best", "as evaluate"),
    (RobustnessFlags, "corruptions", tuple(kind.name for kind in CORRUPTIONS), "all kinds"),
    (RobustnessFlags, "epsilons", (0.01, 0.03, 0.1, 0.3), "from hardly anything to much"),
    (RobustnessFlags, "steps", 10, "the usual length"),
    (RobustnessFlags, "targets", (), "attacks without a target"),
    (RobustnessFlags, "segpgd", False, "plain PGD"),
    (RobustnessFlags, "generator", 0, "its training takes minutes"),
    (RobustnessFlags, "text", None, "an embedding of the classes"),
    (RobustnessFlags, "transfer", (), "no other run"),
    (RobustnessFlags, "windows", 0, "all"),
    (RobustnessFlags, "seed", 0, "any"),
    (RobustnessFlags, "out", None, "into the run"),
    (RobustnessFlags, "make", False, "a run may be a stranger's"),
    (RobustnessFlags, "mesh", MeshShape(), "all devices"),
    (RobustnessFlags, "code", (), "no other code"),
    (run_flags.EvaluateFlags, "config", "", "the run's own data"),
    (run_flags.EvaluateFlags, "split", None, "all of other data, test of the run's own"),
    (run_flags.EvaluateFlags, "check", True, "other data may mean other things"),
    *((run_flags.EvaluateFlags, name, "", "no map") for name in ("map", "labels", "sample")),
    (Polygons, "classes", (), "all: what is not wanted is left out by name"),
    (Polygons, "minimum_area", 0.0, "what is small is known by the user"),
    (Polygons, "fill_holes", 0.0, "likewise"),
    (Polygons, "simplify", 0.0, "the outlines of pixels, which add up to the map"),
    (run_flags.EvaluateFlags, "images", "", "the run's own data"),
    (run_flags.EvaluateFlags, "masks", "", "likewise"),
    (run_flags.EvaluateFlags, "instances", "", "likewise"),
    (run_flags.EvaluateFlags, "list", "", "all scenes"),
    (run_flags.EvaluateFlags, "step", "best", "what is reported"),
    (run_flags.EvaluateFlags, "baseline", True, "shows what context buys"),
    (run_flags.EvaluateFlags, "shared_ground", 0.0, "such scores say little"),
    (run_flags.EvaluateFlags, "check", True, "another sensor gives a number without meaning"),
    (run_flags.EvaluateFlags, "tile", 0, "windows as the run has them"),
    (run_flags.EvaluateFlags, "overlap", 0.0, "likewise"),
    (run_flags.EvaluateFlags, "adapt", "none", "the network as it was trained"),
    (run_flags.EvaluateFlags, "out", None, "results belong to the run, as its temperature does"),
    (run_flags.EvaluateFlags, "make", False, "the run may be a stranger's"),
    (run_flags.EvaluateFlags, "mesh", MeshShape(), "all devices"),
    (run_flags.EvaluateFlags, "distributed", False, "one process, as a rule"),
    (run_flags.EvaluateFlags, "coordinator", "", "one process, as a rule"),
    (run_flags.EvaluateFlags, "process", "", "one process, as a rule"),
    (run_flags.EvaluateFlags, "track", "", "nothing is sent anywhere"),
    (run_flags.EvaluateFlags, "code", (), "a run of jaxseg's own classes needs none"),
    (run_flags.ExportFlags, "format", "weights", "what the command wrote before it had others"),
    (run_flags.ExportFlags, "size", 0, "as in training"),
    (run_flags.ExportFlags, "reference", "", "the first reference that computes the same"),
    (run_flags.ExportFlags, "step", "best", "what is reported"),
    (run_flags.ExportFlags, "code", (), "a run of jaxseg's own classes needs none"),
    (run_flags.ModelsFlags, "name", "", "all of them"),
    (run_flags.ModelsFlags, "size", 512, "our choice"),
    (run_flags.ModelsFlags, "bands", 3, "photographs"),
    (run_flags.ModelsFlags, "classes", 21, "those of Pascal VOC"),
    (data_flags.BorderFlags, "file", Path("border.png"), "in the folder one is in"),
    (data_flags.BorderFlags, "split", "train", "where the weights are used"),
    (data_flags.BorderFlags, "count", 4, "few enough to look at"),
    (data_flags.BorderFlags, "make", False, "the run may be a stranger's"),
    (data_flags.BorderFlags, "code", (), "a run of jaxseg's own classes needs none"),
    (data_flags.ClassWeightsFlags, "recount", False, "what was counted is kept"),
    (data_flags.PolsarFlags, "out", Path("polsar"), "in the folder one is in"),
    (data_flags.PolsarFlags, "average", 0, "follows from the looks"),
    (data_flags.PolsarFlags, "looks", 0.0, "measured"),
]


def default(room: Any, name: str) -> object:
    """Of a module its constant, of a class its field's, of a function its argument's."""
    if isinstance(room, ModuleType):
        return getattr(room, name)
    if dataclasses.is_dataclass(room):
        field = {field.name: field for field in dataclasses.fields(room)}[name]
        made = field.default_factory
        return field.default if made is dataclasses.MISSING else made()
    return inspect.signature(room).parameters[name].default


@pytest.mark.parametrize(
    ("room", "name", "value", "reason"),
    DEFAULTS,
    ids=[f"{room.__name__.rpartition('.')[2]}.{name}" for room, name, _, _ in DEFAULTS],
)
def test_a_default_is_what_users_were_told(
    room: Any, name: str, value: object, reason: str
) -> None:
    found = default(room, name)
    assert found == value, f"{value}: {reason}"
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "room",
    sorted(
        {room for room, *_ in DEFAULTS if dataclasses.is_dataclass(room)}, key=lambda r: r.__name__
    ),
    ids=lambda room: room.__name__,
)
def test_every_field_of_a_class_is_pinned(room: Any) -> None:
    given = {
        field.name
        for field in dataclasses.fields(room)
        if field.init and {field.default, field.default_factory} != {dataclasses.MISSING}
    }
    assert {name for other, name, *_ in DEFAULTS if other is room} == given


def test_only_these_fields_may_differ_when_a_run_continues() -> None:
    free = {
        (room.__name__, field.name)
        for room in (Config, Data, Optimizer)
        for field in dataclasses.fields(room)
        if field.metadata.get("free_on_resume")
    }
    names = ("num_steps", "log_every", "eval_every", "save_every", "keep", "mesh")
    of_data = ("threads", "shared_ground")
    assert free == {*(("Data", name) for name in of_data), *(("Config", name) for name in names)}
