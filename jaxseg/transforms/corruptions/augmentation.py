"""Training with corruptions: some images of a batch are corrupted, for `Config.augment_raw`."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import tyro

from jaxseg.errors import SHARE, UserError, check_ranges
from jaxseg.scenes.scene import Batch
from jaxseg.scenes.sensor import Sensor
from jaxseg.transforms.corruptions.corruption import Corruption, corrupted


@dataclasses.dataclass(frozen=True)
class Corruptions:
    """One kind and one of its strengths for each batch, on a random share of its images.

    It acts on raw values, as the corruptions of a test do. The labels stay.

    Attributes:
        sensor: What the values mean: that of the config's source.
        kinds: Kinds, all of which exist for the sensor: see `corruptions_of`.
        share: Share (0..1) of the images that are corrupted.
    """

    sensor: Annotated[Sensor, tyro.conf.Suppress]
    kinds: tuple[Corruption, ...]
    share: float = dataclasses.field(default=0.5, metadata=SHARE)

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges, no kind at all, and kinds the sensor has not."""
        check_ranges(self, "Corruptions")
        if not self.kinds:
            raise UserError("Corruptions without a kind: give at least one.")
        for kind in self.kinds:
            if why := kind.refused(self.sensor):
                raise UserError(f"Corruptions: no {kind.name} here: {why}. Leave it out.")

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """See the class."""
        kind_key, strength_key, image_key, draw_key = jax.random.split(key, 4)
        image, valid = batch["image"].astype(jnp.float32), batch["valid"]

        def changed(kind: Corruption) -> jax.Array:
            strengths = jnp.asarray(kind.strengths(self.sensor), jnp.float32)
            strength = jax.random.choice(strength_key, strengths)
            return corrupted(kind, draw_key, image, valid, strength, self.sensor)

        number = jax.random.randint(kind_key, (), 0, len(self.kinds))
        branches = [lambda _, kind=kind: changed(kind) for kind in self.kinds]
        every = jax.lax.switch(number, branches, None)
        chosen = jax.random.bernoulli(image_key, self.share, image.shape[:1])
        return batch | {"image": jnp.where(chosen[:, None, None, None], every, image)}
