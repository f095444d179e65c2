"""`Config`: everything that decides a run, as one frozen value, from a file and flags.

A config file defines `get_config() -> Config` and builds plain objects, without any registry of
names. Flags change its fields by their dotted names: `--config.model.backbone resnet101`.
"""

import dataclasses
import difflib
import functools
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import tyro

from jaxseg import shipped_configs
from jaxseg.config_text import FILES, renewal
from jaxseg.errors import COUNT, NOT_NEGATIVE, UserError, check_all_ranges
from jaxseg.losses.loss import Loss
from jaxseg.losses.pixels import CrossEntropy
from jaxseg.losses.reconstruction import reconstructs
from jaxseg.models.parts.normalisation import Normalisation
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline.windows import Data
from jaxseg.scenes.sensor import Sensor
from jaxseg.sharding import MeshShape
from jaxseg.transforms.masking import HidePatches
from jaxseg.transforms.radiometry import Standardize
from jaxseg.transforms.transform import Augment, Preprocess, preprocess
from jaxseg.weights.new_classes import Incremental
from jaxseg.weights.pretrained import Pretrained

INTERVAL = {"least": 1, "free_on_resume": True, "follows_length": True}
"""Metadata of a number of steps that shrinks in proportion when a flag shortens the run."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that decides a run's outcome.

    Attributes:
        model: The network.
        data: The source, and how it is cut into batches.
        preprocess: Radiometry, in order; the same in training, evaluation and prediction.
        augment: Random changes of the preprocessed training batches, in order.
        augment_raw: Random changes of the raw sensor values, before `preprocess`, for variation of
            the sensor itself, such as speckle.
        loss: Losses by the name they are logged under; their weighted sum is minimised.
        aux_weight: Factor of the pixel losses on every auxiliary head.
        optimizer: The optimizer and its learning-rate schedule.
        num_steps: Updates in the whole run.
        accumulate: Number of slices that a batch is cut into to save memory. Losses that are means
            over pixels have the gradient of the whole batch, whatever a slice's number of counted
            pixels; those of regions are averaged over the slices. Batch statistics are per slice.
        norm: Which values the normalisations of the network measure together.
        seed: Seed of initial parameters, order of the data, augmentation and dropout.
        sensor: The sensor of the training images; found when a run starts.
        pretrained: Weights of other frameworks to start from.
        init_from: Folder of another run whose parameters to start from.
        incremental: Another run whose network gets more classes.
        mesh: Devices along each axis.
        log_every: Steps between two lines of the log.
        eval_every: Steps between two validations; the last step validates, too.
        save_every: Steps between two checkpoints; the last step saves, too.
        keep: Number of newest checkpoints that are kept, besides the best.
    """

    model: nn.Module
    data: Data
    preprocess: tuple[Preprocess, ...] = (Standardize(),)
    augment: tuple[Augment, ...] = ()
    augment_raw: tuple[Augment, ...] = ()
    loss: dict[str, Loss] = dataclasses.field(default_factory=lambda: {"ce": CrossEntropy()})
    aux_weight: float = dataclasses.field(default=0.4, metadata=NOT_NEGATIVE)
    optimizer: Optimizer = Optimizer()
    num_steps: int = dataclasses.field(default=1000, metadata={"least": 1, "free_on_resume": True})
    accumulate: int = dataclasses.field(default=1, metadata=COUNT)
    norm: Normalisation = Normalisation()
    seed: int = dataclasses.field(default=0, metadata={"least": 0, "below": 2**32})
    sensor: Annotated[Sensor, tyro.conf.Suppress] = Sensor(())
    pretrained: Pretrained = Pretrained()
    init_from: str | None = dataclasses.field(default=None, metadata={"path": True})
    incremental: Incremental = Incremental()
    mesh: MeshShape = dataclasses.field(default=MeshShape(), metadata={"free_on_resume": True})
    log_every: int = dataclasses.field(default=10, metadata=INTERVAL)
    eval_every: int = dataclasses.field(default=500, metadata=INTERVAL)
    save_every: int = dataclasses.field(default=500, metadata=INTERVAL)
    keep: int = dataclasses.field(default=2, metadata={"least": 1, "free_on_resume": True})

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges, of all parts.

        Raises:
            UserError: One is outside its range, or not finite.
        """
        check_all_ranges(self, "--config")

    @property
    def reconstructs(self) -> bool:
        """Whether this is pre-training: the network's outputs are bands instead of classes."""
        return reconstructs(self.loss.values())


