"""UNet 3+ answers as its authors' code does and has the layers of the paper."""

import math
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import drawn, shapes

from jaxseg.models.unet3plus import UNet3Plus
from jaxseg.weights import pretrained


@pytest.mark.parametrize("deep_supervision", [False, True])
def test_imported_weights_give_the_references_logits(
    golden: Callable[[str], Any], deep_supervision: bool
) -> None:
    reference = golden("unet3plus_3to2_deepsup")
    model = UNet3Plus(2, deep_supervision=deep_supervision)
    variables = pretrained.load(model, reference.state)
    logits, sown = jax.jit(lambda v, x: model.apply(v, x, train=False, mutable=["aux_logits"]))(
        variables, reference.image
    )
    actual = {"d1": logits} | {name: kept for name, (kept,) in sown.get("aux_logits", {}).items()}
    assert set(actual) == ({"d1", "d2", "d3", "d4", "d5"} if deep_supervision else {"d1"})
    for name, value in actual.items():
        expected = reference.outputs[name]
        assert np.abs(value - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


def test_it_has_the_papers_millions_of_parameters() -> None:
    params = shapes(UNet3Plus(1), bands=3)["params"]
    assert round(sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) / 1e6, 2) == 26.97


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_a_decoder_stage_takes_64_channels_from_each_of_five_scales(stage: int) -> None:
    kernels = {
        name: layer["kernel"].shape
        for name, layer in shapes(UNet3Plus(1), bands=3)["params"][f"decoder{stage}"].items()
        if "kernel" in layer
    }
    encoder = [64, 128, 256, 512, 1024]
    expected = {f"pooled{i}": (3, 3, encoder[i - 1], 64) for i in range(1, stage)}
    expected |= {"same": (3, 3, encoder[stage - 1], 64)}
    expected |= {f"up{i}": (3, 3, 320 if i < 5 else 1024, 64) for i in range(stage + 1, 6)}
    expected |= {"fuse": (3, 3, 320, 320)}
    assert kernels == expected


SMALL = UNet3Plus(2, features=4, deep_supervision=True)


@pytest.fixture(scope="module")
def variables() -> Any:
    return drawn(shapes(SMALL, bands=3))


@pytest.fixture(scope="module")
def answers() -> Callable[[Any, jax.Array], dict[str, jax.Array]]:
    """(variables, image) -> logits and auxiliary logits by name."""

    @jax.jit
    def answers(variables: Any, image: jax.Array) -> dict[str, jax.Array]:
        logits, sown = SMALL.apply(variables, image, train=False, mutable=["aux_logits"])
        return {"d1": logits} | {name: kept for name, (kept,) in sown["aux_logits"].items()}

    return answers


def test_an_image_of_any_size_is_padded_by_its_edge_and_cropped_again(
    variables: Any, answers: Callable[[Any, jax.Array], dict[str, jax.Array]]
) -> None:
    image = jax.random.normal(jax.random.key(1), (2, 37, 50, 3))
    padded = jnp.pad(image, ((0, 0), (0, 11), (0, 14), (0, 0)), mode="edge")
    expected = {name: kept[:, :37, :50] for name, kept in answers(variables, padded).items()}
    chex.assert_trees_all_close(answers(variables, image), expected, rtol=1e-4, atol=1e-4)


def test_a_file_without_deep_supervision_does_not_make_its_heads(
    golden: Callable[[str], Any],
) -> None:
    state = {
        name: value
        for name, value in golden("unet3plus_3to2_deepsup").state.items()
        if not name.startswith(("outconv2", "outconv3", "outconv4", "outconv5"))
    }
    model = UNet3Plus(2)
    chex.assert_trees_all_equal(pretrained.exported(model, pretrained.load(model, state)), state)
    with pytest.raises(ValueError, match=r"outconv2\.weight"):
        pretrained.load(UNet3Plus(2, deep_supervision=True), state)


def test_recomputing_blocks_leaves_all_names_as_they_are() -> None:
    assert shapes(SMALL.clone(remat=True), bands=3) == shapes(SMALL, bands=3)
