"""What differs in training is as documented: statistics, dropout, what is recomputed or sown."""

from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from fixtures.every_network import every_network, small
from fixtures.networks import shapes

from jaxseg.models.parts.complex_layers import ComplexBatchNorm
from jaxseg.models.parts.layers import BatchNorm
from jaxseg.models.parts.normalisation import Normalisation, normalised_by

DROPOUT: dict[str, list[tuple[float, tuple[int, ...]]]] = {
    # Rate, and the axes along which a dropped value is dropped everywhere, in the order of work.
    "OriginalUNet": [(0.5, ()), (0.5, ())],
    "DeepLabV3": [(0.5, ()), (0.1, ())],  # the second in the auxiliary head
    "DeepLabV3Plus": [(0.1, ())],
    "PSPNet": [(0.1, (1, 2)), (0.1, (1, 2))],
    "LecturePSPNet": [(0.3, (1, 2)), (0.15, (1, 2)), (0.15, (1, 2)), (0.15, (1, 2))],
    "ReSCNet": [(0.5, ())],
    "RefinedPSPNet": [(0.1, ()), (0.1, ())],
}

SOWN: dict[str, dict[str, int]] = {
    # What leaves beside the logits, and how many arrays of it.
    "TwoNetworks": {"aux_logits": 2},
    "UNetPlusPlus": {"aux_logits": 3},
    "UNet3Plus": {"aux_logits": 4},
    "DeepLabV3": {"aux_logits": 1},
    "PSPNet": {"aux_logits": 1},
    "LecturePSPNet": {"class_logits": 1},
    "MultiscaleSAR": {"regularizers": 1},
    "RefinedPSPNet": {"aux_logits": 1},
}


RECOMPUTED = {"checkpoint", "remat", "remat2"}


def watched(
    model: nn.Module, variables: Any, *, train: bool
) -> tuple[list[bool], list[Any], Any, Any]:
    """What normalisations use, the dropouts, the program, and what is sown; nothing is run."""
    norms: list[bool] = []
    drops: list[Any] = []

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if isinstance(module, BatchNorm | ComplexBatchNorm):
            norms.append(bool(module.use_running_average))
        if isinstance(module, nn.Dropout):
            drops.append(module)
        return call(*args, **kwargs)

    image = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)

    def apply(variables: Any, image: Any) -> Any:
        kinds = ["batch_stats", "aux_logits", "class_logits", "regularizers"]
        rngs = {"dropout": jax.random.key(0)}
        return model.apply(variables, image, train=train, mutable=kinds, rngs=rngs)[1]

    with nn.intercept_methods(note):
        program, sown = jax.make_jaxpr(apply, return_shape=True)(variables, image)
    return norms, drops, program, sown


@every_network
def test_what_differs_in_training_is_as_documented(name: str) -> None:
    """Statistics of the batch, dropout, recomputed blocks; what is sown is sown always.

    The statistics are those of groups of windows, which need the batch to be the first axis.
    """
    variables = shapes(small(name), bands=3)
    with normalised_by(Normalisation("ghost", size=1), jnp.ones(2, bool)):
        norms, drops, program, sown = watched(small(name, remat=True), variables, train=True)
    assert not any(norms)
    statistics = variables.get("batch_stats", {})
    chex.assert_trees_all_equal_shapes_and_dtypes(sown.get("batch_stats", {}), statistics)
    assert [(drop.rate, tuple(drop.broadcast_dims)) for drop in drops] == DROPOUT.get(name, [])
    assert not any(drop.deterministic for drop in drops)
    kinds = {kind: len(jax.tree.leaves(kept)) for kind, kept in sown.items()}
    kinds.pop("batch_stats", None)
    assert kinds == SOWN.get(name, {})
    assert RECOMPUTED & {str(equation.primitive) for equation in program.eqns}

    norms, drops, program, sown = watched(small(name), variables, train=False)
    assert all(norms)
    assert all(drop.deterministic for drop in drops)
    kinds = {kind: len(jax.tree.leaves(kept)) for kind, kept in sown.items()}
    kinds.pop("batch_stats", None)
    assert kinds == SOWN.get(name, {})
    assert not RECOMPUTED & {str(equation.primitive) for equation in program.eqns}


@pytest.mark.parametrize("name", ["DeepLabV3", "DeepLabV3Plus"])
def test_frozen_statistics_stay_in_training_while_dropout_drops(name: str) -> None:
    model = small(name, freeze_batch_norm=True)
    norms, drops, _, _ = watched(model, shapes(model, bands=3), train=True)
    assert all(norms)
    assert not any(drop.deterministic for drop in drops)
