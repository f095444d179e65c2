"""LinkNet answers as the PyTorch port does, and as its authors' first code where asked."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from fixtures.networks import applied, drawn, shapes

from jaxseg.models.linknet import LinkNet
from jaxseg.weights import pretrained


def test_imported_weights_give_the_ports_answer(golden: Callable[[str], Any]) -> None:
    reference = golden("linknet_11")
    model = LinkNet(11)
    variables = pretrained.load(model, reference.state)
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, reference.image)
    expected = reference.outputs["out"]
    actual = jax.nn.log_softmax(logits)
    assert np.abs(actual - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


def test_a_resnet_34_has_an_encoder_of_its_depth() -> None:
    params = shapes(LinkNet(2, backbone="resnet34"), bands=3)["params"]
    assert "layer3_5" in params["backbone"]


def test_the_first_code_has_biases_and_another_epsilon_in_its_decoders() -> None:
    model, port = LinkNet(2, form="torch7"), LinkNet(2)
    variables = drawn(shapes(model, bands=3))
    without = jax.tree_util.tree_map_with_path(
        lambda path, leaf: (
            0 * leaf
            if path[-1].key == "bias" and "decoder" in path[1].key and "norm" not in path[2].key
            else leaf
        ),
        variables,
    )
    image = np.random.default_rng(0).standard_normal((1, 64, 64, 3)).astype(np.float32)
    answer = jax.jit(lambda v: model.apply(v, image, train=False))
    assert np.abs(answer(variables) - answer(without)).max() > 0.01
    epsilon = jax.jit(lambda v: port.apply(v, image, train=False))(_bare(without))
    assert 0 < np.abs(epsilon - answer(without)).max() < 0.05 * np.abs(epsilon).max()


def _bare(variables: Any) -> Any:
    """Without the biases that only the first code has."""
    params = {
        layer: {
            part: {key: leaf for key, leaf in leaves.items() if key != "bias" or "norm" in part}
            for part, leaves in parts.items()
        }
        if layer.startswith("decoder")
        else parts
        for layer, parts in variables["params"].items()
    }
    return variables | {"params": params}


def test_the_sum_of_two_features_is_never_negative() -> None:
    model = LinkNet(2)
    variables = drawn(shapes(model, bands=3))
    image = np.random.default_rng(0).standard_normal((1, 64, 64, 3)).astype(np.float32)
    _, state = applied(
        model, variables, image, train=False, capture_intermediates=True, mutable=True
    )
    seen = state["intermediates"]
    features = [seen[f"decoder{i}"]["__call__"][0] for i in (1, 2, 3, 4)]
    features += list(seen["backbone"]["__call__"][0])
    assert min(float(leaf.min()) for leaf in features) >= 0
