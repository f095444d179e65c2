"""FLOPs against sums over the pixels, worked by hand."""

import pytest

from jaxseg.planning import hlo
from jaxseg.planning.flops import factor, flops

HEAD = "ENTRY %main (x: f32[1]) -> f32[1] {\n"


def counted(*lines: str) -> float:
    """FLOPs of the last of some instructions."""
    program = hlo.parsed(HEAD + "".join(f"  {line}\n" for line in lines) + "}\n")
    main = program.computations["main"]
    return flops(list(main.values())[-1], main)


IMAGE = "%x = f32[2,5,5,3]{3,2,1,0} parameter(0)"
KERNEL = "%k = f32[3,3,3,4]{3,2,1,0} parameter(1)"


def test_products_with_padding_are_left_out() -> None:
    found = counted(
        IMAGE,
        KERNEL,
        "%y = f32[2,5,5,4]{3,2,1,0} convolution(%x, %k), window={size=3x3 pad=1_1x1_1}, "
        "dim_labels=b01f_01io->b01f",
    )
    # Along one axis 5 outputs have 3 taps each, two of which lie in the padding: 13.
    assert found == 2 * 2 * 3 * 4 * 13 * 13


def test_a_stride_and_a_dilation_count_the_taps_that_they_have() -> None:
    found = counted(
        IMAGE,
        KERNEL,
        "%y = f32[2,3,3,4]{3,2,1,0} convolution(%x, %k), window={size=3x3 stride=2x2 pad=2_2x2_2 "
        "rhs_dilate=2x2}, dim_labels=b01f_01io->b01f",
    )
    # Outputs at -2, 0, 2 and taps at 0, 2, 4: places -2..6 of which 0, 2, 4 meet 5 inputs:
    # -2: 0, 2 -> 2; 0: 0, 2, 4 -> 3; 2: 2, 4 -> 2.
    assert found == 2 * 2 * 3 * 4 * 7 * 7


def test_the_zeros_between_the_inputs_of_a_transposed_convolution_are_left_out() -> None:
    found = counted(
        "%x = f32[1,4,4,3]{3,2,1,0} parameter(0)",
        "%k = f32[2,2,3,5]{3,2,1,0} parameter(1)",
        "%y = f32[1,8,8,5]{3,2,1,0} convolution(%x, %k), window={size=2x2 pad=1_1x1_1 "
        "lhs_dilate=2x2}, dim_labels=b01f_01io->b01f",
    )
    # Every output meets one input: 8 x 8 products of 3 x 5.
    assert found == 2 * 3 * 5 * 8 * 8


@pytest.mark.parametrize(
    ("target", "operands", "made"),
    [
        ("__cudnn$convForward", "%x, %k", "f32[2,5,5,4]"),
        ("__cudnn$convBackwardInput", "%y, %k", "f32[2,5,5,3]"),
        ("__cudnn$convBackwardFilter", "%x, %y", "f32[3,3,3,4]"),
    ],
)
def test_the_three_convolutions_of_cudnn_cost_the_same(
    target: str, operands: str, made: str
) -> None:
    found = counted(
        IMAGE,
        KERNEL,
        "%y = f32[2,5,5,4]{3,2,1,0} parameter(2)",
        f"%z = ({made}{{3,2,1,0}}, u8[0]{{0}}) custom-call({operands}), "
        "window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f, "
        f'custom_call_target="{target}"',
    )
    assert found == 2 * 2 * 3 * 4 * 13 * 13


def test_a_product_is_two_flops_for_each_multiply_add() -> None:
    left = "%a = f32[7,10]{1,0} parameter(0)"
    right = "%b = f32[10,6]{1,0} parameter(1)"
    dot = "lhs_contracting_dims={1}, rhs_contracting_dims={0}"
    assert counted(left, right, f"%y = f32[7,6]{{1,0}} dot(%a, %b), {dot}") == 2 * 7 * 10 * 6
    numbers = '"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}'
    call = (
        '%y = (f32[7,6]{1,0}, s8[9]{0}) custom-call(%a, %b), custom_call_target="__cublas$gemm", '
        f'backend_config={{"gemm_backend_config":{{{numbers}}}}}'
    )
    assert counted(left, right, call) == 2 * 7 * 10 * 6


def test_other_operations_have_none() -> None:
    assert counted(IMAGE, "%y = f32[2,5,5,3]{3,2,1,0} add(%x, %x)") == 0


@pytest.mark.parametrize(
    ("dtype", "asked", "precision"),
    [
        ("bf16", "", "bfloat16"),
        ("f32", "", "float32"),
        ("f32", ", operand_precision={highest,highest}", "highest"),
    ],
)
def test_the_precision_is_that_of_inputs_and_of_what_is_asked_for(
    dtype: str, asked: str, precision: str
) -> None:
    text = (
        f"  %a = {dtype}[7,10]{{1,0}} parameter(0)\n"
        f"  %y = f32[7,7]{{1,0}} dot(%a, %a), lhs_contracting_dims={{1}}{asked}\n"
    )
    main = hlo.parsed(HEAD + text + "}\n").computations["main"]
    assert factor(main["y"], main) == precision
