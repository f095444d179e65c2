"""Classifiers for more classes, against cases worked by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.weights import new_classes

KERNEL = jnp.array([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.0]])  # (D, K) = (3, 2)
BIAS = jnp.array([0.4, -0.2])


def test_new_classes_share_the_probability_of_the_background() -> None:
    old = {"head": {"kernel": KERNEL, "bias": BIAS}, "block": {"kernel": jnp.ones((2, 3))}}
    like = {
        "head": {"kernel": jnp.zeros((3, 5)), "bias": jnp.zeros(5)},
        "block": {"kernel": jnp.zeros((2, 3))},
    }
    found = new_classes.grown(old, like, classes=(2, 5))
    np.testing.assert_array_equal(found["block"]["kernel"], old["block"]["kernel"])
    feature = jnp.array([0.3, -1.2, 2.0])
    before = jax.nn.softmax(feature @ KERNEL + BIAS)
    after = jax.nn.softmax(feature @ found["head"]["kernel"] + found["head"]["bias"])
    np.testing.assert_allclose(after[1], before[1], atol=1e-5)
    np.testing.assert_allclose(after[jnp.array([0, 2, 3, 4])], before[0] / 4, atol=1e-5)


def test_networks_that_differ_in_more_than_classes_are_refused() -> None:
    old = {"head": {"kernel": KERNEL}}
    with pytest.raises(UserError, match=r"head/kernel is \(3, 2\) in the old network and \(4, 3\)"):
        new_classes.grown(old, {"head": {"kernel": jnp.zeros((4, 3))}}, classes=(2, 3))
    with pytest.raises(UserError, match="tail/kernel is not in both"):
        new_classes.grown(old, old | {"tail": {"kernel": KERNEL}}, classes=(2, 3))


def test_importance_counts_channels_that_speak_for_a_class_where_it_is_seen() -> None:
    # Three pixels: two of the first new class, one of the second; a fourth does not count.
    features = jnp.array([[1.0, 2.0, -1.0], [-1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [9.0, 9.0, 9.0]])
    seen = jnp.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.5, 0.5]])
    label = jnp.array([2, 2, 3, 3])
    counted = jnp.array([True, True, True, False])
    sums, counts = new_classes.importance_sums(features, seen, label, counted, KERNEL, 2)
    expected = np.zeros((2, 2, 3))
    for pixel in range(3):
        for k in range(2):
            for d in range(3):
                speaks = float(features[pixel, d] * KERNEL[d, k]) > 0
                expected[int(label[pixel]) - 2, k, d] += speaks * float(seen[pixel, k])
    np.testing.assert_allclose(sums, expected, atol=1e-5)
    assert counts.tolist() == [2, 1]
    np.testing.assert_allclose(sums[0, 0], [0.9, 0.9, 0.9], atol=1e-5)  # by hand, one row
    np.testing.assert_allclose(sums[0, 1], [0.6, 0.1, 0.0], atol=1e-5)


def test_a_new_class_is_a_mixture_of_old_ones_channel_by_channel() -> None:
    mixture = new_classes.Mixture(
        importance=jnp.array([[[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]]]),
        projection=jnp.array([[0.25, 0.75]]),
        bias=jnp.array([0.3]),
        background=jnp.array([1.0, 2.0, 0.0]),
        factor=jnp.array(0.5),
    )
    new = [
        0.25 * 1.0 * 1.0 + 0.75 * 0.5 * -2.0,
        0.25 * 0.0 * 0.5 + 0.75 * 1.0 * 3.0,
        0.25 * 2.0 * -1.0 + 0.75 * 1.0 * 0.0,
    ]
    expected = np.array([[0.5, -2.0, new[0]], [0.5, 3.0, new[1]], [0.0, 0.0, new[2]]])
    np.testing.assert_allclose(mixture.kernel(KERNEL), expected, atol=1e-5)

    kernel, bias = mixture.finished(KERNEL, BIAS)
    lengths = [math.sqrt(1 + 0.25 + 1), math.sqrt(4 + 9)]
    first = expected[:, 0] * lengths[0] / math.sqrt(0.5)
    last = expected[:, 2] * np.mean(lengths) / np.linalg.norm(expected[:, 2])
    np.testing.assert_allclose(kernel, np.stack([first, KERNEL[:, 1], last], 1), atol=1e-5)
    size = math.sqrt(0.4**2 + 0.2**2)
    np.testing.assert_allclose(bias, [0.4, -0.2, size], atol=1e-5)


def test_the_projection_begins_at_the_softmax_of_the_importance() -> None:
    importance = jnp.array([[[0.2, 0.3], [0.1, 0.0]]])
    mixture = new_classes.beginning(importance, jnp.array([0.1, 0.2, 0.7]))
    share = math.exp(0.5) / (math.exp(0.5) + math.exp(0.1))
    np.testing.assert_allclose(mixture.projection, [[share, 1 - share]], atol=1e-5)
    np.testing.assert_allclose(mixture.bias, [0.7], atol=1e-5)
    drawn = new_classes.random_beginning(jax.random.key(0), 1, KERNEL, jnp.zeros(3))
    assert drawn.importance.shape == (1, 2, 3)
    assert np.std(drawn.importance) > 0