def outputs_of(config: Config, bands: int = 0) -> int:
    """Number of outputs per pixel: classes, or preprocessed bands if the run reconstructs images.

    Args:
        config: The run.
        bands: Number of bands of an image; 0 = as the source states.
    """
    if not config.reconstructs:
        return len(config.data.source.classes)
    image = (1, 64, 64, bands or len(config.data.source.sensor.bands))
    # Statistics that are still to be measured change no number of bands.
    steps = tuple(
        step for step in config.preprocess if not isinstance(step, Standardize) or step.fitted
    )
    raw, valid = jax.ShapeDtypeStruct(image, jnp.float32), jax.ShapeDtypeStruct(image[:3], jnp.bool)
    return int(jax.eval_shape(lambda x, m: preprocess(x, m, steps), raw, valid).shape[-1])


def load_config(path: str) -> Config:
    """The `Config` that a file builds.

    Args:
        path: Path of the file, or the name of a config that comes with the library.

    Raises:
        UserError: The file is missing, cannot be run, or has no `get_config() -> Config`.
    """
    return built(load_code(found(path)))


def found(path: str) -> str:
    """The path of a config file that is given as a path, or as the name of a shipped config.

    Raises:
        UserError: There is no such file.
    """
    if Path(path).is_file():
        return path
    files = shipped_configs()
    if path in files:
        return str(files[path])
    close = difflib.get_close_matches(Path(path).stem, files, n=1)
    hint = f" Perhaps you mean {close[0]}." if close else ""
    raise UserError(
        f"Config file {path} does not exist.{hint} Give a path, or one of the names "
        f"{', '.join(files)}; `jaxseg configs` describes them."
    )


def load_code(name: str) -> ModuleType:
    """Runs a file that the user has named, or imports a package.

    Args:
        name: A path that ends in .py, or the dotted name of a package or module.

    Raises:
        UserError: There is no such file or package, or running it fails.
    """
    if not name.endswith(".py") and not Path(name).exists():
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                f"{name} is neither a file nor a package that can be imported: {error}. Give a "
                "path that ends in .py, or the name of an installed package."
            ) from error
    file = Path(name)
    if not file.is_file():
        raise UserError(f"File {name} does not exist.")
    module_name = f"{FILES}.{file.stem}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise UserError(f"{name} is not a Python file: give a path that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # tyro resolves annotations through it
    _explained(functools.partial(spec.loader.exec_module, module), name)
    return module


def built(module: ModuleType) -> Config:
    """The config that a loaded file builds.

    Raises:
        UserError: The file has no `get_config() -> Config`, or calling it fails.
    """
    name = str(module.__file__)
    config = _explained(module.get_config, name) if hasattr(module, "get_config") else None
    if not isinstance(config, Config):
        raise UserError(
            f"Config file {name} must define get_config() that returns a jaxseg.config.Config."
        )
    return config


def _explained(run: Callable[[], object], name: str) -> object:
    """Runs a user's code; any exception becomes one line with its position."""
    try:
        return run()
    except UserError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).resolve() == Path(name).resolve()]
        line = error.lineno if isinstance(error, SyntaxError) else own[-1].lineno if own else None
        moved = renewal.MOVED.get(str(getattr(error, "name", None)))
        hint = f" Its content moved to {moved} in 0.2.0." if moved else ""
        raise UserError(f"{name}, line {line}: {type(error).__name__}: {error}.{hint}") from error


