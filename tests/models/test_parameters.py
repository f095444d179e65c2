"""As many parameters as the reference implementation has, or as a count by hand gives."""

import math
from typing import Any

import jax
import pytest
from fixtures.every_network import NETWORKS, every_network
from fixtures.networks import shapes

from jaxseg.models.parts.resnet import ResNet

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
        (
            {"num_classes": 16, "attention": False},
            200,
            (200 * 64 + 128) + 3 * (64 * 64 + 128 + 9 * 64 * 64 + 128) + (128 * 16 + 16),
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
