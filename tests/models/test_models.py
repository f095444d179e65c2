"""The contract of every network: whatever is added to jaxseg/models is found and held to it."""

import math
from functools import lru_cache
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.compiler import AS_USERS_ROUND
from fixtures.networks import drawn, shapes
from jax import Array

from jaxseg.cli import catalogue
from jaxseg.models.parts.complex_layers import ComplexBatchNorm
from jaxseg.models.parts.layers import BatchNorm
from jaxseg.models.parts.normalisation import Normalisation, normalised_by
from jaxseg.models.parts.resnet import ResNet
from jaxseg.models.unet import UNet

SMALL: dict[str, dict[str, Any]] = {  # only to be quick
    "UNet": {"features": 4},
    "OriginalUNet": {"features": 4},
    # 48 channels: of 16, ScSE makes a single unit, which a ReLU may leave without a gradient.
    "ResNetUNet": {
        "backbone": "resnet18",
        "features": (32, 32, 32, 32, 48),
        "attention": "scse",
    },
    "TwoNetworks": {"network": UNet(num_classes=0, features=4)},
    "DomainPrompted": {"network": UNet(num_classes=0, features=4)},
    "UNetPlusPlus": {"backbone": "resnet18", "deep_supervision": True},
    "ComplexUNet": {"features": 4},
    "UNet3Plus": {"features": 4, "deep_supervision": True},
    "AttentionUNet": {"features": 4},
    "GridAttentionUNet": {"features": 4},
    "CHWSUNet": {"features": 4},
    "DeepLabV3": {"backbone": "resnet18", "aux_head": True},
    # The form of most parts: separable convolutions, one after the pyramid, two in the decoder.
    "DeepLabV3Plus": {
        "backbone": "resnet18",
        "features": 32,
        "separable": True,
        "pyramid_conv": True,
        "decoder_convs": 2,
    },
    "PSPNet": {"backbone": "resnet18"},
    "PrithviLinear": {"backbone": "prithvi_eo_tiny"},
    "PrithviUNet": {"backbone": "prithvi_eo_tiny", "features": (32, 32, 32, 32)},
    # A low price, because codes of kernels that are drawn so small would all be zero.
    "MultiscaleSAR": {"features": (8, 8, 8), "hidden": 16, "atoms": 8, "sparsity": 0.01},
    "ReSCNet": {"features": 16, "modules": 1, "patch": 5},
    "RefinedPSPNet": {"backbone": "resnet18", "features": 32, "aux_head": True},
}