def shortened(own: Config, given: Config, flags: list[str]) -> tuple[Config, list[str]]:
    """Shrinks warm-up and intervals of a run that a flag shortened, unless flags set them, too.

    Args:
        own: The config of the file.
        given: The config with flags applied.
        flags: The flags.

    Returns:
        The config, and lines `field: number -> number` for every shortened field.
    """
    if given.num_steps >= own.num_steps:
        return given, []
    lines: list[str] = []

    def shorter(value: Any, prefix: str) -> Any:  # noqa: ANN401  (any dataclass)
        changes = {}
        for field in dataclasses.fields(value):
            name, number = prefix + field.name, getattr(value, field.name)
            flag = "--config." + name.replace("_", "-")
            asked = any(f == flag or f.startswith(flag + "=") for f in flags)
            if field.metadata.get("follows_length") and number and not asked:
                changes[field.name] = max(1, number * given.num_steps // own.num_steps)
                lines.append(f"{name}: {number} -> {changes[field.name]}")
        return dataclasses.replace(value, **changes)

    config: Config = shorter(given, "")
    optimizer = shorter(config.optimizer, "optimizer.")
    if optimizer.warmup >= config.num_steps:  # a run of one step has no room for a warm-up
        optimizer = dataclasses.replace(optimizer, warmup=0)
    if optimizer.unfreeze is not None and optimizer.unfreeze >= config.num_steps:  # likewise
        optimizer = dataclasses.replace(optimizer, unfreeze=None)
    return dataclasses.replace(config, optimizer=optimizer), lines


def override(config: Config, flags: list[str], program: str) -> Config:
    """`config` with fields replaced by flags like `--config.model.backbone resnet101`.

    Unknown flags and wrong values end the program with an explanation; `--help` prints every field.
    """
    wrapper = dataclasses.make_dataclass(
        "Flags", [("config", Config, dataclasses.field(default=config))], frozen=True
    )
    wrapper.__doc__ = "Fields of the config file; each flag replaces one."
    flagged: Any = tyro.cli(wrapper, args=flags, prog=program)
    return flagged.config  # type: ignore[no-any-return]


def check(config: Config, bands: int = 0) -> None:
    """Rejects a config whose parts are inconsistent.

    Args:
        config: The run.
        bands: Number of bands of an image; 0 = as the source states.

    Raises:
        UserError: Parts are inconsistent; the message names them and what to change.
    """
    classes = config.data.source.classes
    if config.reconstructs:
        _check_reconstruction(config, outputs_of(config, bands))
    elif (outputs := getattr(config.model, "num_classes", len(classes))) != len(classes):
        raise UserError(
            f"The network has {outputs} classes and the source {len(classes)} "
            f"({', '.join(classes)}). Use --config.model.num-classes {len(classes)}."
        )
    if not config.loss:
        raise UserError(
            "The config has no loss. Give one, for example loss={'ce': CrossEntropy()}."
        )
    for name, loss in config.loss.items():
        weights, flag = getattr(loss, "class_weights", ()), f"loss.{name}.class-weights"
        if weights and not isinstance(weights, str) and len(weights) != len(classes):
            raise UserError(
                f"--config.{flag} has {len(weights)} for {len(classes)} classes "
                f"({', '.join(classes)}): give one per class, in their order, or none."
            )
    if config.data.batch_size % config.accumulate:
        raise UserError(
            f"A batch of {config.data.batch_size} cannot be cut into {config.accumulate} equal "
            "slices: --config.accumulate must divide --config.data.batch-size."
        )


def _check_reconstruction(config: Config, bands: int) -> None:
    """Rejects pre-training that hides nothing, or whose network has other outputs than bands."""
    if not config.augment or not isinstance(config.augment[-1], HidePatches):
        raise UserError(
            "A config with MaskedReconstruction ends its augment with HidePatches() of "
            "jaxseg.transforms, which hides what is to be reconstructed."
        )
    others = [name for name, loss in config.loss.items() if not reconstructs((loss,))]
    if others:
        raise UserError(
            f"The loss {others[0]} compares classes, but the outputs of a config with "
            "MaskedReconstruction are bands: leave one of them out."
        )
    for side in {config.data.crop, config.data.evaluation_crop or config.data.crop}:
        config.augment[-1].grid(side, side)
    if getattr(config.model, "num_classes", bands) != bands:
        raise UserError(
            f"The network has {config.model.num_classes} outputs, and {bands} preprocessed bands "
            f"are to be reconstructed. Use --config.model.num-classes {bands}, or 0."
        )
