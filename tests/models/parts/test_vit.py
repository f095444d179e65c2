"""The transformer's positions and arithmetic; `test_prithvi` compares it with the reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import applied, drawn, shapes

from jaxseg.models import PrithviLinear, PrithviUNet, TwoNetworks
from jaxseg.models.parts.vit import Block, LayerNorm, PatchEmbed, _cubic, positions
from jaxseg.models.receptive_field import sight


def test_positions_of_the_trained_size_are_sines_and_cosines_of_column_row_and_date() -> None:
    found = np.asarray(positions(14, 14, 32))  # 12 channels of the column, 12 of the row, 8
    assert found.shape == (14, 14, 32)
    for row, column in ((0, 0), (3, 11), (13, 13)):
        rates = 10_000 ** (-np.arange(6) / 6)
        for start, place in ((0, column), (12, row)):
            np.testing.assert_allclose(
                found[row, column, start : start + 6], np.sin(place * rates), atol=1e-6
            )
            np.testing.assert_allclose(
                found[row, column, start + 6 : start + 12], np.cos(place * rates), atol=1e-6
            )
    np.testing.assert_array_equal(found[..., 24:], [[[0] * 4 + [1] * 4] * 14] * 14)


@pytest.mark.parametrize(("height", "width"), [(2, 5), (14, 9), (40, 31)])
def test_an_image_of_any_size_spans_the_trained_positions(height: int, width: int) -> None:
    found, trained = positions(height, width, 32), positions(14, 14, 32)
    assert found.shape == (height, width, 32)
    for row in (0, -1):
        for column in (0, -1):
            np.testing.assert_allclose(found[row, column], trained[row, column], atol=1e-6)


def test_a_single_patch_is_the_first() -> None:
    np.testing.assert_allclose(positions(1, 1, 32)[0, 0], positions(14, 14, 32)[0, 0], atol=1e-6)


def test_cubic_convolution_keeps_constants_and_lines() -> None:
    np.testing.assert_allclose(_cubic(14, 14), np.eye(14), atol=1e-12)
    matrix = _cubic(14, 53)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-12)
    inside = slice(4, -4)  # where no neighbour lies beyond the border
    line = matrix @ np.arange(14.0)
    # a = -0.75 is not Keys' -0.5, which alone keeps lines exactly.
    np.testing.assert_allclose(line[inside], np.linspace(0, 13, 53)[inside], atol=0.05)
    assert np.abs(line - np.linspace(0, 13, 53))[inside].max() > 0.01


def test_a_patch_is_embedded_by_its_own_pixels() -> None:
    module = PatchEmbed(5, "float32")
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, 32, 48, 3)).astype(np.float32)
    params = {
        "kernel": rng.standard_normal((16, 16, 3, 5)).astype(np.float32),
        "bias": rng.standard_normal(5).astype(np.float32),
    }
    found = module.apply({"params": params}, image)
    patch = image[1, 16:32, 32:48]
    expected = np.einsum("hwc,hwcf->f", patch, params["kernel"]) + params["bias"]
    np.testing.assert_allclose(found[1, 1, 2], expected, rtol=1e-4, atol=1e-4)


def test_a_layer_norm_is_exact_where_the_mean_is_large() -> None:
    x = 1000 + np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    variables = {"params": {"gain": np.full(64, 2.0), "bias": np.ones(64)}}
    found = LayerNorm("float32").apply(variables, x)
    wide = x.astype(np.float64)
    wide = wide - wide.mean(-1, keepdims=True)
    expected = 2 * wide / np.sqrt(wide.var(-1, keepdims=True) + 1e-5) + 1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_bfloat16_loses_is_rounding_and_the_softmax_is_in_float32() -> None:
    x = np.random.default_rng(0).standard_normal((1, 40, 64)).astype(np.float32)
    exact, rough = Block(4, "float32"), Block(4, "bfloat16")
    known = jax.eval_shape(lambda x: exact.init(jax.random.key(0), x), x)
    variables = drawn(known)
    expected, found = applied(exact, variables, x), applied(rough, variables, jnp.bfloat16(x))
    assert found.dtype == jnp.bfloat16
    assert np.abs(expected - found).max() < 0.03 * np.abs(expected).max()
    program = jax.jit(rough.apply).lower(variables, jnp.bfloat16(x)).as_text()
    exponents = [line for line in program.splitlines() if "stablehlo.exponential" in line]
    assert exponents
    assert all("f32>" in line and "bf16" not in line for line in exponents)


def test_attention_is_seen_to_see_the_whole_image() -> None:
    for model in (
        PrithviLinear(2),
        PrithviUNet(2),
        TwoNetworks(2, network=PrithviLinear(0, "prithvi_eo_tiny")),
    ):
        assert sight(model, 16) is None


def test_a_far_pixel_changes_every_logit() -> None:
    model = PrithviLinear(2, "prithvi_eo_tiny")
    variables = drawn(shapes(model, bands=3))
    images = np.zeros((2, 64, 48, 3), np.float32)
    images[1, 0, 0] = 100
    first, second = applied(model, variables, images, train=False)
    assert (np.abs(first - second).max(-1) > 0).all()
