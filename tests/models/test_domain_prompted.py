"""Prompts of domains: who is told which, who has to work it out, and that it reaches the logits."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import applied, drawn, initialised, shapes
from fixtures.small_network import Small
from flax import traverse_util

from jaxseg.errors import UserError
from jaxseg.export.folding import Folded
from jaxseg.models import DomainPrompted, OriginalUNet, PrithviLinear, PrithviUNet, UNet
from jaxseg.models.domain_prompted import SCALE, SHIFT, TOKENS
from jaxseg.models.parts.normalisation import Normalisation
from jaxseg.models.receptive_field import sight

MODEL = DomainPrompted(3, network=Small(num_classes=0), domains=3, prompt=4, masked=1.0)
IMAGE = jnp.asarray(np.random.default_rng(0).standard_normal((6, 20, 12, 2)), jnp.float32)


@pytest.fixture(scope="module")
def variables() -> Any:
    return drawn(shapes(MODEL, bands=2))


def of_domain(number: int) -> jax.Array:
    """The images with the number as a last band, 0 where there are no data."""
    band = jnp.full((*IMAGE.shape[:3], 1), float(number)).at[:, :3].set(0)
    return jnp.concatenate((IMAGE, band), axis=-1)


def trained(variables: Any, image: jax.Array, masked: float = 1.0) -> jax.Array:
    model = MODEL.clone(masked=masked)
    rngs = {"dropout": jax.random.key(1)}
    found: jax.Array = applied(
        model, variables, image, train=True, mutable=["batch_stats"], rngs=rngs
    )[0]
    return found


def gradient(variables: Any, image: jax.Array, masked: float) -> Any:
    def loss(params: Any) -> jax.Array:
        logits = trained(variables | {"params": params}, image, masked)
        return (logits * jnp.cos(jnp.arange(logits.size)).reshape(logits.shape)).sum()

    return jax.jit(jax.grad(loss))(variables["params"])


def test_what_is_hidden_cannot_matter_and_what_is_not_does(variables: Any) -> None:
    hidden = np.abs(gradient(variables, of_domain(2), masked=1.0)["prompts"]).sum(1)
    np.testing.assert_array_equal(hidden == 0, [False, True, False])
    shown = np.abs(gradient(variables, of_domain(2), masked=0.0)["prompts"]).sum(1)
    np.testing.assert_array_equal(shown == 0, [True, False, True])


def test_the_simulator_learns_from_windows_whose_domain_is_hidden(variables: Any) -> None:
    hidden = gradient(variables, of_domain(2), masked=1.0)["simulator"]
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(hidden))
    shown = gradient(variables, of_domain(2), masked=0.0)["simulator"]
    assert not any(np.abs(leaf).max() for leaf in jax.tree.leaves(shown))


def test_a_domain_that_is_not_known_is_simulated_from_all_prompts(variables: Any) -> None:
    np.testing.assert_array_equal(
        trained(variables, of_domain(0), 0.0), trained(variables, IMAGE, 0.0)
    )
    assert np.abs(trained(variables, IMAGE) - trained(variables, of_domain(1))).max() > 1e-3


def test_windows_of_one_batch_have_their_own_domains(variables: Any) -> None:
    """This network measures before a prompt changes anything, so statistics are the same."""
    numbers = jnp.asarray([1, 2, 3, 1, 2, 3.0])[:, None, None, None]
    mixed = jnp.concatenate((IMAGE, jnp.broadcast_to(numbers, (*IMAGE.shape[:3], 1))), axis=-1)
    found = trained(variables, mixed, 0.0)
    for number in (1, 2, 3):
        alone = trained(variables, of_domain(number), 0.0)
        own = slice(number - 1, None, 3)
        np.testing.assert_allclose(found[own], alone[own], rtol=1e-4, atol=1e-5)


def test_it_begins_as_the_network_without_prompts() -> None:
    found = initialised(MODEL, IMAGE, train=False)
    plain = {kind: tree["prompted"] for kind, tree in found.items() if "prompted" in tree}
    norm = dict(plain["params"]["norm1"])
    chex.assert_shape((norm.pop(SCALE), norm.pop(SHIFT)), (4, 2))
    plain["params"] = plain["params"] | {"norm1": norm}
    np.testing.assert_allclose(
        applied(MODEL, found, IMAGE, train=False),
        applied(Small(num_classes=3), plain, IMAGE, train=False),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_network_without_batch_normalisation_is_refused() -> None:
    model = DomainPrompted(3, network=OriginalUNet(num_classes=0, features=2))
    with pytest.raises(UserError, match="OriginalUNet has no batch normalisation"):
        shapes(model, bands=2)


PATCHES = jnp.asarray(np.random.default_rng(1).standard_normal((2, 32, 48, 2)), jnp.float32)
TRANSFORMER = DomainPrompted(
    3, PrithviLinear(0, "prithvi_eo_tiny"), domains=3, prompt=4, tokens=2, masked=1.0
)


@pytest.fixture(scope="module")
def of_tokens() -> Any:
    return drawn(shapes(TRANSFORMER, bands=2))


def without(tree: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """The variables without leaves of these names."""
    flat = traverse_util.flatten_dict(tree)
    kept = {path: leaf for path, leaf in flat.items() if path[-1] not in names}
    return dict(traverse_util.unflatten_dict(kept))


def test_a_transformer_attends_to_tokens_of_the_prompt(of_tokens: Any) -> None:
    backbone = of_tokens["params"]["prompted"]["backbone"]
    chex.assert_shape([backbone[f"block{number}"][TOKENS] for number in range(4)], (4, 2 * 256))
    found = applied(TRANSFORMER, of_tokens, PATCHES, train=False)
    chex.assert_shape(found, (2, 32, 48, 3))
    moved = of_tokens | {"params": of_tokens["params"] | {"prompts": jnp.ones((3, 4))}}
    assert np.abs(applied(TRANSFORMER, moved, PATCHES, train=False) - found).max() > 1e-3


def test_without_tokens_a_transformer_is_as_it_is_without_prompts() -> None:
    network = PrithviUNet(0, "prithvi_eo_tiny", features=(8, 8, 8, 8))
    model = DomainPrompted(3, network, domains=3, prompt=4, tokens=2)
    variables = drawn(shapes(model, bands=2))
    plain = {
        kind: without(variables[kind]["prompted"], {SCALE, SHIFT, TOKENS}) for kind in variables
    }
    fixed = without(variables, {TOKENS})
    fixed["params"] = jax.tree_util.tree_map_with_path(
        lambda path, leaf: 0 * leaf if path[-1].key in (SCALE, SHIFT) else leaf, fixed["params"]
    )
    expected = applied(network.clone(num_classes=3), plain, PATCHES, train=False)
    found = applied(model.clone(tokens=0), fixed, PATCHES, train=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    both = applied(model, variables, PATCHES, train=False)
    assert np.abs(both - expected).max() > 1e-3


def test_training_moves_the_prompts_the_simulator_and_the_tokens_of_a_transformer(
    of_tokens: Any,
) -> None:
    numbers = jnp.full((*PATCHES.shape[:3], 1), 2.0)
    image = jnp.concatenate((PATCHES, numbers), axis=-1)

    def loss(params: Any, model: DomainPrompted) -> jax.Array:
        rngs = {"dropout": jax.random.key(1)}
        logits: jax.Array = model.apply({"params": params}, image, train=True, rngs=rngs)
        return (logits * jnp.cos(jnp.arange(logits.size)).reshape(logits.shape)).sum()

    found, again = (
        jax.jit(jax.grad(functools.partial(loss, model=model)))(of_tokens["params"])
        for model in (TRANSFORMER, TRANSFORMER.clone(remat=True))
    )
    chex.assert_trees_all_close(again, found, rtol=1e-3, atol=1e-3)  # blocks computed again
    np.testing.assert_array_equal(np.abs(found["prompts"]).sum(1) == 0, [False, True, False])
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(found["simulator"]))
    for number in range(4):
        assert np.abs(found["prompted"]["backbone"][f"block{number}"][TOKENS]).max() > 0


def test_a_transformer_without_tokens_is_refused() -> None:
    with pytest.raises(UserError, match="PrithviLinear has no batch normalisation"):
        shapes(TRANSFORMER.clone(tokens=0), bands=2)


def test_folding_leaves_what_differs_from_image_to_image(variables: Any) -> None:
    folded = Folded(MODEL, variables, IMAGE, Normalisation())
    assert not folded.folded
    np.testing.assert_allclose(
        folded(IMAGE), applied(MODEL, variables, IMAGE, train=False), rtol=1e-4, atol=1e-5
    )


def test_the_simulator_sees_the_whole_image() -> None:
    assert sight(DomainPrompted(1, network=UNet(0, features=2)), stride=16) is None
