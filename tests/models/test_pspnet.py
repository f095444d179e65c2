"""PSPNet and the lecture's variant answer as their references do."""

import functools
from collections.abc import Callable
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.arrays import normal
from fixtures.networks import applied, initialised, shapes

from jaxseg.errors import UserError
from jaxseg.models.parts.layers import BatchNorm, Conv
from jaxseg.models.parts.pyramid_pooling import ConvOfPyramid, Pyramid
from jaxseg.models.parts.resampling import resize
from jaxseg.models.pspnet import LecturePSPNet, PReLU, PSPNet, padded_to_corners
from jaxseg.weights import pretrained


def close(actual: Any, expected: np.ndarray) -> bool:
    return bool(np.abs(actual - expected).max() <= 1e-4 * max(1, np.abs(expected).max()))


def test_imported_weights_give_semsegs_logits(golden: Callable[[str], Any]) -> None:
    reference = golden("pspnet_semseg_r50_21")
    model = PSPNet(21)
    variables = pretrained.load(model, reference.state)
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, reference.image)
    assert close(logits, reference.outputs["out"])


def test_imported_weights_give_lextals_answers(golden: Callable[[str], Any]) -> None:
    reference = golden("pspnet_lecture_r18_18")
    model = LecturePSPNet(18)
    variables = pretrained.load(model, reference.state)
    logits, sown = jax.jit(lambda v, x: model.apply(v, x, train=False, mutable=["class_logits"]))(
        variables, reference.image
    )
    (present,) = jax.tree.leaves(sown["class_logits"])
    assert close(jax.nn.log_softmax(logits), reference.outputs["out0"])
    assert close(present, reference.outputs["out1"])


@pytest.mark.parametrize(
    ("case", "model"),
    [("pspnet_semseg_r50_21", PSPNet(21)), ("pspnet_lecture_r18_18", LecturePSPNet(18))],
    ids=["semseg", "lextal"],
)
def test_export_gives_the_state_dict_back_bit_by_bit(
    golden: Callable[[str], Any], case: str, model: nn.Module
) -> None:
    reference = golden(case).state
    state = pretrained.exported(model, pretrained.load(model, reference))
    assert state.keys() == {n for n in reference if not n.endswith("num_batches_tracked")}
    for name, tensor in state.items():
        np.testing.assert_array_equal(tensor, reference[name])


def test_a_network_without_auxiliary_head_leaves_the_files_one_out(
    golden: Callable[[str], Any],
) -> None:
    model = PSPNet(21, aux_head=False)
    variables = pretrained.load(model, golden("pspnet_semseg_r50_21").state)
    assert "aux_head" not in variables["params"]


@pytest.mark.parametrize(
    ("case", "model", "renamed"),
    [
        (
            "pspnet_semseg_r50_21",
            PSPNet(4),
            {"layer0.0": "conv1", "layer0.1": "bn1", "layer0.3": "conv2"}
            | {"layer0.4": "bn2", "layer0.6": "conv3", "layer0.7": "bn3"},
        ),
        ("pspnet_lecture_r18_18", LecturePSPNet(4), {}),
    ],
    ids=["semseg", "lextal"],
)
def test_a_classification_resnet_becomes_the_encoder(
    golden: Callable[[str], Any], case: str, model: nn.Module, renamed: dict[str, str]
) -> None:
    reference = golden(case).state
    resnet = {}
    for name, tensor in reference.items():
        module, _, leaf = name.removeprefix("feats.").rpartition(".")
        if module.startswith(("layer", "conv1", "bn1")):
            resnet[f"{renamed.get(module, module)}.{leaf}"] = tensor
    resnet |= {"fc.weight": np.zeros((1000, 8), "f"), "fc.bias": np.zeros(1000, "f")}
    variables = shapes(model, bands=3)
    from_resnet = pretrained.merge(model, variables, resnet, part="encoder")
    from_network = pretrained.merge(model, variables, reference, part="encoder")
    chex.assert_trees_all_equal(
        *({kind: tree[kind]["backbone"] for kind in tree} for tree in (from_resnet, from_network))
    )
    assert isinstance(from_resnet["params"]["backbone"]["conv1"]["kernel"], np.ndarray)
    assert isinstance(from_resnet["params"]["head"]["kernel"], jax.ShapeDtypeStruct)


def test_a_file_with_the_plain_stem_is_refused_for_the_deep_one(
    golden: Callable[[str], Any],
) -> None:
    plain = golden("pspnet_lecture_r18_18").state
    resnet = {n.removeprefix("feats."): v for n, v in plain.items() if n.startswith("feats.")}
    model = PSPNet(4, backbone="resnet18")
    with pytest.raises(UserError, match=r"(?s)conv2\.weight.*conv1\.weight"):
        pretrained.merge(model, shapes(model, bands=3), resnet, part="encoder")


def test_the_pyramid_holds_means_at_four_scales() -> None:
    norm = functools.partial(BatchNorm, use_running_average=True)
    pyramid = Pyramid(Conv, norm)
    x = np.random.default_rng(0).standard_normal((2, 12, 12, 8)).astype(np.float32)
    variables = initialised(pyramid, x)
    levels = applied(pyramid, variables, x)
    assert [level.shape for level in levels] == [(2, n, n, 2) for n in (1, 2, 3, 6)]
    kernel = variables["params"]["level0"]["kernel"][0, 0]
    mean = np.maximum(x.mean((1, 2)) @ kernel, 0) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(levels[0][:, 0, 0], mean, atol=1e-5)
    kernel = variables["params"]["level3"]["kernel"][0, 0]
    corner = np.maximum(x[:, :2, :2].mean((1, 2)) @ kernel, 0) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(levels[3][:, 0, 0], corner, atol=1e-5)