PARAMETERS: dict[
    str, list[tuple[dict[str, Any], int, int]]
] = {  # arguments, bands, the reference's
    "UNet": [
        ({"num_classes": 1}, 3, 7_763_041),
        ({"num_classes": 1}, 1, 7_762_465),
        ({"num_classes": 1, "features": 64}, 3, 31_037_633),
        ({"num_classes": 5, "features": 16}, 4, 1_942_789),
    ],
    "OriginalUNet": [
        ({"num_classes": 2}, 1, 31_030_658),
        ({"num_classes": 1}, 1, 31_030_593),
        ({"num_classes": 1}, 3, 31_031_745),
    ],
    "ResNetUNet": [
        ({"num_classes": 1, "backbone": "resnet18"}, 3, 14_328_209),
        ({"num_classes": 1}, 3, 24_436_369),
        ({"num_classes": 5}, 4, 24_440_085),
        ({"num_classes": 1, "backbone": "resnet50"}, 3, 32_521_105),
        ({"num_classes": 1, "backbone": "resnet101"}, 3, 51_513_233),
        # Without the classifier's last convolution, which the reference keeps and never applies.
        ({"num_classes": 1, "backbone": "efficientnet-b0"}, 3, 6_251_469 - 412_160),
        ({"num_classes": 1, "backbone": "efficientnet-b4"}, 3, 20_225_689 - 806_400),
        # Without the 195 of an attention that the reference has in its last block and never uses.
        ({"num_classes": 1, "backbone": "resnet18", "attention": "scse"}, 3, 14_442_200 - 195),
    ],
    # Two U-Nets of the lecture.
    "TwoNetworks": [({"num_classes": 1}, 3, 2 * 7_763_041)],
    # The U-Net, two prompts of 16 numbers, what each normalisation reads from them, the simulator.
    "DomainPrompted": [
        (
            {"num_classes": 1},
            3,
            7_763_041
            + 2 * 16
            + 2 * 16 * 2 * (2 * (32 + 64 + 128 + 256) + 512)
            + (9 * 3 * 16 + 9 * 16 * 16)
            + (32 * 32 + 32)
            + (32 * 16 + 16)
            + (48 * 16 + 16),
        ),
    ],
    "UNetPlusPlus": [
        ({"num_classes": 1, "backbone": "resnet18"}, 3, 15_970_449),
        ({"num_classes": 1}, 3, 26_078_609),
        ({"num_classes": 1, "backbone": "resnet50"}, 3, 48_985_745),
        ({"num_classes": 1, "backbone": "resnet101"}, 3, 67_977_873),
        ({"num_classes": 1, "backbone": "efficientnet-b0"}, 3, 6_569_581 - 412_160),
        ({"num_classes": 1, "backbone": "resnet18", "attention": "scse"}, 3, 16_173_172 - 195),
        # Deep supervision is ours: three heads of 64 kernels and a bias a class.
        (
            {"num_classes": 2, "backbone": "resnet18", "deep_supervision": True},
            3,
            15_970_449 + (9 * 16 + 1) + 3 * 2 * (64 + 1),
        ),
    ],
    "UNet3Plus": [
        ({"num_classes": 1}, 3, 26_971_777),
        ({"num_classes": 1}, 1, 26_970_625),
        ({"num_classes": 1, "deep_supervision": True}, 3, 26_989_637),
        ({"num_classes": 2, "deep_supervision": True}, 3, 27_010_378),
    ],
    "AttentionUNet": [
        ({"num_classes": 1}, 3, 34_878_573),
        ({"num_classes": 1, "gates": False}, 3, 34_527_041),
    ],
    "GridAttentionUNet": [
        ({"num_classes": 4}, 3, 2_379_882),
        ({"num_classes": 4, "gates": 1}, 3, 2_206_727),
    ],
    "CHWSUNet": [
        ({"num_classes": 1, "axis": "reshape"}, 3, 34_534_027),
        ({"num_classes": 1, "attention": "lcam"}, 3, 34_527_059),
        ({"num_classes": 1, "attention": "none"}, 3, 34_527_041),
        # Normalisations of the channels, 2 C, where the authors' have those of rows and columns.
        ({"num_classes": 1}, 3, 34_534_027 + 4 * (64 + 128 + 256 + 512 - 256 - 128 - 64 - 32)),
    ],
    "LinkNet": [
        ({"num_classes": 21}, 3, 11_535_957),
        ({"num_classes": 19}, 3, 11_535_699),
        ({"num_classes": 11}, 3, 11_534_667),
        # The first code's decoders have biases.
        ({"num_classes": 19, "form": "torch7"}, 3, 11_535_699 + 992),
    ],
    "DeepLabV3": [
        ({"num_classes": 21}, 3, 39_638_869),
        ({"num_classes": 21, "output_stride": 16}, 3, 39_638_869),
        ({"num_classes": 21, "backbone": "resnet101"}, 3, 58_630_997),
        ({"num_classes": 21, "aux_head": True}, 3, 42_004_074),
        ({"num_classes": 1}, 3, 39_633_729),
        ({"num_classes": 1, "backbone": "resnet18"}, 3, 15_898_945),
        ({"num_classes": 1, "backbone": "resnet34"}, 3, 26_007_105),
    ],
    "DeepLabV3Plus": [
        ({"num_classes": 21}, 3, 39_761_845),
        ({"num_classes": 21, "backbone": "resnet101"}, 3, 58_753_973),
        *(
            ({"num_classes": 1, "backbone": b, "separable": True, "pyramid_conv": True}, 3, count)
            for b, count in (
                ("resnet18", 12_329_297),
                ("resnet34", 22_437_457),
                ("resnet50", 26_677_585),
                ("efficientnet-b0", 4_907_469 - 412_160),
            )
        ),
    ],
    "PSPNet": [
        ({"num_classes": 21}, 3, 49_081_578),
        ({"num_classes": 19}, 3, 49_080_038),
        ({"num_classes": 150}, 3, 49_180_908),
        ({"num_classes": 21, "aux_head": False}, 3, 49_081_578 - 2_365_205),
        ({"num_classes": 21, "backbone": "resnet101"}, 3, 68_073_706),
        ({"num_classes": 19, "backbone": "resnet101"}, 3, 68_072_166),
    ],
    "PrithviLinear": [
        ({"num_classes": 1}, 3, 5_535_745),
        ({"num_classes": 1}, 6, 5_683_201),
        ({"num_classes": 1, "backbone": "prithvi_eo_v2_100"}, 6, 86_433_793),
        ({"num_classes": 1, "backbone": "prithvi_eo_v2_300"}, 6, 304_148_481),
    ],
    "PrithviUNet": [
        ({"num_classes": 1}, 3, 12_384_497),
        ({"num_classes": 1, "backbone": "prithvi_eo_tiny"}, 6, 11_262_337),
        ({"num_classes": 1, "backbone": "prithvi_eo_v2_100"}, 6, 101_762_561),
        ({"num_classes": 1, "backbone": "prithvi_eo_v2_300"}, 6, 324_204_609),
    ],
    "LecturePSPNet": [
        ({"num_classes": 18}, 3, 17_463_911),
        ({"num_classes": 18, "backbone": "resnet34"}, 3, 27_572_071),
        ({"num_classes": 18, "backbone": "resnet50"}, 3, 53_584_999),
        ({"num_classes": 18, "backbone": "resnet101"}, 3, 72_577_127),
    ],
    # Ours, with no reference: counted by hand.
    "ComplexUNet": [
        (
            {"num_classes": 10, "features": 8, "pairs": 3},
            9,
            # Two real numbers a tap, and 5 a channel: 2 scales, a shear, 2 offsets.
            sum(
                2 * 9 * (a * b + b * b) + 2 * 5 * b
                for a, b in zip((6, 8, 16, 32, 64), (8, 16, 32, 64, 128), strict=True)
            )
            + sum(2 * 9 * (2 * b * b + b * b) + 2 * 5 * b for b in (64, 32, 16, 8))
            + sum(2 * 2 * b * b for b in (64, 32, 16, 8))
            + (16 * 10 + 10),
        ),
    ],
    "MultiscaleSAR": [
        (
            {"num_classes": 10},
            2,
            (2 * 49 * 32 * 2 + 32)  # synthesis and analysis, thresholds
            + (9 + 25 + 49) * (2 * 32 + 32 * 64 + 64 * 64)
            + 3 * 2 * (32 + 64 + 64)  # normalisations
            + (480 * 128 + 2 * 128)
            + (128 * 10 + 10),
        ),
    ],
    "ReSCNet": [
        (
            {"num_classes": 16},
            200,
            (200 * 64 + 128)
            + 3 * (64 * 64 + 128 + 9 * 64 * 64 + 128 + (64 * 8 + 8 + 8 * 64 + 64))
            + (9 * 64 + 1 + (64 * 8 + 8 + 8 * 64 + 64) + 64 * 64 + 64)
            + (128 * 16 + 16),
        ),
    ],
    "RefinedPSPNet": [
        ({"num_classes": 21}, 3, 30_204_672),
        # PSPNet's auxiliary head: 2,365,205 in the reference.
        ({"num_classes": 21, "aux_head": True}, 3, 30_204_672 + 2_365_205),
    ],
}


