"""Which families of files fit which network, and where a network's tensors stand in a file."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import flax.linen as nn

from jaxseg.errors import UserError
from jaxseg.models.attention_unet import AttentionUNet, GridAttentionUNet
from jaxseg.models.chws_unet import CHWSUNet
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.deeplab_plus import DeepLabV3Plus
from jaxseg.models.linknet import LinkNet
from jaxseg.models.original_unet import OriginalUNet
from jaxseg.models.parts.efficientnet import EfficientNet
from jaxseg.models.parts.encoders import is_efficientnet
from jaxseg.models.parts.resnet import ResNet
from jaxseg.models.parts.vit import PrithviViT
from jaxseg.models.prithvi import PrithviLinear, PrithviUNet
from jaxseg.models.pspnet import LecturePSPNet, PSPNet
from jaxseg.models.refined_pspnet import RefinedPSPNet
from jaxseg.models.resnet_unet import ResNetUNet
from jaxseg.models.unet import UNet
from jaxseg.models.unet3plus import UNet3Plus
from jaxseg.models.unet_plus_plus import UNetPlusPlus
from jaxseg.weights.names import Located, located, of_the_network, placed, tops, translated
from jaxseg.weights.tables.attention_unet import ATTENTION_UNET, CHWS_UNET, GRID_ATTENTION_UNET
from jaxseg.weights.tables.deeplab import (
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
from jaxseg.weights.tables.linknet import LINKNET, LINKNET_TORCH7, LINKNET_TORCHVISION
from jaxseg.weights.tables.prithvi import (
    PRITHVI,
    PRITHVI_ENCODER,
    TERRATORCH_LINEAR,
    TERRATORCH_UNET,
)
from jaxseg.weights.tables.pspnet import LEXTAL_PSPNET, RESNET_FOR_PSPNET, SEMSEG_PSPNET
from jaxseg.weights.tables.resnet import RESNET_AS_ENCODER, TORCHVISION_RESNET
from jaxseg.weights.tables.unet import LECTURE_UNET, ORIGINAL_UNET, SMP_UNET
from jaxseg.weights.tables.unet3plus import AUTHORS_UNET3PLUS
from jaxseg.weights.tables.unet_plus_plus import SMP_UNET_PLUS_PLUS

Variables = dict[str, Any]
"""Flax variables: `{"params": ..., "batch_stats": ...}`, nested dicts of arrays."""

Part = Literal["all", "encoder"]
"""The whole network with its classes, or only the encoder, which turns an image into features."""

FAMILIES: dict[type[nn.Module], tuple[Family, ...]] = {
    UNet: (LECTURE_UNET,),
    OriginalUNet: (ORIGINAL_UNET,),
    ResNetUNet: (SMP_UNET, RESNET_AS_ENCODER),
    UNetPlusPlus: (SMP_UNET_PLUS_PLUS, RESNET_AS_ENCODER),
    UNet3Plus: (AUTHORS_UNET3PLUS,),
    AttentionUNet: (ATTENTION_UNET,),
    GridAttentionUNet: (GRID_ATTENTION_UNET,),
    CHWSUNet: (CHWS_UNET,),
    ResNet: (TORCHVISION_RESNET,),
    EfficientNet: (EFFICIENTNET,),
    PrithviViT: (PRITHVI,),
    # The encoder first: of a file with a decoder of another kind, both fill as much.
    PrithviUNet: (PRITHVI_ENCODER, TERRATORCH_UNET),
    PrithviLinear: (PRITHVI_ENCODER, TERRATORCH_LINEAR),
    LinkNet: (LINKNET, LINKNET_TORCHVISION, LINKNET_TORCH7, RESNET_AS_ENCODER),
    PSPNet: (SEMSEG_PSPNET, RESNET_FOR_PSPNET),
    LecturePSPNet: (LEXTAL_PSPNET, RESNET_AS_ENCODER),
    RefinedPSPNet: (RESNET_AS_ENCODER,),
    DeepLabV3: (TORCHVISION_DEEPLABV3, VAINF_DEEPLABV3, SMP_DEEPLABV3, RESNET_AS_ENCODER),
    DeepLabV3Plus: (VAINF_DEEPLABV3_PLUS, SMP_DEEPLABV3_PLUS, RESNET_AS_ENCODER),
}
"""The families of files that fit each network, on a ResNet where it has one."""

ON_EFFICIENTNET: dict[type[nn.Module], tuple[Family, ...]] = {
    ResNetUNet: (SMP_UNET_ON_EFFICIENTNET, EFFICIENTNET_AS_ENCODER),
    UNetPlusPlus: (SMP_UNET_PLUS_PLUS_ON_EFFICIENTNET, EFFICIENTNET_AS_ENCODER),
    DeepLabV3Plus: (SMP_DEEPLABV3_PLUS_ON_EFFICIENTNET, EFFICIENTNET_AS_ENCODER),
}
"""Those that fit a network on an EfficientNet."""

OTHER_ENCODERS = (LINKNET, LINKNET_TORCHVISION, LEXTAL_PSPNET)
"""Families of files in which a ResNet has names of its own; any network with one may take it."""

PATHS = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("params", "gain"): "weight",
    ("params", "slope"): "weight",
    ("params", "bias"): "bias",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}
"""PyTorch's last word for the last word of a leaf."""

