"""Windows over images are the same in onnxruntime: strides, rates, groups, transposed ones."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.in_onnx import check, in_onnxruntime
from jax import lax

from jaxseg.export.onnx_graph import NotInOnnxError
from jaxseg.models.parts.convolution import conv2d, conv_transpose2d
from jaxseg.models.parts.depthwise import depthwise_conv2d
from jaxseg.models.parts.resampling import max_pool2x2, max_pool3x3, mean_pool, resize

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((2, 10, 12, 4)).astype(np.float32)


def kernel(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("stride", "dilation", "padding"), [(1, 1, 1), (2, 1, 1), (1, 2, 2), (1, 9, 9)]
)
def test_convolutions(stride: int, dilation: int, padding: int) -> None:
    k = kernel(3, 3, 4, 5)
    check(lambda x: conv2d(x, k, stride=stride, dilation=dilation, padding=padding), X)


def test_strided_convolutions_of_single_pixels() -> None:
    check(lambda x: conv2d(x, kernel(1, 1, 4, 5), stride=2), X)


def test_convolutions_that_cut_rows_off() -> None:
    sides = ((-1, 2), (0, -2))
    layout = ("NHWC", "HWIO", "NHWC")
    check(
        lambda x: lax.conv_general_dilated(
            x, kernel(3, 3, 4, 5), (1, 1), sides, dimension_numbers=layout
        ),
        X,
    )


@pytest.mark.parametrize("dilation", [1, 3])
def test_depthwise_convolutions(dilation: int) -> None:
    check(lambda x: depthwise_conv2d(x, kernel(3, 3, 1, 4), dilation=dilation), X)


@pytest.mark.parametrize(
    ("taps", "stride", "padding", "more", "features"),
    [(2, 2, 0, 0, 3), (3, 2, 1, 1, 3), (4, 2, 1, 0, 3), (2, 3, 0, 1, 3), (3, 2, 1, 1, 128)],
)
def test_transposed_convolutions(
    taps: int, stride: int, padding: int, more: int, features: int
) -> None:
    k = kernel(taps, taps, 4, features)
    check(lambda x: conv_transpose2d(x, k, stride=stride, padding=padding, output_padding=more), X)


@pytest.mark.parametrize(
    "function",
    [
        max_pool2x2,
        max_pool3x3,
        lambda x: mean_pool(x, 3),
        lambda x: resize(x, (20, 7)),
        lambda x: resize(x, (20, 7), align_corners=True),
        lambda x: lax.reduce_window(
            x, 0.0, lax.add, (1, 3, 5, 1), (1, 2, 1, 1), ((0, 0), (1, 1), (2, 2), (0, 0))
        ),
    ],
)
def test_pooling_and_resizing(function: Any) -> None:
    check(function, X)


def test_windows_along_bands_and_rows_are_refused() -> None:
    def pooled(x: Any) -> Any:
        return lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 3), (1, 1, 1, 1), "valid")

    with pytest.raises(NotInOnnxError, match="Windows along the axes"):
        in_onnxruntime(pooled, X)
    assert jnp.ndim(pooled(X)) == 4
