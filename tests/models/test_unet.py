"""The U-Nets answer as their references do."""

from collections.abc import Callable
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import drawn, shapes
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.errors import UserError
from jaxseg.models.original_unet import OriginalUNet, mirrored
from jaxseg.models.parts.resnet import ResNet
from jaxseg.models.resnet_unet import ResNetUNet
from jaxseg.models.unet import UNet
from jaxseg.weights import pretrained


def variables_of(model: nn.Module, bands: int) -> Any:
    return drawn(shapes(model, bands))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("unet_lecture_4to5_f16", UNet(5, features=16)),
        ("unet_lecture_3to1_f32", UNet(1)),
        ("unet_original_1to2_f64", OriginalUNet(2, context="valid")),
        ("smp_unet_r34_5", ResNetUNet(5)),
        ("smp_unet_r18_scse_2", ResNetUNet(2, "resnet18", attention="scse")),
        pytest.param(
            "smp_unet_r50_narrow_3",
            ResNetUNet(3, "resnet50", (64, 48, 32, 24, 8)),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_imported_weights_give_the_references_logits(
    golden: Callable[[str], Any], name: str, model: nn.Module
) -> None:
    reference = golden(name)
    variables = pretrained.load(model, reference.state)
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, reference.image)
    expected = reference.outputs["out"]
    assert np.abs(logits - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize(
    ("model", "multiple"),
    [(UNet(2, features=4), 16), (ResNetUNet(2, "resnet18", (8, 8, 8, 8, 8)), 32)],
)
def test_an_image_of_any_size_is_padded_by_its_edge_and_cropped_again(
    model: nn.Module, multiple: int
) -> None:
    variables = variables_of(model, bands=3)
    image = jax.random.normal(jax.random.key(1), (2, 37, 50, 3))
    apply = jax.jit(lambda v, x: model.apply(v, x, train=False))
    below, right = -37 % multiple, -50 % multiple
    padded = jnp.pad(image, ((0, 0), (0, below), (0, right), (0, 0)), mode="edge")
    chex.assert_trees_all_close(
        apply(variables, image), apply(variables, padded)[:, :37, :50], atol=1e-5
    )


def gradient(model: UNet, batch_stats: Any) -> Callable[[Any, jax.Array], Any]:
    """(params, image) -> gradients, (logits, new batch statistics)."""

    def loss(params: Any, image: jax.Array) -> tuple[jax.Array, Any]:
        given = {"params": params, "batch_stats": batch_stats}
        logits, updates = model.apply(given, image, train=True, mutable=["batch_stats"])
        return jnp.sin(logits).mean(), (logits, updates["batch_stats"])

    return jax.grad(loss, has_aux=True)


def assert_same_step(actual: Any, expected: Any) -> None:
    """Logits and statistics agree to rounding, gradients as far as switching ReLUs let them.

    Moving the image by 3e-7 changes a tensor's gradient here by 1 % of its largest value.
    """
    chex.assert_trees_all_close(actual[1], expected[1], rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(jax.tree.leaves(actual[0]), jax.tree.leaves(expected[0]), strict=True):
        assert np.linalg.norm(ours - theirs) <= 0.02 * np.linalg.norm(theirs) + 1e-5


@pytest.fixture(scope="module")
def one_device() -> tuple[Any, jax.Array, Any]:
    """Variables, image, and what a training step on one device gives."""
    variables = variables_of(UNet(2, features=4), bands=3)
    image = jax.random.normal(jax.random.key(1), (4, 64, 32, 3))
    step = gradient(UNet(2, features=4), variables["batch_stats"])
    return variables, image, jax.jit(step)(variables["params"], image)


@pytest.mark.slow
def test_recomputing_blocks_changes_neither_names_nor_numbers(
    one_device: tuple[Any, jax.Array, Any],
) -> None:
    variables, image, expected = one_device
    step = gradient(UNet(2, features=4, remat=True), variables["batch_stats"])
    assert_same_step(jax.jit(step)(variables["params"], image), expected)


def test_a_training_step_on_sharded_samples_and_rows_equals_one_device(
    one_device: tuple[Any, jax.Array, Any], mesh: Mesh
) -> None:
    variables, image, expected = one_device
    step = gradient(UNet(2, features=4), variables["batch_stats"])
    placed = NamedSharding(mesh, P(("data", "fsdp"), "space"))
    on_mesh = jax.jit(step, in_shardings=(NamedSharding(mesh, P()), placed))
    assert_same_step(on_mesh(variables["params"], image), expected)


# -- the original ----------------------------------------------------------------------------------


def original(context: Any) -> Callable[[Any, Any], jax.Array]:
    """(variables, image) -> logits of a narrow network."""
    model = OriginalUNet(2, features=4, context=context)
    return jax.jit(lambda v, x: model.apply(v, x, train=False))


@pytest.fixture(scope="module")
def narrow() -> Any:
    """Variables of `original`, whichever its context."""
    return variables_of(OriginalUNet(2, features=4), bands=1)


def test_without_skips_the_decoder_sees_the_bottleneck_alone() -> None:
    model = UNet(2, features=4, skips=False)
    variables = drawn(shapes(model, bands=3))
    assert variables["params"]["decoder1"]["conv1"]["kernel"].shape == (3, 3, 4, 4)
    image = np.random.default_rng(0).standard_normal((1, 32, 32, 3)).astype(np.float32)
    mute = jax.tree.map(jnp.zeros_like, variables["params"]["up4"])
    apply = jax.jit(lambda v, x: model.apply(v, x, train=False))
    shut = variables | {"params": variables["params"] | {"up4": mute}}
    np.testing.assert_array_equal(apply(shut, image), apply(shut, 0 * image))
    assert np.abs(apply(variables, image) - apply(variables, 0 * image)).max() > 1e-3


@pytest.mark.parametrize("side", [188, 204, 572])
def test_valid_convolutions_take_184_pixels_from_each_side(side: int) -> None:
    model = OriginalUNet(2, features=4, context="valid")
    image = jax.ShapeDtypeStruct((1, side, 188, 1), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    logits = jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image)
    chex.assert_shape(logits, (1, side - 184, 4, 2))


@pytest.mark.parametrize(
    ("height", "width", "message"),
    [
        (188, 572 + 1, "188 x 573 pixels.* nearest to 573 are 572 and 588"),
        (203, 188, "203 x 188 pixels.* nearest to 203 are 188 and 204"),
        (64, 188, "64 x 188 pixels.* nearest to 64 are 188 and 204"),
        (172, 188, "172 x 188 pixels.* nearest to 172 are 188 and 204"),
    ],
)
def test_valid_convolutions_refuse_sides_that_pooling_would_leave_odd(
    height: int, width: int, message: str
) -> None:
    model = OriginalUNet(2, features=4, context="valid")
    variables = jax.eval_shape(
        lambda x: model.init(jax.random.key(0), x, train=False), jnp.zeros((1, 188, 188, 1))
    )
    image = jax.ShapeDtypeStruct((1, height, width, 1), jnp.float32)
    with pytest.raises(UserError, match=message):
        jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image)


@pytest.mark.parametrize(("height", "width"), [(1, 2), (5, 93), (188, 60)])
def test_the_margin_runs_back_and_forth_over_the_image(height: int, width: int) -> None:
    image = jnp.arange(height * width, dtype=jnp.float32).reshape(1, height, width, 1)
    around = mirrored(image)
    for side in around.shape[1:3]:
        assert side % 16 == 12
    assert height + 184 <= around.shape[1] < height + 200
    assert width + 184 <= around.shape[2] < width + 200

    def place(target: np.ndarray, side: int) -> np.ndarray:
        turn = max(side - 1, 1)  # a triangle wave of this height; a single row stays itself
        return np.abs((target - 92 + turn) % (2 * turn) - turn) % side

    rows = place(np.arange(around.shape[1]), height)
    columns = place(np.arange(around.shape[2]), width)
    np.testing.assert_array_equal(around[0, :, :, 0], rows[:, None] * width + columns)


@pytest.mark.parametrize(("height", "width"), [(50, 3), (20, 188)])
def test_mirrored_context_is_the_valid_network_on_a_reflected_image(
    narrow: Any, height: int, width: int
) -> None:
    image = np.random.default_rng(1).standard_normal((2, height, width, 1), np.float32)
    below, right = (92 + (12 - side - 184) % 16 for side in (height, width))
    around = np.pad(image, ((0, 0), (92, below), (92, right), (0, 0)), mode="reflect")
    expected = original("valid")(narrow, around)[:, :height, :width]
    chex.assert_trees_all_close(original("mirror")(narrow, image), expected, rtol=1e-4, atol=1e-5)


def test_far_from_the_border_mirrored_and_valid_context_are_the_same(narrow: Any) -> None:
    scene = jax.random.normal(jax.random.key(3), (1, 396, 396, 1))
    valid = original("valid")(narrow, scene)  # of the pixels 92 .. 304
    image = scene[:, 92:304, 92:304]
    mirror = original("mirror")(narrow, image)
    centre = slice(96, 116)  # 96 pixels and more from the border of the image
    chex.assert_trees_all_close(
        mirror[:, centre, centre], valid[:, centre, centre], rtol=1e-4, atol=1e-5
    )
    assert np.abs(mirror - valid).max() > 0.01  # near the border the margin is another


def test_logits_move_with_the_image_by_multiples_of_16_pixels(narrow: Any) -> None:
    scene = jax.random.normal(jax.random.key(3), (1, 236, 204, 1))
    whole = original("valid")(narrow, scene)  # (1, 52, 20, 2)
    part = original("valid")(narrow, scene[:, 32:])
    chex.assert_trees_all_close(part, whole[:, 32:], rtol=1e-4, atol=1e-5)


def test_dropout_acts_on_the_end_of_the_contracting_path(narrow: Any) -> None:
    model = OriginalUNet(2, features=4, dropout=1.0)  # of down3 and down4 nothing is left
    image = jax.random.normal(jax.random.key(4), (1, 20, 20, 1))

    @jax.jit
    def logits(variables: Any) -> jax.Array:
        return model.apply(variables, image, train=True, rngs={"dropout": jax.random.key(0)})

    params = narrow["params"]
    others = {name: jax.tree.map(jnp.sin, params[name]) for name in ("down3", "down4")}
    chex.assert_trees_all_equal(logits(narrow), logits({"params": params | others}))
    others = {"down2": jax.tree.map(jnp.sin, params["down2"])}
    assert np.abs(logits(narrow) - logits({"params": params | others})).max() > 1e-3


# -- on a ResNet -----------------------------------------------------------------------------------


def test_a_resnet_trained_on_whole_images_becomes_the_encoder() -> None:
    model, classifier = ResNetUNet(2, "resnet18"), ResNet("resnet18")
    theirs = variables_of(classifier, bands=3)
    ours = jax.tree.map(np.negative, variables_of(model, bands=3))
    state = pretrained.exported(classifier, theirs) | {"fc.bias": np.zeros(1000, np.float32)}
    merged = pretrained.merge(model, ours, state, part="encoder")
    for collection in ("params", "batch_stats"):
        chex.assert_trees_all_equal(merged[collection]["backbone"], theirs[collection])
    chex.assert_trees_all_equal(merged["params"]["decoder0"], ours["params"]["decoder0"])


@pytest.mark.parametrize(
    "model", [OriginalUNet(2, features=4), ResNetUNet(2, "resnet18", attention="scse")]
)
def test_recomputing_blocks_leaves_all_names_as_they_are(model: nn.Module) -> None:
    assert shapes(model.clone(remat=True), bands=3) == shapes(model, bands=3)