SEEN = (
    *("backbone", "features", "aux_head", "separable", "pyramid_conv", "decoder_convs", "skips"),
    "deep_supervision",
)
"""Arguments that show in a network's tensors: weights of other ones do not load."""

Path = tuple[str, ...]
"""Of a leaf in Flax' variables."""


class Match(NamedTuple):
    """The family that knows most names of a file, and where they are.

    Attributes:
        family: The family.
        names: Its name of each leaf of the network's part; None if it has no place for it.
        at: Where the names stand in the file.
    """

    family: Family
    names: dict[Path, str | None]
    at: Located


def families_of(model: nn.Module) -> tuple[Family, ...]:
    """The families of a network.

    Raises:
        UserError: There are none.
    """
    on_efficientnet = is_efficientnet(getattr(model, "backbone", None))
    families = (ON_EFFICIENTNET if on_efficientnet else FAMILIES).get(type(model))
    if families is None:
        known = ", ".join(kind.__name__ for kind in FAMILIES)
        raise UserError(
            f"No table of weights for {type(model).__name__}; there are tables for {known}."
        )
    return families


def matched(model: nn.Module, leaves: Mapping[Path, Any], file: Sequence[str], part: Part) -> Match:
    """Finds the family whose names fill most of a network; of equal ones, that of its form.

    Args:
        model: The network.
        leaves: Its variables by their paths.
        file: Names of the file.
        part: The part that is searched for.

    Raises:
        UserError: The network has no table.
    """
    families = families_of(model)
    if part == "encoder" and RESNET_AS_ENCODER in families:
        families = (*families, *(family for family in OTHER_ENCODERS if family not in families))
    matches = []
    for family in families:
        names = names_of(leaves, table_of(family, part))
        at = located({name for name in names.values() if name is not None}, file)
        matches.append(Match(family, names, at))
    return max(
        matches,
        key=lambda m: (
            len(m.at.found),
            -len(misfits(model, m.family)),
            bool(not m.at.found and m.family.decoder),  # another file is not called an encoder
        ),
    )


def table_of(family: Family, part: Part) -> dict[str, str]:
    """All names of a part."""
    if part == "encoder":
        return family.encoder
    return family.encoder | family.decoder | family.optional


def names_of(leaves: Mapping[Path, Any], table: Mapping[str, str]) -> dict[Path, str | None]:
    """PyTorch's name of each leaf; None where the table has no entry for it."""
    places = {ours: theirs for theirs, ours in table.items()}
    names: dict[Path, str | None] = {}
    for path in leaves:
        alone = translated("/".join(path[1:]), places)
        module = translated("/".join(path[1:-1]), places)
        last = PATHS.get((path[0], path[-1]))
        names[path] = alone if module is None or last is None else f"{module}.{last}"
    return names


def misfits(model: nn.Module, family: Family) -> dict[str, tuple[object, ...]]:
    """Arguments by which a network differs from a family's, and what they are there."""
    return _differing(model, {k: (v,) for k, v in family.form.items()} | dict(family.only))


def unseen_misfits(model: nn.Module, family: Family) -> dict[str, tuple[object, ...]]:
    """The same for arguments that no tensor shows, and for the usual ones of the family."""
    allowed = {k: (v,) for k, v in family.form.items()} | dict(family.only) | dict(family.usual)
    return _differing(model, {k: v for k, v in allowed.items() if k not in SEEN})


def listed(arguments: Mapping[str, tuple[object, ...]]) -> str:
    """Arguments as a message shows them."""
    return ", ".join(f"{k}={' or '.join(map(repr, v))}" for k, v in arguments.items())


def others(match: Match, file: Iterable[str], part: Part) -> tuple[list[str], list[str]]:
    """Names of the file that were not expected: those of the network, and those beside it."""
    family, at = match.family, match.at
    known = set(at.found.values())
    allowed = dict.fromkeys((*family.optional, *family.ignored), "")
    tables = [family.encoder]
    if part == "encoder":
        allowed |= dict.fromkeys(family.decoder, "")
    else:
        tables += [family.decoder, family.optional]
    firsts = tops(family, tables)
    unexpected: list[str] = []
    beside: list[str] = []
    for name in file:
        if name in known or _is_allowed(name, at.prefixes, allowed):
            continue
        ours = of_the_network(name, at.prefixes or ("",), firsts)
        if ours is None:
            ours = part == "all"
        (unexpected if ours else beside).append(name)
    return unexpected, beside


# -- private ---------------------------------------------------------------------------------------


def _differing(
    model: nn.Module, allowed: Mapping[str, tuple[object, ...]]
) -> dict[str, tuple[object, ...]]:
    return {
        name: values
        for name, values in allowed.items()
        if hasattr(model, name) and getattr(model, name) not in values
    }


def _is_allowed(name: str, prefixes: Sequence[str], allowed: Mapping[str, str]) -> bool:
    return any(
        name.startswith(prefix) and placed(name.removeprefix(prefix), allowed) is not None
        for prefix in prefixes
    )
