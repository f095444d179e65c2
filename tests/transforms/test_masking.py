"""Hidden patches: how many, where, and that nothing of them is seen."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.small_network import Small
from scipy import stats

from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE, Batch
from jaxseg.transforms.masking import HidePatches, OfClasses, OfGradients

KEY = jax.random.key(3)


def batch_of(size: int = 3, side: int = 32, bands: int = 2) -> Batch:
    random = np.random.default_rng(0)
    return {
        "image": jnp.asarray(random.standard_normal((size, side, side, bands)), jnp.float32),
        "label": jnp.zeros((size, side, side), jnp.int32).at[:, :, side // 2 :].set(1),
        "valid": jnp.ones((size, side, side), bool),
    }


@pytest.mark.parametrize("proposals", [None, OfClasses(), OfGradients()])
@pytest.mark.parametrize(("share", "number"), [(0.6, 38), (0.25, 16), (0.99, 63)])
def test_every_image_has_exactly_the_stated_share_of_hidden_patches(
    proposals: OfClasses | OfGradients | None, share: float, number: int
) -> None:
    out = HidePatches(patch=4, share=share, proposals=proposals)(KEY, batch_of())
    cells = np.asarray(out["hidden"]).reshape(3, 8, 4, 8, 4)
    assert (cells.all((2, 4)) == cells.any((2, 4))).all()  # whole patches
    np.testing.assert_array_equal(cells.any((2, 4)).sum((1, 2)), number)
    assert not (out["hidden"][0] == out["hidden"][1]).all()


@pytest.mark.parametrize("odds", [math.e**2, 3.0, 1.0, 0.2])
def test_patches_of_objects_are_hidden_as_often_as_their_odds_say(odds: float) -> None:
    batch = batch_of(size=4000, side=8, bands=1)
    hiding = HidePatches(patch=2, share=0.5, proposals=OfClasses((1,)), odds=odds)
    hidden = np.asarray(hiding(KEY, batch)["hidden"])[:, ::2, ::2]  # (B, 4, 4)
    objects = hidden[:, :, 2:].sum((1, 2))
    # Wallenius' distribution is that of draws one after the other in proportion to weights.
    expected = stats.nchypergeom_wallenius(16, 8, 8, odds)
    assert abs(objects.mean() - expected.mean()) < 4 * expected.std() / math.sqrt(len(objects))


def test_a_patch_counts_as_much_as_it_is_full_of_objects() -> None:
    batch = batch_of(size=4000, side=4, bands=1)
    batch["label"] = jnp.zeros((4000, 4, 4), jnp.int32).at[:, :2, 0].set(1)  # half of one patch
    hidden = HidePatches(patch=2, share=0.25, proposals=OfClasses((1,)), odds=7.0)(KEY, batch)
    chance = 4 / (4 + 1 + 1 + 1)
    assert abs(float(hidden["hidden"][:, 0, 0].mean()) - chance) < 4 * math.sqrt(0.25 / 4000)


@pytest.mark.parametrize("proposals", [None, OfGradients()])
def test_nothing_of_a_hidden_patch_reaches_the_network(proposals: OfGradients | None) -> None:
    batch, network = batch_of(), Small(2, features=4)
    hiding = HidePatches(patch=8, share=0.5, proposals=proposals)
    variables = network.init(KEY, batch["image"], train=False)
    hidden = hiding(KEY, batch)["hidden"]

    def answer(image: jax.Array) -> jax.Array:
        seen = hiding._hiding(batch | {"image": image}, hidden[:, ::8, ::8].reshape(3, -1), (4, 4))
        return network.apply(variables, seen["image"], train=False)

    other = jnp.where(hidden[..., None], 1e6, batch["image"])
    np.testing.assert_array_equal(answer(other), answer(batch["image"]))
    gradient = jax.grad(lambda image: (answer(image) ** 2).sum())(batch["image"])
    assert (jnp.abs(gradient).max(-1) > 0)[~hidden].mean() > 0.9
    assert not gradient[hidden].any()


def test_the_target_is_the_image_before_and_visible_pixels_stay() -> None:
    batch = batch_of()
    out = HidePatches(patch=8)(KEY, batch)
    np.testing.assert_array_equal(out["target"], batch["image"])
    kept = ~out["hidden"]
    np.testing.assert_array_equal(out["image"][kept], batch["image"][kept])
    assert not out["image"][out["hidden"]].any()


def test_validation_hides_the_same_patches_of_every_image_whatever_the_batch() -> None:
    hiding = HidePatches(patch=8, proposals=OfClasses((1,)), odds=100.0)
    few, many = (hiding.alike(KEY, batch_of(size))["hidden"] for size in (1, 5))
    assert (few == many).all()


def test_objects_by_gradients_are_the_share_with_the_largest_and_no_border_of_data() -> None:
    batch = batch_of(size=1)
    found = OfGradients(share=0.25)(batch)
    assert float(found.mean()) == pytest.approx(0.25, abs=0.01)
    step = jnp.ones((1, 32, 32, 1)).at[:, :, 16:].set(5.0)
    valid = jnp.ones((1, 32, 32), bool).at[:, 20:].set(False)
    edge = {"image": jnp.where(valid[..., None], step, 0.0), "valid": valid}
    rows, columns = np.nonzero(np.asarray(OfGradients()(batch | edge)[0]))
    assert set(columns) == {15, 16}
    assert rows.max() == 18  # the row beside pixels without data is left out


def test_a_pixel_without_a_label_is_no_object() -> None:
    batch = batch_of(size=1)
    batch["label"] = jnp.full((1, 32, 32), IGNORE)
    assert not OfClasses((0, 1))(batch).any()


@pytest.mark.parametrize(
    ("hiding", "message"),
    [
        (HidePatches(patch=12), "patches of 12 pixels for images of 32 x 32"),
        (HidePatches(patch=16, share=0.05), "hides 0 of 4 patches"),
        (HidePatches(patch=16, share=1.0), "hides 4 of 4 patches"),
    ],
)
def test_patches_that_do_not_fit_are_refused(hiding: HidePatches, message: str) -> None:
    with pytest.raises(UserError, match=message):
        hiding(KEY, batch_of())


def test_a_share_or_odds_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match="share"):
        HidePatches(share=1.5)
    with pytest.raises(UserError, match="odds"):
        HidePatches(odds=0.0)
    with pytest.raises(UserError, match="share"):
        OfGradients(share=-0.1)