def large(case: tuple[dict[str, Any], int, int]) -> bool:
    deep = (
        *("resnet50", "resnet101", "efficientnet-b0", "efficientnet-b4"),
        *("prithvi_eo_v2_100", "prithvi_eo_v2_300"),
    )
    return case[0].get("backbone") in deep


NETWORKS = catalogue.networks()
every_network = pytest.mark.parametrize("name", sorted(NETWORKS))


def small(name: str, num_classes: int = 3, **arguments: Any) -> nn.Module:
    return NETWORKS[name](num_classes=num_classes, **(SMALL.get(name, {}) | arguments))


@lru_cache
def trained(name: str) -> tuple[Any, Any, Any, Any]:
    """Variables, gradients, new batch statistics, and those of an evaluation, in bfloat16."""
    model = small(name, dtype="bfloat16")
    variables = drawn(shapes(model, bands=4))
    image = jnp.asarray(np.random.default_rng(1).standard_normal((4, 37, 50, 4)), jnp.float32)

    def loss(params: Any) -> tuple[Array, tuple[Any, Any]]:
        given = variables | {"params": params}
        logits, updates = model.apply(
            given,
            image,
            train=True,
            mutable=["batch_stats", "aux_logits", "class_logits"],
            rngs={"dropout": jax.random.key(0)},
        )
        _, evaluated = model.apply(given, image, train=False, mutable=["batch_stats", "aux_logits"])
        present = jax.tree.leaves(updates.get("class_logits", {}))
        for answer in present:
            chex.assert_shape(answer, (4, 3))
            chex.assert_type(answer, jnp.float32)
        every = [logits, *jax.tree.leaves(updates.get("aux_logits", {}))]
        for answer in every:
            chex.assert_shape(answer, (4, 37, 50, 3))
            chex.assert_type(answer, jnp.float32)
        pattern = jnp.cos(jnp.arange(logits.size)).reshape(logits.shape)
        total = sum((nn.log_softmax(answer) * pattern).sum() for answer in every)
        total += sum((answer * jnp.cos(jnp.arange(12.0)).reshape(4, 3)).sum() for answer in present)
        return total, (updates.get("batch_stats", {}), evaluated.get("batch_stats", {}))

    gradients, (moved, still) = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    return variables, gradients, moved, still


