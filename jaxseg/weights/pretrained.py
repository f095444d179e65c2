"""Weights trained by others: PyTorch state dicts to Flax variables and back, without loss.

A family of networks is a table from PyTorch module names to module paths of jaxseg. Tensors that
are missing, unexpected or of another shape are an error that lists all of them, because a partly
loaded network would still run, but badly.

Some things may be missing or ignored: `num_batches_tracked`, which is not used here, parts that a
table marks as optional, and tensors beside the network, which are named.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.models.attention_unet import AttentionUNet, GridAttentionUNet
from jaxseg.models.chws_unet import CHWSUNet
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.deeplab_plus import DeepLabV3Plus
from jaxseg.models.linknet import LinkNet
from jaxseg.models.parts.efficientnet import EfficientNet
from jaxseg.models.parts.encoders import is_efficientnet
from jaxseg.models.parts.resnet import ResNet
from jaxseg.models.pspnet import LecturePSPNet, PSPNet
from jaxseg.models.unet import OriginalUNet, ResNetUNet, UNet
from jaxseg.models.unet3plus import UNet3Plus
from jaxseg.models.unet_plus_plus import UNetPlusPlus
from jaxseg.weights import band_shares
from jaxseg.weights.band_shares import spread_bands
from jaxseg.weights.names import cleaned, known, translated
from jaxseg.weights.state_dict import StateDict, read_state_dict
from jaxseg.weights.tables.attention_unet import ATTENTION_UNET, CHWS_UNET, GRID_ATTENTION_UNET
from jaxseg.weights.tables.deeplab import (
    RESNET_FOR_DEEPLAB,
    SMP_DEEPLABV3,
    SMP_DEEPLABV3_PLUS,
    TORCHVISION_DEEPLABV3,
    VAINF_DEEPLABV3,
    VAINF_DEEPLABV3_PLUS,
)
from jaxseg.weights.tables.efficientnet import (
    EFFICIENTNET,
    EFFICIENTNET_AS_ENCODER,
    SMP_DEEPLABV3_PLUS_ON_EFFICIENTNET,
    SMP_UNET_ON_EFFICIENTNET,
    SMP_UNET_PLUS_PLUS_ON_EFFICIENTNET,
)
from jaxseg.weights.tables.family import Family
from jaxseg.weights.tables.linknet import LINKNET
from jaxseg.weights.tables.pspnet import (
    LEXTAL_PSPNET,
    RESNET_FOR_LECTURE_PSPNET,
    RESNET_FOR_PSPNET,
    SEMSEG_PSPNET,
)
from jaxseg.weights.tables.resnet import TORCHVISION_RESNET
from jaxseg.weights.tables.unet import LECTURE_UNET, ORIGINAL_UNET, RESNET_FOR_UNET, SMP_UNET
from jaxseg.weights.tables.unet3plus import AUTHORS_UNET3PLUS
from jaxseg.weights.tables.unet_plus_plus import SMP_UNET_PLUS_PLUS

Variables = dict[str, Any]
"""Flax variables: `{"params": ..., "batch_stats": ...}`, nested dicts of arrays."""

Part = Literal["all", "encoder"]
"""The whole network with its classes, or only the encoder, which turns an image into features."""


FAMILIES: dict[type[nn.Module], tuple[Family, ...]] = {
    UNet: (LECTURE_UNET,),
    OriginalUNet: (ORIGINAL_UNET,),
    ResNetUNet: (SMP_UNET, RESNET_FOR_UNET),
    UNetPlusPlus: (SMP_UNET_PLUS_PLUS, RESNET_FOR_UNET),
    UNet3Plus: (AUTHORS_UNET3PLUS,),
    AttentionUNet: (ATTENTION_UNET,),
    GridAttentionUNet: (GRID_ATTENTION_UNET,),
    CHWSUNet: (CHWS_UNET,),
    ResNet: (TORCHVISION_RESNET,),
    EfficientNet: (EFFICIENTNET,),
    LinkNet: (LINKNET,),
    PSPNet: (SEMSEG_PSPNET, RESNET_FOR_PSPNET),
    LecturePSPNet: (LEXTAL_PSPNET, RESNET_FOR_LECTURE_PSPNET),
    DeepLabV3: (TORCHVISION_DEEPLABV3, VAINF_DEEPLABV3, SMP_DEEPLABV3, RESNET_FOR_DEEPLAB),
    DeepLabV3Plus: (VAINF_DEEPLABV3_PLUS, SMP_DEEPLABV3_PLUS, RESNET_FOR_DEEPLAB),
}
"""The families of files that fit each network, on a ResNet where it has one."""

ON_EFFICIENTNET: dict[type[nn.Module], tuple[Family, ...]] = {
    ResNetUNet: (SMP_UNET_ON_EFFICIENTNET, EFFICIENTNET_AS_ENCODER),
    UNetPlusPlus: (SMP_UNET_PLUS_PLUS_ON_EFFICIENTNET, EFFICIENTNET_AS_ENCODER),
    DeepLabV3Plus: (SMP_DEEPLABV3_PLUS_ON_EFFICIENTNET, EFFICIENTNET_AS_ENCODER),
}
"""Those that fit a network on an EfficientNet."""


# -- public ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pretrained:
    """Weights that a run starts from, as a config holds them.

    A first convolution that was trained on other bands is adapted so that a grey image gives the
    same features as before: by wavelength if both are given, else by name if the weights' bands are
    given, else evenly (`jaxseg.weights.band_shares`).

    Attributes:
        path: A state dict: .safetensors, .npz, .pth if PyTorch is installed, or
            hf://owner/name/file on the Hugging Face hub. None = no such weights.
        part: `all` needs a file with the same classes; `encoder` does not change decoder and head.
        trained_bands: Names of the bands the weights were trained on, in order, as the data name
            them, such as R G B.
        wavelengths: Centres of the data's bands in nm.
        trained_wavelengths: Centres of the bands the weights were trained on, in nm.
    """

    path: str | None = field(default=None, metadata={"path": True})
    part: Part = "all"
    trained_bands: tuple[str, ...] = ()
    wavelengths: tuple[float, ...] = ()
    trained_wavelengths: tuple[float, ...] = ()

    def into(self, model: nn.Module, variables: Variables, bands: Sequence[str] = ()) -> Variables:
        """The variables with the file's tensors in their places, on the same devices.

        Args:
            model: The network.
            variables: Its `params` and `batch_stats`.
            bands: Names of the data's bands, for `trained_bands`.

        Raises:
            UserError: The file cannot be read, its tensors are not those of the network, or bands
                do not fit.
        """
        if self.path is None:
            return variables
        state = read_state_dict(self.path)
        return merge(model, variables, state, part=self.part, shares=self._shares(bands))

    def _shares(self, bands: Sequence[str]) -> NDArray[np.float64] | None:
        if bool(self.wavelengths) != bool(self.trained_wavelengths):
            raise UserError(
                "Give both --config.pretrained.wavelengths, those of the data, and "
                "--config.pretrained.trained-wavelengths, those of the weights, or neither."
            )
        if self.wavelengths:
            return band_shares.shares_by_wavelength(self.wavelengths, self.trained_wavelengths)
        if self.trained_bands:
            return band_shares.shares_by_name(bands, self.trained_bands)
        return None


def load(model: nn.Module, source: StateDict | str | Path) -> Variables:
    """All variables of a network from a state dict or its file, for the bands of the weights.

    Returns:
        `{"params": ..., "batch_stats": ...}` of float32 numpy arrays.

    Raises:
        UserError: The file cannot be read, or its tensors are not those of the network.
    """
    state = source if isinstance(source, Mapping) else read_state_dict(source)
    state = cleaned(_families(model), state)
    first = state.get(f"{_family(model, state).first}.weight")
    bands = 3 if first is None else first.shape[1]
    image = jax.ShapeDtypeStruct((1, 64, 64, bands), jnp.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    return merge(model, shapes, state)


def merge(
    model: nn.Module,
    variables: Variables,
    state: StateDict,
    *,
    part: Part = "all",
    shares: NDArray[np.float64] | None = None,
) -> Variables:
    """Puts the tensors of a state dict in their places; parts not in `part` are not changed.

    Args:
        model: The network, whose class determines the table.
        variables: Its `params` and `batch_stats`: arrays, or only their shapes.
        state: Tensors by PyTorch's names.
        part: The part to replace.
        shares: How the kernels of the trained bands are divided among the data's, (B, C) as in
            `jaxseg.weights.band_shares`; None = evenly.

    Returns:
        New variables; a tensor that replaces a JAX array is placed on that array's devices.

    Raises:
        UserError: Lists every tensor that is missing, unexpected, or of another shape.
    """
    state = cleaned(_families(model), state)
    family = _family(model, state)
    if part == "all" and not family.decoder and not isinstance(model, ResNet | EfficientNet):
        raise UserError(
            "The file holds only an encoder, but the whole network was requested. "
            'Use `part="encoder"`, or give a file of the whole network.'
        )
    leaves = flax.traverse_util.flatten_dict(variables)
    table = (
        family.encoder if part == "encoder" else family.encoder | family.decoder | family.optional
    )
    missing, misshapen, known = [], [], set()
    for path, leaf in leaves.items():
        name = _name(path, table)
        if name is None:
            if part == "all":
                missing.append(f"{'/'.join(path)} (no tensor of this family belongs there)")
            continue
        known.add(name)
        if name not in state:
            missing.append(name)
            continue
        value = _turned(np.asarray(state[name], dtype=np.float32), name, family)
        if name == f"{family.first}.weight":
            value = _adapted(value, leaf.shape[-2], shares)
        if value.shape != leaf.shape:
            misshapen.append(
                f"{name} {state[name].shape}, which gives {value.shape}, not {leaf.shape}"
            )
            continue
        leaves[path] = (
            jax.device_put(value, leaf.sharding) if isinstance(leaf, jax.Array) else value
        )
    allowed = (
        (*family.decoder, *family.optional, *family.ignored)
        if part == "encoder"
        else (*family.optional, *family.ignored)
    )
    unexpected = [
        name
        for name in state
        if name not in known
        and translated(name.rpartition(".")[0], dict.fromkeys(allowed, "")) is None
    ]
    if missing or unexpected or misshapen:
        raise UserError(_complaint(model, missing, unexpected, misshapen))
    merged: Variables = flax.traverse_util.unflatten_dict(leaves)
    return merged


def exported(model: nn.Module, variables: Variables) -> dict[str, NDArray[np.float32]]:
    """The state dict of the network's reference implementation: the exact inverse of `load`.

    If there are several references, the one whose form is closest to the network's arguments is
    used. PyTorch loads it with `load_state_dict(strict=True)`; the counters `num_batches_tracked`,
    which are missing, are set to zero by PyTorch.

    Raises:
        UserError: The network has no table, a part that its reference lacks, or no running
            statistics, as with group normalisation.
    """
    families = [family for family in _families(model) if family.decoder] or _families(model)
    family = min(families, key=lambda f: sum(getattr(model, k) != v for k, v in f.form.items()))
    table = family.encoder | family.decoder | family.optional
    state, homeless = {}, []
    leaves = flax.traverse_util.flatten_dict(variables)
    for path in leaves:
        statistics = ("batch_stats", *path[1:-1], "mean")
        if path[0] == "params" and path[-1] == "scale" and statistics not in leaves:
            raise UserError(
                f"{'/'.join(path[1:-1])} has no running statistics, and the reference of "
                f"{type(model).__name__} has batch normalisation: a run with --config.norm.kind "
                "group cannot be exported."
            )
    for path, leaf in leaves.items():
        name = _name(path, table)
        if name is None:
            homeless.append("/".join(path))
            continue
        value = np.asarray(leaf, dtype=np.float32)
        state[name] = np.ascontiguousarray(_turned_back(value, name, family))
    if homeless:
        raise UserError(
            f"The reference of {type(model).__name__} has no place for:\n    "
            + "\n    ".join(homeless)
        )
    return state


# -- private ---------------------------------------------------------------------------------------

_LEAVES = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("params", "slope"): "weight",
    ("params", "bias"): "bias",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}


def _name(path: Sequence[str], table: Mapping[str, str]) -> str | None:
    """PyTorch's name of the leaf at `path`; None if the table has no entry for it."""
    module = translated("/".join(path[1:-1]), {ours: theirs for theirs, ours in table.items()})
    return None if module is None else f"{module}.{_LEAVES[path[0], path[-1]]}"


