"""Two networks in one: who answers, and what is left where only one is needed."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import applied, drawn, initialised, shapes
from fixtures.small_network import Small

from jaxseg.errors import UserError
from jaxseg.models.two_networks import TwoNetworks

SMALL = Small(num_classes=0)


def image(bands: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).standard_normal((2, 32, 16, bands)), jnp.float32)


def test_the_mean_is_the_answer_and_both_learn() -> None:
    model = TwoNetworks(3, network=SMALL)
    variables = drawn(shapes(model, bands=2))
    assert variables.keys() == {"params", "batch_stats"}
    logits, sown = applied(model, variables, image(2), train=False, mutable=["aux_logits"])
    parts = [
        applied(
            SMALL.clone(num_classes=3),
            {kind: tree[name] for kind, tree in variables.items()},
            image(2),
            train=False,
        )
        for name in ("first", "second")
    ]
    np.testing.assert_allclose(logits, (parts[0] + parts[1]) / 2, atol=1e-6)
    chex.assert_trees_all_close(
        sown["aux_logits"],
        {"first_logits": (parts[0],), "second_logits": (parts[1],)},
        rtol=1e-5,
        atol=1e-5,
    )


def test_the_second_is_sown_in_training_and_not_computed_in_evaluation() -> None:
    model = TwoNetworks(3, network=SMALL, answer="first")
    variables = drawn(shapes(model, bands=2))
    _, sown = applied(
        model, variables, image(2), train=True, mutable=["second_logits", "batch_stats"]
    )
    chex.assert_shape(jax.tree.leaves(sown["second_logits"]), (2, 32, 16, 3))
    without = {kind: {"first": tree["first"]} for kind, tree in variables.items()}
    chex.assert_trees_all_equal(
        applied(model, without, image(2), train=False),
        applied(model, variables, image(2), train=False),
    )


@pytest.mark.parametrize("answer", ["first", "mean"])
def test_each_sees_its_bands_and_the_first_can_do_without_the_others(answer: str) -> None:
    model = TwoNetworks(3, network=SMALL, answer=answer, split=2)  # type: ignore[arg-type]
    variables = drawn(shapes(model, bands=5))
    first = variables["params"]["first"]["conv1"]["kernel"]
    second = variables["params"]["second"]["conv1"]["kernel"]
    assert (first.shape[2], second.shape[2]) == (2, 3)
    alone = applied(model, variables, image(5)[..., :2], train=False)
    part = {kind: tree["first"] for kind, tree in variables.items()}
    expected = applied(SMALL.clone(num_classes=3), part, image(5)[..., :2], train=False)
    np.testing.assert_array_equal(alone, expected)


@pytest.mark.parametrize("split", [-1, 3, 4])
def test_a_split_that_leaves_a_network_without_bands_is_refused(split: int) -> None:
    network = TwoNetworks(2, network=SMALL, split=split)
    with pytest.raises(UserError, match=f"splits 3 band.* after the first {split}"):
        initialised(network, image(3), train=False)
