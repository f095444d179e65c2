"""Weights that others trained: PyTorch state dicts into Flax variables, every tensor accounted for.

A family of networks is one table of PyTorch module names and ours. A tensor that is missing,
unexpected or of another shape is an error that lists all of them, because a network that is only
partly loaded still runs, and badly.

Two things are left out on purpose: `num_batches_tracked`, which nothing here counts, and what a
table marks optional.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.resnet import ResNet
from jaxseg.models.unet import UNet
from jaxseg.weight_tables.deeplab import RESNET_FOR_DEEPLABV3, TORCHVISION_DEEPLABV3
from jaxseg.weight_tables.family import Family
from jaxseg.weight_tables.resnet import TORCHVISION_RESNET
from jaxseg.weight_tables.unet import LECTURE_UNET

StateDict = Mapping[str, NDArray[np.generic]]
"""What PyTorch calls a state dict: tensors by dotted names."""

Variables = dict[str, Any]
"""What Flax calls variables: `{"params": ..., "batch_stats": ...}`, nested dicts of arrays."""

Part = Literal["all", "encoder"]
"""The whole network with its classes, or only what turns an image into features."""


FAMILIES: dict[type[nn.Module], tuple[Family, ...]] = {
    UNet: (LECTURE_UNET,),
    ResNet: (TORCHVISION_RESNET,),
    DeepLabV3: (TORCHVISION_DEEPLABV3, RESNET_FOR_DEEPLABV3),
}
"""Which files fit which network."""


# -- what one calls --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pretrained:
    """Weights a run starts from, as a config holds them.

    Attributes:
        path: A state dict: .safetensors, .npz, or .pth / .pt where PyTorch is installed. None = no
            such weights.
        part: `all` wants a file with the same classes; `encoder` leaves decoder and head as they
            are.
    """

    path: str | None = None
    part: Part = "all"

    def into(self, model: nn.Module, variables: Variables) -> Variables:
        """The same variables with the file's tensors in their places, on the same devices.

        Raises:
            UserError: The file cannot be read, or its tensors are not those of the network.
        """
        if self.path is None:
            return variables
        return merge(model, variables, read_state_dict(self.path), part=self.part)


def load(model: nn.Module, source: StateDict | str | Path) -> Variables:
    """All variables of a network from a state dict or its file, for the bands it was trained on.

    Returns:
        `{"params": ..., "batch_stats": ...}` of float32 numpy arrays.

    Raises:
        UserError: The file cannot be read, or its tensors are not those of the network.
    """
    state = source if isinstance(source, Mapping) else read_state_dict(source)
    state = _cleaned(state)
    first = state.get(f"{_family(model, state).first}.weight")
    bands = 3 if first is None else first.shape[1]
    image = jax.ShapeDtypeStruct((1, 64, 64, bands), jnp.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    return merge(model, shapes, state)


def merge(
    model: nn.Module, variables: Variables, state: StateDict, *, part: Part = "all"
) -> Variables:
    """Puts the tensors of a state dict in their places; what `part` does not cover stays as it is.

    A first convolution trained on other bands is adapted by `spread_bands`.

    Args:
        model: The network, whose class decides the table.
        variables: Its `params` and `batch_stats`: arrays, or only their shapes.
        state: Tensors by PyTorch's names.
        part: What to take.

    Returns:
        New variables; a tensor that replaces a JAX array lies on that array's devices.

    Raises:
        UserError: Lists every tensor that is missing, unexpected, or of another shape.
    """
    state = _cleaned(state)
    family = _family(model, state)
    if part == "all" and not family.decoder and model.__class__ is not ResNet:
        raise UserError(
            "The file holds an encoder only, and the whole network was asked for. "
            'Take `part="encoder"`, or give a file of the whole network.'
        )
    leaves = flax.traverse_util.flatten_dict(variables)
    table = (
        family.encoder if part == "encoder" else family.encoder | family.decoder | family.optional
    )
    missing, misshapen, known = [], [], set()
    for path, leaf in leaves.items():
        module = _translated("/".join(path[1:-1]), {ours: theirs for theirs, ours in table.items()})
        if module is None:
            if part == "all":
                missing.append(f"{'/'.join(path)} (no tensor of this family belongs there)")
            continue
        name = f"{module}.{_LEAVES[path[0], path[-1]]}"
        known.add(name)
        if name not in state:
            missing.append(name)
            continue
        value = np.asarray(state[name], dtype=np.float32)
        transposed = _translated(module, dict.fromkeys(family.transposed, "")) is not None
        if value.ndim > 1:  # convolutions of any dimension and matrices: taps, inputs, outputs
            value = np.moveaxis(value, (0, 1), (-2, -1) if transposed else (-1, -2))
        if module == family.first:
            value = spread_bands(value, leaf.shape[-2])
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
        and _translated(name.rpartition(".")[0], dict.fromkeys(allowed, "")) is None
    ]
    if missing or unexpected or misshapen:
        raise UserError(_complaint(model, missing, unexpected, misshapen))
    merged: Variables = flax.traverse_util.unflatten_dict(leaves)
    return merged


def spread_bands(kernel: NDArray[np.float32], bands: int) -> NDArray[np.float32]:
    """A kernel (kh, kw, C, F) for other bands: each gets the mean kernel, times C / bands.

    It knows nothing of which band is which, and it keeps the mean response: an image that is equal
    in all bands gives exactly the features a grey image gave before. With as many bands as before
    the kernel stays as it is.
    """
    if kernel.shape[2] == bands:
        return kernel
    mean = kernel.sum(axis=2, keepdims=True, dtype=np.float64) / bands
    return np.repeat(mean, bands, axis=2).astype(np.float32)


def read_state_dict(path: str | Path) -> dict[str, NDArray[np.generic]]:
    """Tensors of a file by their names.

    A .pth file is read without executing what is pickled in it; a training checkpoint that keeps
    its state dict under `state_dict`, `model_state_dict` or `model` is opened there.

    Raises:
        UserError: No such file, another format, or PyTorch is needed and not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"No file {path}. Give the path of a state dict on this machine.")
    match path.suffix:
        case ".safetensors":
            import safetensors.numpy

            return dict(safetensors.numpy.load_file(path))
        case ".npz":
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        case ".pth" | ".pt":
            return _read_torch(path)
    raise UserError(
        f"{path} ends in {path.suffix or 'nothing'}; state dicts end in .safetensors, .npz, .pth "
        "or .pt."
    )