def _turned(value: NDArray[np.float32], name: str, family: Family) -> NDArray[np.float32]:
    """PyTorch's (outputs, inputs, taps...) to (taps..., inputs, outputs), in any dimension."""
    if value.ndim < 2:
        return value
    return np.moveaxis(value, (0, 1), (-2, -1) if _is_transposed(name, family) else (-1, -2))


def _turned_back(value: NDArray[np.float32], name: str, family: Family) -> NDArray[np.float32]:
    if value.ndim < 2:
        return value
    return np.moveaxis(value, (-2, -1) if _is_transposed(name, family) else (-1, -2), (0, 1))


def _is_transposed(name: str, family: Family) -> bool:
    module = name.rpartition(".")[0]
    return translated(module, dict.fromkeys(family.transposed, "")) is not None


def _adapted(
    kernel: NDArray[np.float32], bands: int, shares: NDArray[np.float64] | None
) -> NDArray[np.float32]:
    """The first kernel for the bands of the data."""
    if shares is None:
        shares = band_shares.even_shares(bands, kernel.shape[-2])
    if shares.shape != (bands, kernel.shape[-2]):
        raise UserError(
            f"The network takes {bands} band(s) and the weights were trained on "
            f"{kernel.shape[-2]}; given were {shares.shape[0]} and {shares.shape[1]} names or "
            "wavelengths. Give one per band."
        )
    return spread_bands(kernel, shares)


