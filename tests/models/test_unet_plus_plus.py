"""UNet++ answers as its reference does, and each of its nodes sees what the paper says."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import drawn, shapes

from jaxseg.models.parts.resnet import ResNet
from jaxseg.models.unet_plus_plus import UNetPlusPlus
from jaxseg.weights import pretrained


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("smp_unetplusplus_r18_1", UNetPlusPlus(1, "resnet18")),
        pytest.param(
            "smp_unetplusplus_r50_scse_4",
            UNetPlusPlus(4, "resnet50", attention="scse"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_imported_weights_give_the_references_logits(
    golden: Callable[[str], Any], name: str, model: UNetPlusPlus
) -> None:
    reference = golden(name)
    variables = pretrained.load(model, reference.state)
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, reference.image)
    expected = reference.outputs["out"]
    assert np.abs(logits - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


def test_exported_weights_are_the_references(golden: Callable[[str], Any]) -> None:
    reference = golden("smp_unetplusplus_r18_1")
    model = UNetPlusPlus(1, "resnet18")
    state = pretrained.exported(model, pretrained.load(model, reference.state))
    chex.assert_trees_all_equal(state, reference.state)


DEEP = UNetPlusPlus(2, "resnet18", (8, 8, 8, 8, 8), deep_supervision=True)


@pytest.fixture(scope="module")
def variables() -> Any:
    return drawn(shapes(DEEP, bands=3))


@pytest.fixture(scope="module")
def answers() -> Callable[[Any, jax.Array], dict[str, jax.Array]]:
    """(variables, image) -> logits and auxiliary logits by name."""

    @jax.jit
    def answers(variables: Any, image: jax.Array) -> dict[str, jax.Array]:
        logits, sown = DEEP.apply(variables, image, train=False, mutable=["aux_logits"])
        return {"logits": logits} | {name: kept for name, (kept,) in sown["aux_logits"].items()}

    return answers


@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_deeply_supervised_node_needs_only_the_smaller_unet_that_ends_in_it(
    variables: Any, answers: Callable[[Any, jax.Array], dict[str, jax.Array]], last: int
) -> None:
    def cut(path: Any, leaf: jax.Array) -> jax.Array:
        name = path[1].key
        beyond = name[0] == "x" and int(name[1]) + int(name[2]) > last
        return jnp.full_like(leaf, jnp.nan) if beyond else leaf

    image = jax.random.normal(jax.random.key(0), (1, 40, 70, 3))
    whole, pruned = (
        answers(given, image)
        for given in (variables, jax.tree_util.tree_map_with_path(cut, variables))
    )
    assert set(whole) == {"logits", "x01_logits", "x02_logits", "x03_logits"}
    for node in range(1, 4):
        name = f"x0{node}_logits"
        chex.assert_shape(whole[name], (1, 40, 70, 2))
        if node <= last:
            chex.assert_trees_all_equal(pruned[name], whole[name])
        else:
            assert np.isnan(pruned[name]).all()
    assert np.isnan(pruned["logits"]).all()


def test_an_image_of_any_size_is_padded_by_its_edge_and_cropped_again(
    variables: Any, answers: Callable[[Any, jax.Array], dict[str, jax.Array]]
) -> None:
    image = jax.random.normal(jax.random.key(1), (1, 40, 70, 3))
    padded = jnp.pad(image, ((0, 0), (0, 24), (0, 26), (0, 0)), mode="edge")
    expected = {name: kept[:, :40, :70] for name, kept in answers(variables, padded).items()}
    chex.assert_trees_all_close(answers(variables, image), expected, rtol=1e-4, atol=1e-4)


def test_deep_supervision_changes_no_logit_and_starts_without_any(
    variables: Any, answers: Callable[[Any, jax.Array], dict[str, jax.Array]]
) -> None:
    plain = DEEP.clone(deep_supervision=False)
    params = {k: v for k, v in variables["params"].items() if k not in ("head1", "head2", "head3")}
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(
        jnp.shape, shapes(plain, bands=3)["params"]
    )
    assert set(shapes(DEEP, bands=3)) == {"params", "batch_stats"}
    image = jax.random.normal(jax.random.key(2), (1, 64, 32, 3))
    logits = jax.jit(lambda v, x: plain.apply(v, x, train=False))(
        variables | {"params": params}, image
    )
    chex.assert_trees_all_close(logits, answers(variables, image)["logits"], rtol=1e-4, atol=1e-4)


def test_a_resnet_trained_on_whole_images_becomes_the_encoder() -> None:
    classifier = ResNet("resnet18")
    theirs, ours = drawn(shapes(classifier, bands=3)), shapes(DEEP, bands=3)
    merged = pretrained.merge(DEEP, ours, pretrained.exported(classifier, theirs), part="encoder")
    for collection in ("params", "batch_stats"):
        chex.assert_trees_all_equal(merged[collection]["backbone"], theirs[collection])


def test_recomputing_blocks_leaves_all_names_as_they_are() -> None:
    assert shapes(DEEP.clone(remat=True), bands=3) == shapes(DEEP, bands=3)
