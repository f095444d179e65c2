"""CHWS-UNet: the authors' answers with `reshape`, what the name says with `permute`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import drawn, shapes

from jaxseg.errors import UserError
from jaxseg.models.chws_unet import CHWS, LCAM, CHWSUNet, taps
from jaxseg.models.parts.layers import BatchNorm, Conv
from jaxseg.weights import pretrained


def test_imported_weights_give_the_authors_logits(golden: Callable[[str], Any]) -> None:
    reference = golden("chws_unet_3to1")
    model = CHWSUNet(1, axis="reshape")
    variables = pretrained.load(model, reference.state)
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, reference.image)
    expected = reference.outputs["out"]
    assert np.abs(logits - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("attention", ["chws", "lcam", "none"])
def test_exported_weights_come_back_bit_by_bit(attention: Any) -> None:
    model = CHWSUNet(2, 4, attention, "reshape")
    variables = drawn(shapes(model, bands=5))
    again = pretrained.load(model, pretrained.exported(model, variables))
    jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_the_form_with_our_normalisations_has_no_place_in_the_authors_files() -> None:
    model = CHWSUNet(2, 4)
    with pytest.raises(UserError, match="skip1/by_row_norm"):
        pretrained.exported(model, drawn(shapes(model, bands=3)))


def test_the_authors_form_refuses_other_sizes_and_says_what_takes_them() -> None:
    model = CHWSUNet(2, 4, axis="reshape")
    image = jax.ShapeDtypeStruct((1, 128, 256, 3), jnp.float32)
    with pytest.raises(UserError, match=r'128 x 256 pixels: .* 256 x 256 only.*axis="permute"'):
        jax.eval_shape(lambda v, x: model.apply(v, x, train=False), shapes(model, 3), image)


@pytest.mark.parametrize(
    ("channels", "expected"), [(2, 3), (32, 3), (64, 3), (128, 5), (256, 5), (512, 5), (4096, 7)]
)
def test_lcam_reaches_further_among_more_channels(channels: int, expected: int) -> None:
    assert taps(channels) == expected


def test_lcam_convolves_mean_and_maximum_along_the_channels() -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 7)).astype(np.float32)
    kernel = np.array([0.5, -1.0, 2.0], np.float32)
    result = LCAM(3).apply({"params": {"kernel": kernel[:, None, None]}}, x)
    pooled = x.mean((1, 2)) + x.max((1, 2))
    gate = np.array([np.convolve(row, kernel[::-1], mode="same") for row in pooled])
    expected = x / (1 + np.exp(-gate))[:, None, None]
    np.testing.assert_allclose(result, expected, atol=1e-5)


def still(name: str) -> Any:
    return BatchNorm(use_running_average=True, name=name)


def test_height_and_width_exchange_their_parts_when_the_image_is_turned() -> None:
    module = CHWS("permute", 64, Conv, still)
    x = np.random.default_rng(0).standard_normal((1, 6, 9, 8)).astype(np.float32)
    variables = drawn(jax.eval_shape(lambda: module.init(jax.random.key(0), x)))
    apply = jax.jit(module.apply)

    def exchanged(tree: Any) -> Any:
        """Parameters of height and width exchanged, and the plane of their 7x7 kernels turned."""
        pairs = (("height", "width"), ("by_row_norm", "by_column_norm"))
        names = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
        result = {names.get(name, name): part for name, part in tree.items()}
        for name in ("channel", "height", "width"):
            if name in result:
                place = result[name]["place"]["kernel"].swapaxes(0, 1)
                result[name] = result[name] | {"place": {"kernel": place}}
        return result

    turned = {kind: exchanged(tree) for kind, tree in variables.items()}
    expected = apply(variables, x).swapaxes(1, 2)
    np.testing.assert_allclose(apply(turned, x.swapaxes(1, 2)), expected, atol=1e-5)
