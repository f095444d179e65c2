"""Separation against its definition: one distance transform of the whole image per object."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from jaxseg.errors import UserError
from jaxseg.losses.border_weights import (
    Separation,
    border_weight_map,
    components,
    inverse_frequencies,
    reach,
    separation,
    separation_on_device,
    touching,
)
from jaxseg.losses.loss import needs_of
from jaxseg.losses.pixels import CrossEntropy, EdgeWeightedCrossEntropy
from jaxseg.scenes.scene import IGNORE, Sample


def definition(
    instance: NDArray[np.int32], limit: float, spacing: tuple[float, float] = (1.0, 1.0)
) -> NDArray[np.float64]:
    ids = [i for i in np.unique(instance) if i > 0]
    distances = [ndimage.distance_transform_edt(instance != i, sampling=spacing) for i in ids]
    distances = [np.where(d > limit, np.inf, d) for d in distances]
    while len(distances) < 2:
        distances.append(np.full(instance.shape, np.inf))
    nearest = np.sort(np.stack(distances), axis=0)
    return nearest[0] + nearest[1]


def random_objects(seed: int, count: int, *, background: bool) -> NDArray[np.int32]:
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:90, :120]
    instance = np.zeros((90, 120), np.int32) if background else np.full((90, 120), 999, np.int32)
    for number in range(count):
        y, x, r = random.uniform(0, 90), random.uniform(0, 120), random.uniform(2, 12)
        instance[(rows - y) ** 2 + (columns - x) ** 2 < r * r] = 7 * number + 3
    return instance


def rings() -> NDArray[np.int32]:
    """Every object inside another one, some touching, some with a gap."""
    rows, columns = np.mgrid[:80, :90]
    outward = np.maximum(abs(rows - 37), abs(columns - 50)) // 4
    return np.where(outward % 5 == 4, 0, outward + 1).astype(np.int32)


def at_the_edge() -> NDArray[np.int32]:
    instance = np.zeros((40, 60), np.int32)
    instance[0, 0], instance[-1, -1], instance[0, 30:], instance[:, 0] = 1, 2, 3, 4
    return instance


SCENES = {
    "nested": rings(),
    "at the edge": at_the_edge(),
    "touching": np.kron(np.arange(1, 31).reshape(5, 6), np.ones((9, 9))).astype(np.int32),
    "fifty": random_objects(5, 50, background=True),
    "one row": random_objects(1, 30, background=True)[40:41],
    "noise": np.random.default_rng(0).integers(0, 4, (50, 70)).astype(np.int32),
}


@pytest.mark.parametrize("count", [0, 1, 2, 30])
@pytest.mark.parametrize("background", [True, False])
def test_separation_equals_its_definition(count: int, background: bool) -> None:
    instance = random_objects(count, count, background=background)
    np.testing.assert_allclose(separation(instance, 20), definition(instance, 20), rtol=1e-6)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.5, 0.7)])
def test_separation_of_hard_scenes(scene: str, spacing: tuple[float, float]) -> None:
    instance = SCENES[scene]
    ours = separation(instance, 17.3, spacing=spacing)
    np.testing.assert_allclose(ours, definition(instance, 17.3, spacing), rtol=1e-5)


def test_a_thousand_objects_equal_the_definition() -> None:
    random = np.random.default_rng(3)
    places = random.permutation(110 * 110)[:1200]
    instance = np.zeros(110 * 110, np.int32)
    instance[places] = np.arange(1, 1201)
    instance = instance.reshape(110, 110)
    np.testing.assert_allclose(separation(instance), definition(instance, 32), rtol=1e-6)


def test_more_ids_than_sixteen_bits_hold() -> None:
    # Each pair of columns is an object; ids that differ by 2**16 must not be taken for one.
    instance = (np.arange(400 * 400).reshape(400, 400) // 2 + 1).astype(np.int32)
    instance[1::2] = instance[::2] + 2**17
    assert len(np.unique(instance)) == 80_000
    assert np.all(separation(instance) == 1)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.5, 0.7)])
def test_the_device_and_the_host_agree(scene: str, spacing: tuple[float, float]) -> None:
    pair = np.stack([SCENES[scene], SCENES[scene][::-1]])
    compiled = jax.jit(lambda ids: separation_on_device(ids, 17.3, spacing=spacing))
    ours = compiled(jnp.asarray(pair))
    expected = [separation(part, 17.3, spacing=spacing) for part in pair]
    np.testing.assert_allclose(ours, np.stack(expected), rtol=1e-5)


def test_the_weight_equals_the_unlimited_definition() -> None:
    instance = random_objects(8, 30, background=True)
    weight = border_weight_map(instance, class_weights=(0.3, 0.7))
    expected = np.where(instance > 0, 0.7, 0.3)
    expected += 10 * np.exp(-(definition(instance, np.inf) ** 2) / 50)
    np.testing.assert_allclose(weight, expected, atol=1e-5)


def test_two_boxes_give_the_weight_of_the_reference() -> None:
    # Expected value: w0 = 10, sigma = 5 and wc of the background 0.4884, computed from the
    # definition by hand.
    instance = np.zeros((32, 32), np.int32)
    instance[8:24, 4:14] = 1
    instance[8:24, 17:28] = 2
    weight = border_weight_map(instance)
    np.testing.assert_allclose(weight[16, 14:17], 7.7499, atol=1e-4)
    assert weight[0, 0] == pytest.approx(0.4884, abs=1e-3)  # far from both
    only_gaps = border_weight_map(instance, background_only=True)
    np.testing.assert_allclose(only_gaps[16, 14:17], 7.7499, atol=1e-4)
    np.testing.assert_array_equal(only_gaps[instance > 0], 1.0)
    assert inverse_frequencies(instance > 0) == pytest.approx((0.4884, 1.0), abs=1e-4)


def test_a_single_object_has_no_second_distance() -> None:
    instance = np.zeros((16, 16), np.int32)
    instance[4:8, 4:8] = 5
    assert np.all(np.isinf(separation(instance)))
    np.testing.assert_array_equal(
        border_weight_map(instance, class_weights=(2, 3)), 2 + (instance > 0)
    )


def test_ignored_pixels_have_no_weight_and_no_share_in_the_frequencies() -> None:
    instance = random_objects(2, 20, background=True)
    label = np.where(instance > 0, 2, 0).astype(np.uint8)
    label[:, :50] = IGNORE
    weight = border_weight_map(instance, label)
    assert not weight[:, :50].any()
    seen = instance[:, 50:] > 0
    wc = inverse_frequencies(label)
    assert wc == pytest.approx((seen.sum() / (~seen).sum(), 0, 1))
    border = 10 * np.exp(-(definition(instance, 30) ** 2) / 50)[:, 50:]
    np.testing.assert_allclose(weight[:, 50:] - np.where(seen, wc[2], wc[0]), border, atol=1e-5)


def test_the_limit_is_where_the_term_ends() -> None:
    assert 10 * np.exp(-(reach(10, 5) ** 2) / 50) == pytest.approx(1e-6)
    assert reach(0, 5) == 0


def test_components_are_the_regions_of_each_class() -> None:
    label = np.array([[1, 1, 0, 2], [0, 0, 2, 2], [1, 2, IGNORE, IGNORE]], np.uint8)
    ids = components(label)
    assert (ids > 0).tolist() == ((label > 0) & (label != IGNORE)).tolist()
    assert len({ids[0, 0], ids[2, 0], ids[0, 3], ids[2, 1]}) == 4
    assert ids[0, 3] == ids[1, 2]
    assert len(np.unique(components(label, background=None))) == 1 + 4 + 2


def test_without_touching_pixels_every_object_is_a_region() -> None:
    instance = SCENES["touching"]
    left = np.where(touching(instance), 0, instance)
    _, count = ndimage.label(left > 0, np.ones((3, 3)))
    assert count == 30
    assert not touching(np.where(instance % 2, instance, 0)[:9]).any()


@pytest.mark.parametrize(
    ("instance", "label", "message"),
    [
        (np.zeros((4, 4)), None, "float64"),
        (np.full((4, 4), -3), None, "Object id -3 is negative"),
        (np.zeros((4, 4), int), np.zeros((4, 5), int), r"\(4, 5\) pixels, the object map \(4, 4\)"),
        (np.zeros((4, 4), int), np.full((4, 4), 2), "Class 2 for 2 class weights"),
        (np.zeros((4, 4), int), np.full((4, 4), -1), "Class -1 is negative"),
        (np.zeros((4, 4), int), np.zeros((4, 4)), "A class map of type float64"),
    ],
)
def test_bad_maps_are_refused(
    instance: NDArray[np.int64], label: NDArray[np.int64] | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        border_weight_map(instance, label, class_weights=(1, 1))


def test_touching_objects_are_marked_on_both_sides() -> None:
    instance = np.zeros((8, 9), np.int32)
    instance[2:6, 1:4], instance[2:6, 4:8], instance[6, 8] = 2, 1, 3
    marked = np.zeros((8, 9), bool)
    marked[2:6, 3:5] = True  # two pixels wide
    marked[5, 7] = marked[6, 8] = True  # at a corner
    np.testing.assert_array_equal(touching(instance), marked)
    np.testing.assert_array_equal(touching(instance.astype(np.uint8)), marked)


def test_the_border_term_is_kept_from_objects_and_not_from_a_class() -> None:
    instance = np.zeros((9, 9), np.int32)
    instance[2:7, 1:4], instance[2:7, 5:8] = 1, 2
    label = np.full((9, 9), 1, np.uint8)
    label[instance > 0] = 0  # objects of class 0 on ground of class 1
    weight = border_weight_map(instance, label, class_weights=(2, 3), background_only=True)
    np.testing.assert_array_equal(weight[instance > 0], 2)
    assert (weight[instance == 0] > 3).any()


def test_height_width_and_spacing_of_the_border_term_are_those_asked_for() -> None:
    instance = random_objects(8, 12, background=True)[:40, :50]
    gap = definition(instance, np.inf, (2.0, 0.5))
    weight = border_weight_map(
        instance, class_weights=(1.0, 1.0), w0=3.0, sigma=2.0, spacing=(2.0, 0.5)
    )
    np.testing.assert_allclose(weight, 1 + 3 * np.exp(-np.square(gap) / 8), atol=2e-6)
    assert weight.dtype == np.float32


def test_frequencies_are_those_of_labelled_pixels() -> None:
    label = np.array([[0, 0, 0, 0, 2, 2, 3, IGNORE, IGNORE, IGNORE]], np.uint8)
    assert inverse_frequencies(label) == (0.25, 0, 0.5, 1)
    assert inverse_frequencies(np.full((2, 2), IGNORE, np.uint8)) == (0,)


def test_distances_are_exact_up_to_the_limit_and_unknown_beyond() -> None:
    instance = np.zeros((1, 120), np.int32)
    instance[0, 0], instance[0, 60] = 1, 2
    columns = np.arange(120)
    near, far = np.sort([abs(columns - 0), abs(columns - 60)], 0)
    for limit in (10.0, 30.0, 45.5):
        expected = np.where(far <= limit, near + far, np.inf)[None]
        np.testing.assert_array_equal(separation(instance, limit), expected)
        on_device = separation_on_device(jnp.asarray(instance)[None], limit)
        np.testing.assert_array_equal(on_device, expected[None])
    assert separation(instance).max() == separation(instance, 32).max()
    np.testing.assert_array_equal(
        separation_on_device(jnp.asarray(instance)[None])[0], separation(instance)
    )


def test_an_object_has_no_distance_to_itself_and_one_to_the_other() -> None:
    instance = np.array([[1, 1, 0, 0, 2]], np.int32)
    np.testing.assert_array_equal(separation(instance), [[4, 3, 3, 3, 3]])


def test_ids_below_one_are_no_objects() -> None:
    instance = np.array([[1, 0, -7, 0, 2]], np.int32)
    expected = separation(np.maximum(instance, 0))
    np.testing.assert_array_equal(separation(instance), expected)
    np.testing.assert_array_equal(separation_on_device(jnp.asarray(instance)[None])[0], expected)


def test_regions_of_the_background_that_is_named_are_no_objects() -> None:
    label = np.array([[1, 1, 0, 2, 0]], np.uint8)
    assert components(label, background=1).tolist() == [[0, 0, 1, 3, 2]]
    assert components(label, background=None).max() == 4
    assert components(label).dtype == np.int32


@pytest.mark.parametrize("instance", [np.zeros((4, 4, 1), int), np.zeros(4, int)])
def test_ids_that_are_no_map_are_refused(instance: NDArray[np.int64]) -> None:
    with pytest.raises(UserError, match=r"it must be \(H, W\) whole numbers"):
        border_weight_map(instance)


def test_distances_are_of_the_objects_of_a_scene_or_else_of_its_regions() -> None:
    instance = random_objects(3, 20, background=True)
    label = np.where(instance % 2, 1, 2 * (instance > 0))
    sample: Sample = {"label": label, "instance": instance.astype(np.uint16)}
    np.testing.assert_array_equal(Separation(12.5)(sample), separation(instance, 12.5))
    regions = components(label)
    assert len(np.unique(regions)) != len(np.unique(instance))
    np.testing.assert_array_equal(Separation(12.5)({"label": label}), separation(regions, 12.5))
    with pytest.raises(UserError, match="Object id -3 is negative"):
        Separation()(sample | {"instance": np.full((4, 4), -3)})


def test_objects_count_as_far_outside_of_a_window_as_distances_reach() -> None:
    assert Separation(12.5).margin == 13
    assert Separation(12.0).margin == 12
    assert Separation(12.5).at_zoom(0.5) == Separation(25)
    assert Separation(12.5).at_zoom(2.0) == Separation(7)
    assert Separation.fill == np.inf  # beyond a scene there is no object


def test_of_all_losses_the_one_that_looks_farthest_says_how_far() -> None:
    near, middle, far = (EdgeWeightedCrossEntropy(sigma=sigma) for sigma in (3.0, 5.0, 8.0))
    assert middle.needs == (Separation(reach(10, 5)),)
    for losses in ((near, CrossEntropy(), far, middle), (far, near), (middle, far)):
        assert needs_of(losses) == (Separation(float(np.ceil(reach(10, 8)))),)
    assert needs_of((near,), zoom=0.5) == (Separation(float(np.ceil(2 * reach(10, 3)))),)
    assert needs_of((CrossEntropy(),)) == ()