def test_the_networks_are_found() -> None:
    assert {"UNet", "DeepLabV3"} <= NETWORKS.keys()


@every_network
@pytest.mark.parametrize(
    ("bands", "classes"),
    [
        (9, 5),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((1, 20), (9, 1), (200, 2))),
    ],
)
def test_logits_have_the_images_size_for_any_bands_classes_and_sizes(
    name: str, bands: int, classes: int
) -> None:
    dims = chex.Dimensions(B=2, H=45 + bands % 3, W=70, C=bands, K=classes)
    model = small(name, classes)
    image = jax.ShapeDtypeStruct(dims["BHWC"], jnp.float32)
    logits = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=False), shapes(model, bands), image
    )
    chex.assert_shape(logits, dims["BHWK"])
    chex.assert_type(logits, jnp.float32)


@every_network
def test_parameters_and_statistics_are_float32_whatever_is_computed_in(name: str) -> None:
    variables = shapes(small(name, dtype="bfloat16"), bands=3)
    assert {"params"} <= set(variables) <= {"params", "batch_stats"}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@every_network
def test_bfloat16_is_what_the_network_multiplies_in(name: str) -> None:
    model = small(name, dtype="bfloat16")
    image = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    program = jax.jit(lambda v, x: model.apply(v, x, train=False)).lower(shapes(model, 3), image)
    lines = program.as_text().splitlines()
    products = [line for line in lines if "stablehlo.convolution" in line] or [
        line for line in lines if "stablehlo.dot_general" in line
    ]
    assert products
    assert all(line.rstrip().endswith("bf16>") or "xbf16>" in line for line in products)