@pytest.mark.parametrize("size", [(12, 13), (6, 6), (2, 9)])
@pytest.mark.parametrize(("taps", "align_corners", "first"), [(3, True, True), (1, False, False)])
def test_a_convolution_of_the_pyramid_is_that_of_what_is_enlarged_and_concatenated(
    size: tuple[int, int], taps: int, *, align_corners: bool, first: bool
) -> None:
    x, *levels = (normal(n, 2, *shape, n + 1) for n, shape in enumerate((size, (1, 1), (6, 6))))
    quick = ConvOfPyramid(4, taps, align_corners, first, use_bias=True)
    variables = initialised(quick, x, levels)
    variables["params"]["bias"] = normal(9, 4)

    def enlarged(params: Any, x: Any, levels: Any) -> Any:
        large = [resize(y, size, align_corners=align_corners) for y in levels]
        parts = (x, *large) if first else (*large, x)
        conv = Conv(4, taps, use_bias=True)
        return conv.apply({"params": params}, jnp.concatenate(parts, axis=-1))

    def answer(params: Any, x: Any, levels: Any) -> Any:
        return quick.apply({"params": params}, x, levels)

    given = (variables["params"], x, levels)
    (one, back), (other, back_of_other) = (jax.vjp(f, *given) for f in (answer, enlarged))
    np.testing.assert_allclose(one, other, atol=2e-5)
    weight = normal(10, *other.shape)
    chex.assert_trees_all_close(back(weight), back_of_other(weight), atol=1e-4)


def test_without_bins_there_is_no_pooling() -> None:
    norm = functools.partial(BatchNorm, use_running_average=True)
    assert Pyramid(Conv, norm, bins=()).apply({}, normal(0, 1, 5, 4, 8)) == []
    params = shapes(PSPNet(2, backbone="resnet18", bins=()), bands=1)["params"]
    assert "pyramid" not in params
    assert params["head_conv"]["kernel"].shape == (3, 3, 512, 512)
    params = shapes(LecturePSPNet(2, bins=()), bands=1)["params"]
    assert set(params["pyramid"]) == {"project"}
    assert params["pyramid"]["project"]["kernel"].shape == (1, 1, 512, 1024)


def test_training_sows_what_the_image_holds_and_init_does_not() -> None:
    model = LecturePSPNet(5)
    variables = shapes(model, bands=3)
    assert set(variables) == {"params", "batch_stats"}
    image = jax.ShapeDtypeStruct((2, 30, 44, 3), jnp.float32)
    logits, sown = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=False, mutable=["class_logits"]), variables, image
    )
    assert logits.shape == (2, 30, 44, 5)
    assert [leaf.shape for leaf in jax.tree.leaves(sown)] == [(2, 5)]


def test_prelu_has_one_slope_that_learns() -> None:
    x = jnp.array([[-2.0, 3.0], [-4.0, 0.0]])
    variables = PReLU().init(jax.random.key(0), x)
    np.testing.assert_array_equal(PReLU().apply(variables, x), np.array([[-0.5, 3.0], [-1.0, 0.0]]))
    gradient = jax.grad(lambda v: PReLU().apply(v, x).sum())(variables)
    np.testing.assert_array_equal(gradient["params"]["slope"], [-6.0])


@pytest.mark.parametrize(
    ("model", "rates"),
    [
        (PSPNet(2, backbone="resnet18"), [0.1, 0.1]),
        (LecturePSPNet(2), [0.3, 0.15, 0.15, 0.15]),
    ],
    ids=["semseg", "lextal"],
)
def test_dropout_drops_whole_channels_at_the_references_rates(
    model: nn.Module, rates: list[float]
) -> None:
    seen = []

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if isinstance(context.module, nn.Dropout):
            seen.append(context.module)
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        shapes(model, bands=1)
    assert [drop.rate for drop in seen] == rates
    assert all(drop.broadcast_dims == (1, 2) for drop in seen)


@pytest.mark.parametrize(("side", "expected"), [(1, 1), (2, 9), (128, 129), (129, 129), (130, 137)])
def test_an_image_is_padded_until_corners_meet_corners(side: int, expected: int) -> None:
    image = jnp.arange(float(side * 9)).reshape(1, side, 9, 1)
    padded = padded_to_corners(image)
    assert padded.shape == (1, expected, 9, 1)
    np.testing.assert_array_equal(padded[:, :side], image)
    np.testing.assert_array_equal(
        padded[:, side:], padded[:, side - 1 : side].repeat(expected - side, 1)
    )


def test_a_thin_pspnet_is_in_proportion() -> None:
    params = shapes(PSPNet(3, backbone="resnet18", width=16), bands=3)["params"]
    assert params["pyramid"]["level0"]["kernel"].shape == (1, 1, 128, 32)
    assert params["head_conv"]["kernel"].shape == (3, 3, 2 * 128, 128)
