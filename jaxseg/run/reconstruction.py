"""How well a pre-trained network guesses hidden patches: a validation without classes.

Of every validation window the same patches are hidden, drawn by the seed of the run and without
proposals, so that differently focused runs of one seed have the same ones to guess:

    explained = 1 - sum (x' - x)^2 / sum (x - mean x)^2      over hidden pixels with data

of each preprocessed band, and of all bands together, each with its own mean. A network that says
nothing but the mean of every band explains 0.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.models.parts.normalisation import normalised_by
from jaxseg.models.parts.platforms import compiled_for
from jaxseg.pipeline import windows as pipeline
from jaxseg.run.step import TrainState, inference_variables, prepared
from jaxseg.scenes.scene import Batch
from jaxseg.transforms.masking import HidePatches

VALIDATION = 2_000_000
"""Makes the key of the hidden patches different from those of the training steps."""


def refuse_reconstruction(config: Config) -> None:
    """Rejects a run whose outputs are bands where classes are needed.

    Raises:
        UserError: The run is pre-training.
    """
    if config.reconstructs:
        raise UserError(
            "This run is pre-training: its outputs are bands, not classes. Export its weights with "
            "`jaxseg export RUN FILE`, and train a network with classes from their encoder: "
            "--config.pretrained.path FILE --config.pretrained.part encoder"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Explained:
    """Scores of a reconstruction.

    Attributes:
        bands: Names of the preprocessed bands.
        errors: (C,) sum of squared differences.
        deviations: (C,) sum of squared deviations from the band's mean.
        pixels: Number of hidden pixels with data.
    """

    bands: tuple[str, ...]
    errors: NDArray[np.float64]
    deviations: NDArray[np.float64]
    pixels: int

    @property
    def best_by(self) -> float:
        """What the best checkpoint has most of: the explained share of all bands together."""
        return _share(self.errors.sum(), self.deviations.sum())

    def summary(self) -> dict[str, float]:
        """The explained share of all bands together, and of each."""
        each = zip(self.bands, self.errors, self.deviations, strict=True)
        return {"explained": self.best_by} | {
            f"explained/{band}": _share(error, deviation) for band, error, deviation in each
        }

    def csv_rows(self) -> list[list[str]]:
        """A header and one row per band."""
        rows = zip(self.bands, list(self.summary().values())[1:], strict=True)
        head = ["band", "explained", "pixels"]
        return [head, *([band, f"{value:.6f}", str(self.pixels)] for band, value in rows)]


@dataclasses.dataclass(frozen=True, eq=False)
class Reconstructed:
    """The outcome of one pass over a split.

    Attributes:
        scores: How much was explained.
    """

    scores: Explained


class Reconstruction:
    """Validates states of one pre-training run repeatedly, with one compiled step."""

    TABLE: ClassVar = "validation/bands"

    def __init__(self, config: Config, mesh: Mesh, split: str) -> None:
        """Indexes the split; reads and compiles nothing yet.

        Args:
            config: The run.
            mesh: Where to compute.
            split: `train`, `validation` or `test`.

        Raises:
            UserError: The split is missing or empty, or its windows do not fit the mesh.
        """
        parts = mesh.shape["data"] * mesh.shape["fsdp"]
        size = -(-config.data.batch_size // parts) * parts
        self._data = dataclasses.replace(config.data, batch_size=size)
        self._mesh = mesh
        self._scenes = config.data.source.scenes(split)
        self._windows = pipeline.windows_of(pipeline.cover_of(self._data), self._scenes)
        if not self._windows:
            raise UserError(
                f"The split {split} holds no scene. Check the source's paths and split."
            )
        sharding.check_batch(mesh, size, config.data.evaluation_crop or config.data.crop)
        self._positions = sharding.local_positions(mesh, size)
        self._bands = config.data.source.sensor.bands
        self._step = jax.jit(make_reconstruction_step(config, mesh))

    def __call__(self, state: TrainState) -> Reconstructed:
        """Counts the hidden pixels of all windows once."""
        found = self.unless(lambda: False, state)
        assert found is not None  # noqa: S101  nothing stops it
        return found

    def unless(
        self, stop: Callable[[], bool], state: TrainState, *, anyway: bool = False
    ) -> Reconstructed | None:
        """The same, or None if `stop` became true after one of its batches.

        Args:
            stop: Asked after each batch; gives the same answers in all processes.
            state: The state to validate.
            anyway: Whether to go on to the end, whatever it answers.
        """
        variables = inference_variables(state)
        batches = pipeline.evaluation_batches(
            self._scenes, self._windows, self._data, positions=self._positions
        )
        total: dict[str, Any] = {}
        for batch in batches:
            found = self._step(variables, sharding.place_batch(self._mesh, batch))
            for name, value in jax.device_get(found).items():
                total[name] = total.get(name, 0) + np.asarray(value, np.float64)
            if stop() and not anyway:
                return None
        deviations = total["squares"] - total["values"] ** 2 / max(total["pixels"], 1)
        count = len(deviations)
        same = count == len(self._bands)
        bands = self._bands if same else tuple(f"feature{n}" for n in range(1, count + 1))
        return Reconstructed(Explained(bands, total["errors"], deviations, int(total["pixels"])))

    def snapshots(self, state: TrainState) -> dict[str, NDArray[np.uint8]]:
        """No pictures: radiometry cannot be undone for all sensors."""
        return {}


def make_reconstruction_step(config: Config, mesh: Mesh) -> Callable[..., dict[str, jax.Array]]:
    """The step `(variables, batch) -> sums over the hidden pixels with data`.

    They are `pixels` (), and of each band, (C,): `values`, `squares` and `errors`, the squared
    differences of output and image.
    """
    hiding = config.augment[-1]
    assert isinstance(hiding, HidePatches)  # noqa: S101  as `config.check` has seen

    def step(variables: Any, batch: Batch) -> dict[str, jax.Array]:  # noqa: ANN401  a pytree
        key = jax.random.fold_in(jax.random.key(config.seed), VALIDATION)
        batch = hiding.alike(key, prepared(config, batch))
        placed = compiled_for(sharding.platform_of(mesh), mesh.shape["space"])
        with placed, normalised_by(config.norm):
            found: Any = config.model.apply(
                sharding.gathered(mesh, variables), batch["image"], train=False
            )
        target, counted = batch["target"], batch["hidden"] & batch["valid"]

        def total(values: jax.Array) -> jax.Array:
            return jnp.where(counted[..., None], values, 0.0).sum((0, 1, 2))

        sums = {
            "pixels": counted.sum(),
            "values": total(target),
            "squares": total(target**2),
            "errors": total((found - target) ** 2),
        }
        whole: dict[str, jax.Array] = jax.lax.with_sharding_constraint(
            sums, sharding.replicated(mesh)
        )
        return whole

    return step


def _share(error: float, deviation: float) -> float:
    return float(1 - error / deviation) if deviation > 0 else float("nan")