@pytest.mark.slow
@every_network
def test_every_parameter_gets_a_gradient(name: str) -> None:
    _, gradients, _, _ = trained(name)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
        assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.slow
@every_network
def test_batch_statistics_move_in_training_and_not_in_evaluation(name: str) -> None:
    variables, _, moved, still = trained(name)
    stats = variables.get("batch_stats", {})
    chex.assert_trees_all_equal(still, stats)
    for before, after in zip(jax.tree.leaves(stats), jax.tree.leaves(moved), strict=True):
        assert np.isfinite(after).all()
        assert (np.asarray(before) != np.asarray(after)).any()


@pytest.mark.slow
@every_network
def test_computing_blocks_anew_changes_no_gradient(name: str) -> None:
    variables = drawn(shapes(small(name), bands=3))
    image = jnp.asarray(np.random.default_rng(1).standard_normal((2, 32, 48, 3)), jnp.float32)

    def gradients(model: nn.Module) -> Any:
        def loss(params: Any) -> Array:
            logits, _ = model.apply(
                variables | {"params": params},
                image,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": jax.random.key(0)},
            )
            return (
                nn.log_softmax(logits) * jnp.cos(jnp.arange(logits.size)).reshape(logits.shape)
            ).sum()

        # A value recomputed with other rounding may pass a ReLU or a pooling on the other side.
        compiled = jax.jit(jax.grad(loss), compiler_options=AS_USERS_ROUND)
        return compiled(variables["params"])

    kept, anew = gradients(small(name)), gradients(small(name, remat=True))
    norm = math.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(kept)))
    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.tree.map(jnp.subtract, kept, anew)):
        assert float(jnp.linalg.norm(leaf)) <= 1e-4 * norm, jax.tree_util.keystr(path)


@pytest.mark.slow
@every_network
def test_every_network_measures_groups_of_channels_with_the_same_parameters(name: str) -> None:
    for model, groups in (
        (small(name), 2),
        (NETWORKS[name](num_classes=3), Normalisation().groups),
    ):
        image = jax.ShapeDtypeStruct((1, 64, 64, 9), jnp.float32)
        with normalised_by(Normalisation("group", groups=groups)):
            grouped = jax.eval_shape(
                lambda x, model=model: model.init(jax.random.key(0), x, train=False), image
            )
        params = {"params": shapes(model, bands=9)["params"]}
        chex.assert_trees_all_equal_shapes_and_dtypes(grouped, params)


DROPOUT: dict[str, list[tuple[float, tuple[int, ...]]]] = {
    # Rate, and the axes along which a dropped value is dropped everywhere, in the order of work.
    "OriginalUNet": [(0.5, ()), (0.5, ())],
    "DeepLabV3": [(0.5, ()), (0.1, ())],  # the second in the auxiliary head
    "DeepLabV3Plus": [(0.1, ())],
    "PSPNet": [(0.1, (1, 2)), (0.1, (1, 2))],
    "LecturePSPNet": [(0.3, (1, 2)), (0.15, (1, 2)), (0.15, (1, 2)), (0.15, (1, 2))],
    "ReSCNet": [(0.5, ())],
    "RefinedPSPNet": [(0.1, ()), (0.1, ())],
}

SOWN: dict[str, dict[str, int]] = {
    # What leaves beside the logits, and how many arrays of it.
    "TwoNetworks": {"aux_logits": 2},
    "UNetPlusPlus": {"aux_logits": 3},
    "UNet3Plus": {"aux_logits": 4},
    "DeepLabV3": {"aux_logits": 1},
    "PSPNet": {"aux_logits": 1},
    "LecturePSPNet": {"class_logits": 1},
    "MultiscaleSAR": {"regularizers": 1},
    "RefinedPSPNet": {"aux_logits": 1},
}


RECOMPUTED = {"checkpoint", "remat", "remat2"}


