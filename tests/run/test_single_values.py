"""Normalisations that see one value per channel in training are found while a step is traced."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.errors import UserError
from jaxseg.models import ComplexUNet, UNet
from jaxseg.models.deeplab import AtrousPyramid
from jaxseg.models.parts.layers import BatchNorm, Conv
from jaxseg.models.parts.pyramid_pooling import Pyramid
from jaxseg.run import program, single_values
from jaxseg.sharding import MeshShape


def found_in(model: nn.Module, windows: int, *, crop: int = 32, train: bool = True) -> list[str]:
    """Paths of such normalisations, without computing anything."""
    keys = {name: jax.random.key(0) for name in ("params", "dropout")}
    image = jax.ShapeDtypeStruct((windows, crop, crop, 9), jnp.float32)
    with single_values.watched() as found:
        jax.eval_shape(lambda x: model.init(keys, x, train=train), image)
    return list(found)


class Pools(nn.Module):
    """The pyramids of DeepLabV3 and PSPNet on an image."""

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """(B, H, W, C) -> (B, H, W, F)."""
        norm = functools.partial(BatchNorm, use_running_average=not train)
        x = AtrousPyramid((1,), Conv, Conv, norm, 4, name="atrous")(image)
        y: jax.Array = Pyramid(Conv, norm, (1, 2), name="pyramid")(x)[0]
        return y


def test_they_are_found_wherever_one_value_is_left() -> None:
    assert found_in(Pools(), 1) == ["atrous/image_norm", "pyramid/level0_norm"]
    assert found_in(Pools(), 2) == []
    assert found_in(Pools(), 1, train=False) == []
    assert found_in(UNet(2, features=2), 1) == []
    for unet in (UNet(2, features=2, remat=True), ComplexUNet(2, features=2)):
        deepest = found_in(unet, 1, crop=16)
        assert [path.split("/")[0] for path in deepest] == ["bottleneck"] * 2


class Gate(nn.Module):
    """The mean of an image, normalised."""

    norm: Callable[..., nn.Module] = nn.BatchNorm

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """(B, H, W, C) -> (B, 1, 1, C)."""
        gate: Any = self.norm(use_running_average=not train, name="gate")(
            image.mean((1, 2), keepdims=True)
        )
        return gate  # type: ignore[no-any-return]


def test_flaxs_own_normalisation_of_one_value_is_refused_with_what_to_use() -> None:
    with pytest.raises(UserError, match=r"normalisation gate has one value .* Use BatchNorm of"):
        found_in(Gate(), 1)
    assert found_in(Gate(), 1, train=False) == []
    assert found_in(Gate(), 2) == []
    assert found_in(Gate(BatchNorm), 1) == ["gate"]


def test_the_report_names_the_first_and_the_batch_that_has_two_windows_in_a_slice() -> None:
    said = single_values.report({"pyramid/image_norm": None, "b": None}, 4, 4)
    assert "Normalisation pyramid/image_norm and 1 more: one value per channel in 1 window" in said
    assert said.endswith("--config.data.batch-size 8.")


class Step:
    """A training step in place of the jitted one: traced, never computed."""

    def __init__(self, model: nn.Module, windows: int) -> None:
        """Keeps what is traced."""
        self.model, self.windows = model, windows

    def lower(self, *_: object, **__: object) -> "Step":
        """Traces the network."""
        found_in(self.model, self.windows)
        return self

    def compile(self) -> Callable[..., object]:
        """Nothing is compiled."""
        return lambda state, _, **__: state


@pytest.mark.parametrize(("windows", "lines"), [(1, 1), (2, 0)])
def test_the_log_names_them_before_the_step_is_compiled(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, windows: int, lines: int
) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    said: list[str] = []
    step = Step(Gate(BatchNorm), windows)
    monkeypatch.setattr(program, "jit_train_step", lambda *_: step)
    nothing: Any = None
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    program.compiled(config, mesh, nothing, nothing, nothing, (), said.append)
    assert len(said) == lines
    assert all(line.startswith("Normalisation gate: one value") for line in said)