def _families(model: nn.Module) -> tuple[Family, ...]:
    on_efficientnet = is_efficientnet(getattr(model, "backbone", None))
    families = (ON_EFFICIENTNET if on_efficientnet else FAMILIES).get(type(model))
    if families is None:
        known = ", ".join(kind.__name__ for kind in FAMILIES)
        raise UserError(
            f"No table of weights for {type(model).__name__}; there are tables for {known}."
        )
    return families


def _family(model: nn.Module, state: StateDict) -> Family:
    """The family of the network that knows the most names of the file."""
    return max(_families(model), key=lambda family: known(family, state))


def _complaint(
    model: nn.Module, missing: Iterable[str], unexpected: Iterable[str], misshapen: Iterable[str]
) -> str:
    lines = [f"The state dict does not fit {type(model).__name__}."]
    for title, names in (
        ("Missing from it", missing),
        ("Unexpected in it", unexpected),
        ("Of another shape", misshapen),
    ):
        lines += [f"{title}:", *(f"    {name}" for name in names)] if names else []
    if any(name.endswith("running_mean") for name in unexpected):
        lines.append("With --config.norm.kind group, a network has no running statistics.")
    lines.append(
        'Choose the network\'s arguments as in the file; for other classes, use `part="encoder"`.'
    )
    return "\n".join(lines)