def watched(
    model: nn.Module, variables: Any, *, train: bool
) -> tuple[list[bool], list[Any], Any, Any]:
    """What normalisations use, the dropouts, the program, and what is sown; nothing is run."""
    norms: list[bool] = []
    drops: list[Any] = []

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if isinstance(module, BatchNorm | ComplexBatchNorm):
            norms.append(bool(module.use_running_average))
        if isinstance(module, nn.Dropout):
            drops.append(module)
        return call(*args, **kwargs)

    image = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)

    def apply(variables: Any, image: Any) -> Any:
        kinds = ["batch_stats", "aux_logits", "class_logits", "regularizers"]
        rngs = {"dropout": jax.random.key(0)}
        return model.apply(variables, image, train=train, mutable=kinds, rngs=rngs)[1]

    with nn.intercept_methods(note):
        program, sown = jax.make_jaxpr(apply, return_shape=True)(variables, image)
    return norms, drops, program, sown


@every_network
def test_what_differs_in_training_is_as_documented(name: str) -> None:
    """Statistics of the batch, dropout, recomputed blocks; what is sown is sown always.

    The statistics are those of groups of windows, which need the batch to be the first axis.
    """
    variables = shapes(small(name), bands=3)
    with normalised_by(Normalisation("ghost", size=1), jnp.ones(2, bool)):
        norms, drops, program, sown = watched(small(name, remat=True), variables, train=True)
    assert not any(norms)
    statistics = variables.get("batch_stats", {})
    chex.assert_trees_all_equal_shapes_and_dtypes(sown.get("batch_stats", {}), statistics)
    assert [(drop.rate, tuple(drop.broadcast_dims)) for drop in drops] == DROPOUT.get(name, [])
    assert not any(drop.deterministic for drop in drops)
    kinds = {kind: len(jax.tree.leaves(kept)) for kind, kept in sown.items()}
    kinds.pop("batch_stats", None)
    assert kinds == SOWN.get(name, {})
    assert RECOMPUTED & {str(equation.primitive) for equation in program.eqns}

    norms, drops, program, sown = watched(small(name), variables, train=False)
    assert all(norms)
    assert all(drop.deterministic for drop in drops)
    kinds = {kind: len(jax.tree.leaves(kept)) for kind, kept in sown.items()}
    kinds.pop("batch_stats", None)
    assert kinds == SOWN.get(name, {})
    assert not RECOMPUTED & {str(equation.primitive) for equation in program.eqns}


@pytest.mark.parametrize("name", ["DeepLabV3", "DeepLabV3Plus"])
def test_frozen_statistics_stay_in_training_while_dropout_drops(name: str) -> None:
    model = small(name, freeze_batch_norm=True)
    norms, drops, _, _ = watched(model, shapes(model, bands=3), train=True)
    assert all(norms)
    assert not any(drop.deterministic for drop in drops)


@every_network
def test_there_are_as_many_parameters_as_in_the_reference(name: str) -> None:
    assert name in PARAMETERS, f"put the reference's count for {name} into PARAMETERS"
    for case in PARAMETERS[name]:
        if not large(case):
            check_parameters(name, *case)


@pytest.mark.slow  # a large encoder is traced for seconds, and counted by itself below
@pytest.mark.parametrize(
    "name", sorted(n for n, cases in PARAMETERS.items() if any(map(large, cases)))
)
def test_there_are_as_many_parameters_as_in_the_reference_with_a_large_encoder(name: str) -> None:
    for case in filter(large, PARAMETERS[name]):
        check_parameters(name, *case)


def check_parameters(name: str, arguments: dict[str, Any], bands: int, expected: int) -> None:
    params = shapes(NETWORKS[name](**arguments), bands)["params"]
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    assert count == expected, arguments


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("resnet18", 11_176_512),
        ("resnet34", 21_284_672),
        ("resnet50", 23_508_032),
        ("resnet101", 42_500_160),
    ],
)
def test_a_resnet_has_torchvisions_parameters(backbone: Any, expected: int) -> None:
    params = shapes(ResNet(backbone), bands=3)["params"]
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == expected
