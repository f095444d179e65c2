"""`Pretrained`: trained weights that a run starts from, by their file or by the name of a card."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import flax.linen as nn
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.weights import band_shares, card_fit
from jaxseg.weights.card import Card, card
from jaxseg.weights.exporting import exported
from jaxseg.weights.families import FAMILIES, Part, Variables
from jaxseg.weights.fetching import fetched
from jaxseg.weights.merging import load, merge
from jaxseg.weights.state_dict import read_state_dict

__all__ = ["FAMILIES", "Part", "Pretrained", "Variables", "exported", "load", "merge"]


@dataclass(frozen=True)
class Pretrained:
    """Weights that a run starts from, as a config holds them.

    A first convolution that was trained on other bands is adapted so that a grey image gives the
    same features as before: by wavelength if those of both are known, else by name if the weights'
    bands are given, else evenly (`jaxseg.weights.band_shares`).

    Attributes:
        path: A file of weights: .safetensors, .npz, .onnx, PyTorch's .pth, .pt, .ckpt, .bin and
            .pth.tar, or hf://owner/name/file on the Hugging Face hub. None = no such weights, or
            those of `name`, whose file is searched for.
        part: `all` needs a file with the same classes; `encoder` does not change decoder and head,
            and takes the encoder out of any file that holds one.
        trained_bands: Names of the bands the weights were trained on, in order, as the data name
            them, such as R G B.
        wavelengths: Centres of the data's bands in nm; () = those of their sensor, if it has any.
        trained_wavelengths: Centres of the bands the weights were trained on, in nm.
        name: A card of `jaxseg weights`, which states bands, values, checksum and where the file
            is; that of an encoder is read as one. Empty = no card.
    """

    path: str | None = field(default=None, metadata={"path": True})
    part: Part = "all"
    trained_bands: tuple[str, ...] = ()
    wavelengths: tuple[float, ...] = ()
    trained_wavelengths: tuple[float, ...] = ()
    name: str = ""

    @property
    def given(self) -> bool:
        """Whether there are any weights."""
        return self.path is not None or bool(self.name)

    @property
    def card(self) -> Card | None:
        """The card; None without a name.

        Raises:
            UserError: There is no such card, or it is given together with what it states.
        """
        if not self.name:
            return None
        if self.trained_bands or self.trained_wavelengths:
            raise UserError(
                f"The card {self.name} states its bands: leave --config.pretrained.trained-bands "
                "and --config.pretrained.trained-wavelengths out."
            )
        return card(self.name)

    @property
    def read_part(self) -> Part:
        """The part that is read: an encoder, if the card is that of one."""
        return self.part if self.card is None else card_fit.read_part(self.card, self.part)

    @property
    def told(self) -> str:
        """Where they come from, in short."""
        places = [self.name, str(self.path) * (self.path is not None)]
        return f"{', '.join(filter(None, places))} ({self.read_part})"

    def into(
        self,
        model: nn.Module,
        variables: Variables,
        bands: Sequence[str] = (),
        wavelengths: Sequence[float] = (),
    ) -> Variables:
        """The variables with the file's tensors in their places, on the same devices.

        Args:
            model: The network.
            variables: Its `params` and `batch_stats`.
            bands: Names of the data's bands, for `trained_bands`.
            wavelengths: Their centres in nm as the sensor states them, 0 = not known.

        Raises:
            UserError: The file cannot be had or read, its tensors are not those of the network, or
                bands do not fit.
        """
        if not self.given:
            return variables
        known, part = self.card, self.read_part
        if known is None:
            shares, file = self._shares(bands, wavelengths), str(self.path)
        else:
            card_fit.refuse_network(known, model, part)
            shares = card_fit.shares(known, bands, self.wavelengths or wavelengths, part)
            file = str(fetched(known, self.path))
        return merge(model, variables, read_state_dict(file), part=part, shares=shares)

    def _shares(
        self, bands: Sequence[str], wavelengths: Sequence[float]
    ) -> NDArray[np.float64] | None:
        ours = self.wavelengths or (tuple(wavelengths) if all(wavelengths) else ())
        lacking = self.trained_wavelengths and not (ours or self.trained_bands)
        if lacking or (self.wavelengths and not self.trained_wavelengths):
            raise UserError(
                "Give both --config.pretrained.wavelengths, those of the data, and "
                "--config.pretrained.trained-wavelengths, those of the weights, or neither."
            )
        if ours and self.trained_wavelengths:
            return band_shares.shares_by_wavelength(ours, self.trained_wavelengths)
        if self.trained_bands:
            return band_shares.shares_by_name(bands, self.trained_bands)
        return None
