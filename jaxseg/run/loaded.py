"""A finished run in Python: `load_run(workdir)` for logits, probabilities and classes.

The image passes through the run's own radiometry, exactly as in training and evaluation.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.errors import UserError
from jaxseg.models.parts.normalisation import normalised_by
from jaxseg.run import adapted, checkpoint
from jaxseg.run.kept import kept_calibration
from jaxseg.run.step import inference_variables
from jaxseg.scenes.agreement import refuse_other
from jaxseg.scenes.scene import IGNORE
from jaxseg.scenes.sensor import Sensor, listed, typical_numbers
from jaxseg.sharding import MeshShape
from jaxseg.transforms.transform import preprocess


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A trained network with everything that prediction needs.

    Attributes:
        config: Everything that decided the run.
        step: Step of the checkpoint.
        variables: Parameters and batch statistics, on the default device.
        temperature: The temperature that `jaxseg evaluate` fitted to the validation split; 1 if
            the run has not been evaluated at this step.
        thresholds: (K,) the thresholds of the classes that it fitted there; () if not evaluated.
        name: Of the run's folder.
    """

    config: Config
    step: int
    variables: Any
    temperature: float
    thresholds: tuple[float, ...] = ()
    name: str = ""

    @property
    def sensor(self) -> Sensor:
        """The sensor of the images that it was trained on."""
        return self.config.sensor

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their ids."""
        return self.config.data.source.classes

    def logits(
        self, image: ArrayLike, valid: ArrayLike | None = None, *, sensor: Sensor | None = None
    ) -> NDArray[np.float32]:
        """The network's logits, (H, W, K) or (B, H, W, K) float32, before any activation.

        Args:
            image: (H, W, C) or (B, H, W, C) raw sensor values; a pixel with a NaN has no data.
            valid: (H, W) or (B, H, W) bool, False where there are no data; None = True everywhere.
            sensor: Sensor of the image, to be compared with the run's; None = not compared.

        Raises:
            UserError: The image has another shape or another number of bands.
            SensorError: It is of another sensor.
        """
        array, known = self._checked(image, valid, sensor)
        logits = np.asarray(self._compiled(self.variables, array, known))
        return logits if np.ndim(image) == 4 else logits[0]

    def probabilities(
        self, image: ArrayLike, valid: ArrayLike | None = None, *, sensor: Sensor | None = None
    ) -> NDArray[np.float32]:
        """Softmax of the logits divided by `temperature`; see `logits`."""
        logits = self.logits(image, valid, sensor=sensor)
        return np.asarray(jax.nn.softmax(logits / np.float32(self.temperature), axis=-1))

    def predict(
        self, image: ArrayLike, valid: ArrayLike | None = None, *, sensor: Sensor | None = None
    ) -> NDArray[np.uint8]:
        """(H, W) or (B, H, W) uint8 class ids, 255 where there are no data; see `logits`."""
        classes = self.logits(image, valid, sensor=sensor).argmax(-1).astype(np.uint8)
        _, known = self._checked(image, valid, None)
        return np.where(known.reshape(classes.shape), classes, np.uint8(IGNORE))

    def adapted(self, image: ArrayLike, valid: ArrayLike | None = None) -> "Run":
        """The run with the batch statistics of other images: AdaBN, see `jaxseg.run.adapted`.

        Args:
            image: A scene or windows of it, as for `logits`; measured in one pass.
            valid: As for `logits`.

        Raises:
            UserError: As for `logits`; no pixel is valid, or there are no running statistics.
        """
        array, known = self._checked(image, valid, None)
        batch = {"image": array, "valid": known}
        variables = adapted.with_statistics(self.config, self.variables, [batch])
        return dataclasses.replace(self, variables=variables)

    def matched(self, image: ArrayLike, valid: ArrayLike | None = None) -> "Run":
        """The run that gives other images the distribution of the training; see `adapted`.

        Raises:
            UserError: As for `logits`; no pixel is valid, or the run was not trained with
                `HistogramMatching` in its radiometry.
        """
        array, known = self._checked(image, valid, None)
        config = adapted.matched(self.config, zip(array, known, strict=True))
        return dataclasses.replace(self, config=config)

    @functools.cached_property
    def _compiled(self) -> Any:  # noqa: ANN401  (a jitted function: compiles once for each shape)
        model, steps, norm = self.config.model, self.config.preprocess, self.config.norm

        @jax.jit
        def answer(variables: Any, image: jax.Array, valid: jax.Array) -> jax.Array:  # noqa: ANN401
            with normalised_by(norm):
                logits: Any = model.apply(variables, preprocess(image, valid, steps), train=False)
            return logits  # type: ignore[no-any-return]

        return answer

    def _checked(
        self, image: ArrayLike, valid: ArrayLike | None, sensor: Sensor | None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The image as (B, H, W, C), and where it has data."""
        array = np.asarray(image)
        bands = self.sensor.bands
        if array.ndim not in (3, 4) or array.shape[-1] != len(bands) or 0 in array.shape:
            raise UserError(
                f"Image of shape {array.shape}: this run reads (H, W, {len(bands)}) or "
                f"(B, H, W, {len(bands)}) with the bands {listed(bands)}."
            )
        if array.dtype.kind not in "uif":
            raise UserError(f"Image of type {array.dtype}: give real numbers.")
        array = array.reshape(-1, *array.shape[-3:])
        known = np.isfinite(array).all(-1)
        if valid is not None:
            mask = np.asarray(valid)
            if mask.shape != np.shape(image)[:-1] or mask.dtype != bool:
                raise UserError(
                    f"Mask of shape {mask.shape} and type {mask.dtype} for an image of "
                    f"{np.shape(image)}: give True or False for each of its pixels."
                )
            known &= mask.reshape(known.shape)
        if sensor is not None:
            typical = typical_numbers(array[known]) if known.any() else ()
            refuse_other(self.sensor, dataclasses.replace(sensor, typical=typical), "The image")
        return array, known


def load_run(workdir: str | Path, which: str | int = "best", *, code: Code = ()) -> Run:
    """Opens a run.

    Args:
        workdir: The run's folder.
        which: `best`, `latest` or a step.
        code: Classes, packages or modules where its classes from outside jaxseg may be taken from;
            nothing that is stored in a run is executed.

    Raises:
        UserError: There is no such run or checkpoint, or it needs a class that is not in `code`.
    """
    folder = Path(workdir)
    config, state = checkpoint.reopen(folder, MeshShape(), str(which), code)
    variables = jax.tree.map(jnp.asarray, jax.device_get(inference_variables(state)))
    step = int(state.step)
    found = kept_calibration(folder, step)
    fitted = (1.0, ()) if found is None else (found.temperature, found.thresholds.values)
    return Run(config, step, variables, *fitted, name=folder.resolve().name)
