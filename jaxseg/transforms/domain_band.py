"""The number of a window's domain as a last band of the training images."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxseg.errors import UserError
from jaxseg.scenes.scene import Batch


@dataclasses.dataclass(frozen=True)
class DomainBand:
    """Appends `domain` to the image, for `jaxseg.models.DomainPrompted`.

    The last step of `augment`: a step after it that changes the values of bands would change the
    number. It is 0 at pixels without data.
    """

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """See the class.

        Raises:
            UserError: The source does not number its domains.
        """
        if "domain" not in batch:
            raise UserError(
                "DomainBand: the training windows have no domain. Give Domains(sources=...) of "
                "jaxseg.datasets as --config.data.source."
            )
        image = batch["image"]
        band = batch["domain"][..., None].astype(image.dtype)
        return batch | {"image": jnp.concatenate((image, band), axis=-1)}