# -- how it is done --------------------------------------------------------------------------------

_LEAVES = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("params", "bias"): "bias",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}


def _read_torch(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        import torch  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise UserError(
            f"{path} is a PyTorch file, and PyTorch is not installed. Install it (`pip install "
            "torch`), "
            "or save the state dict as .safetensors where it is."
        ) from None
    content = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        raise UserError(
            f"{path} holds no state dict, that is, names and tensors. Save `model.state_dict()`."
        )
    return {name: tensor.float().numpy() for name, tensor in content.items()}


def _cleaned(state: StateDict) -> StateDict:
    """Without the counters of batches and without the prefix that PyTorch's DataParallel adds."""
    return {
        name.removeprefix("module."): value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }


def _family(model: nn.Module, state: StateDict) -> Family:
    """The family of the network that knows most names of the file."""
    families = FAMILIES.get(type(model))
    if families is None:
        known = ", ".join(kind.__name__ for kind in FAMILIES)
        raise UserError(
            f"No table of weights for {type(model).__name__}; there are some for {known}."
        )

    def names_known(family: Family) -> int:
        table = family.encoder | family.decoder | family.optional
        return sum(_translated(name.rpartition(".")[0], table) is not None for name in state)

    return max(families, key=names_known)


def _translated(name: str, table: Mapping[str, str]) -> str | None:
    """The value of the pattern that `name` fits, with its numbers put in; None if none fits."""
    for pattern, target in table.items():
        expression = re.escape(pattern)
        for letter in "ij":
            slot = re.escape(f"{{{letter}}}")
            expression = expression.replace(slot, rf"(?P<{letter}>\d+)", 1)
            expression = expression.replace(slot, f"(?P={letter})")
        if found := re.fullmatch(expression, name):
            return target.format(**found.groupdict())
    return None


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
    lines.append(
        'Choose the network\'s arguments as in the file; for other classes, take `part="encoder"`.'
    )
    return "\n".join(lines)
