"""Frozen batch normalisation in every network: nothing is measured, and what is stored stays."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from fixtures.networks import shapes
from flax.traverse_util import flatten_dict

from jaxseg.cli import catalogue
from jaxseg.models import UNet
from jaxseg.models.parts import complex_layers, layers
from jaxseg.models.parts.normalisation import Normalisation, Windows, normalised_by, uses_running
from jaxseg.optimizer import Optimizer, frozen_modules

NETWORKS = catalogue.networks()
WITHOUT = {"OriginalUNet", "PrithviLinear"}
"""Have no batch normalisation."""


def small(name: str, **arguments: Any) -> nn.Module:
    """The network, with the smallest encoder."""
    kind = NETWORKS[name]
    if hasattr(kind, "backbone"):
        arguments["backbone"] = "prithvi_eo_tiny" if name.startswith("Prithvi") else "resnet18"
    if name in ("DomainPrompted", "TwoNetworks"):
        arguments["network"] = UNet(num_classes=0, features=4)
    return kind(num_classes=3, **arguments)


def traced(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch, *how: Any
) -> tuple[int, set[tuple[str, ...]], set[tuple[str, ...]]]:
    """Number of running statistics that a training step returns as they were; what asks, measures.

    The second are the paths of all normalisations, the third of those that measure the batch.
    """
    variables = shapes(model, bands=3)
    asking, measuring = set(), set()

    class Noted(Windows):
        def __init__(self, x: jax.Array, path: tuple[str, ...], pixels: int = 1) -> None:
            measuring.add(path)
            super().__init__(x, path, pixels)

    def asked(path: tuple[str, ...]) -> bool:
        asking.add(path)
        return uses_running(path)

    for file in (layers, complex_layers):
        monkeypatch.setattr(file, "Windows", Noted)
        monkeypatch.setattr(file, "uses_running", asked)

    def statistics(stored: Any, params: Any, image: Any) -> Any:
        with normalised_by(*how):
            _, updates = model.apply(
                {"params": params, "batch_stats": stored},
                image,
                train=True,
                mutable=["batch_stats", "aux_logits", "class_logits", "regularizers"],
                rngs={"dropout": jax.random.key(0)},
            )
        return updates["batch_stats"]

    image = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    program = jax.make_jaxpr(statistics)(variables["batch_stats"], variables["params"], image).jaxpr
    pairs = zip(program.invars, program.outvars, strict=False)  # statistics are the first inputs
    return sum(one is other for one, other in pairs), asking, measuring


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - WITHOUT))
def test_frozen_statistics_are_used_and_stay_in_every_network(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By kind; and by parts, since all normalisations ask by the path of their parameters."""
    model = small(name)
    variables = shapes(model, bands=3)
    kept, asking, measuring = traced(model, monkeypatch, Normalisation("frozen"))
    assert kept == len(jax.tree.leaves(variables["batch_stats"])) > 0
    assert measuring == set()
    own = {path[:-1] for path in flatten_dict(variables["batch_stats"])}
    assert asking == own
    assert own <= frozen_modules(Optimizer(frozen=("*",)), variables["params"])


@pytest.mark.parametrize("remat", [False, True])
def test_a_frozen_encoder_measures_nothing_and_the_decoder_all(
    monkeypatch: pytest.MonkeyPatch, remat: bool
) -> None:
    model = small("ResNetUNet", remat=remat)
    variables = shapes(model, bands=3)
    still = frozen_modules(Optimizer(frozen=("backbone/*",)), variables["params"])
    kept, asking, measuring = traced(model, monkeypatch, Normalisation(), None, still)
    assert asking - measuring == {path for path in asking if path[0] == "backbone"}
    assert len(measuring) == 10  # two in each of five blocks
    if not remat:  # where they are outputs of the recomputed function
        assert kept == len(jax.tree.leaves(variables["batch_stats"]["backbone"]))


def test_networks_without_batch_normalisation_are_known() -> None:
    for name in WITHOUT:
        assert "batch_stats" not in shapes(small(name), bands=3)
