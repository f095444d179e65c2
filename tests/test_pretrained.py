"""No tensor of a state dict is lost, invented or put where it does not belong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg import pretrained
from jaxseg.errors import UserError
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.resnet import ResNet
from jaxseg.models.unet import UNet
from jaxseg.pretrained import Pretrained


@pytest.fixture
def state(golden: Callable[[str], Any]) -> dict[str, np.ndarray]:
    return dict(golden("unet_lecture_4to5_f16").state)


def fresh(model: Any, bands: int) -> Any:
    """Variables nobody trained, made without compiling `init`."""
    image = jax.ShapeDtypeStruct((1, 32, 32, bands), jnp.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.123), shapes)


def test_counters_of_batches_and_the_data_parallel_prefix_do_not_matter(
    state: dict[str, np.ndarray],
) -> None:
    wrapped = {f"module.{name}": value for name, value in state.items()}
    wrapped["module.encoder1.enc1norm1.num_batches_tracked"] = np.array(7)
    plain, same = (pretrained.load(UNet(5, features=16), s) for s in (state, wrapped))
    jax.tree.map(np.testing.assert_array_equal, plain, same)


def test_an_error_names_every_missing_unexpected_and_misshapen_tensor(
    state: dict[str, np.ndarray],
) -> None:
    del state["upconv3.bias"], state["bottleneck.bottlenecknorm2.running_var"]
    state["decoder9.dec9conv1.weight"] = np.zeros((1, 1, 3, 3), np.float32)
    state["decoder1.dec2conv1.weight"] = np.zeros((1, 1, 3, 3), np.float32)
    state["conv.weight"] = np.zeros((7, 16, 1, 1), np.float32)
    state["conv.bias"] = np.zeros(7, np.float32)
    with pytest.raises(UserError) as error:
        pretrained.load(UNet(5, features=16), state)
    for name in (
        "upconv3.bias",
        "bottleneck.bottlenecknorm2.running_var",
        "decoder9.dec9conv1.weight",
        "decoder1.dec2conv1.weight",
        "conv.weight",
        "conv.bias",
    ):
        assert name in str(error.value)


def test_an_encoder_loads_under_a_head_with_other_classes_and_other_bands(
    state: dict[str, np.ndarray], tmp_path: Path
) -> None:
    safetensors.numpy.save_file(state, tmp_path / "unet.safetensors")
    model = UNet(3, features=16)
    before = fresh(model, bands=6)
    after = Pretrained(str(tmp_path / "unet.safetensors"), part="encoder").into(model, before)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    for name, params in after["params"].items():
        same = jax.tree.map(lambda a, b: bool((a == b).all()), params, before["params"][name])
        is_encoder = name.startswith(("encoder", "bottleneck"))
        assert all(jax.tree.leaves(same)) != is_encoder
    # A grey image gives the features that it gave before.
    kernel = np.asarray(after["params"]["encoder1"]["conv1"]["kernel"])
    expected = state["encoder1.enc1conv1.weight"].sum(1).transpose(1, 2, 0)
    np.testing.assert_allclose(kernel.sum(2), expected, atol=1e-5)


def test_a_classification_resnet_becomes_deeplabs_encoder(golden: Callable[[str], Any]) -> None:
    reference = golden("deeplabv3_tv_r50_21_aux").state
    prefix = "backbone."
    resnet = {k.removeprefix(prefix): v for k, v in reference.items() if k.startswith(prefix)}
    resnet |= {"fc.weight": np.zeros((1000, 2048), "f"), "fc.bias": np.zeros(1000, "f")}
    alone = pretrained.load(ResNet("resnet50"), resnet)
    model = DeepLabV3(4)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    from_resnet = pretrained.merge(model, shapes, resnet, part="encoder")
    from_deeplab = pretrained.merge(model, shapes, reference, part="encoder")
    for kind in ("params", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, alone[kind], from_resnet[kind]["backbone"])
        jax.tree.map(np.testing.assert_array_equal, alone[kind], from_deeplab[kind]["backbone"])
    assert isinstance(from_deeplab["params"]["head"]["kernel"], jax.ShapeDtypeStruct)
    with pytest.raises(UserError, match="holds an encoder only"):
        pretrained.load(model, resnet)


def test_an_auxiliary_head_that_the_network_lacks_is_left_out(
    golden: Callable[[str], Any],
) -> None:
    variables = pretrained.load(DeepLabV3(21), golden("deeplabv3_tv_r50_21_aux").state)
    assert "aux_head" not in variables["params"]


def test_loaded_tensors_lie_where_the_variables_lay(
    state: dict[str, np.ndarray], mesh: jax.sharding.Mesh, tmp_path: Path
) -> None:
    np.savez(tmp_path / "unet.npz", **state)
    model = UNet(5, features=16)
    place = NamedSharding(mesh, P())
    variables = jax.device_put(fresh(model, bands=4), place)
    loaded = Pretrained(str(tmp_path / "unet.npz")).into(model, variables)
    assert {leaf.sharding for leaf in jax.tree.leaves(loaded)} == {place}


def test_bands_are_spread_without_changing_the_answer_to_grey() -> None:
    kernel = np.random.default_rng(0).standard_normal((3, 3, 3, 8)).astype(np.float32)
    assert pretrained.spread_bands(kernel, 3) is kernel
    for bands in (1, 2, 13, 200):
        spread = pretrained.spread_bands(kernel, bands)
        assert spread.shape == (3, 3, bands, 8)
        np.testing.assert_allclose(spread.sum(2), kernel.sum(2), atol=1e-4)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No file"):
        pretrained.read_state_dict(tmp_path / "absent.npz")
    (tmp_path / "weights.h5").write_bytes(b"")
    with pytest.raises(UserError, match=r"\.safetensors, \.npz"):
        pretrained.read_state_dict(tmp_path / "weights.h5")


def test_a_pytorch_file_needs_pytorch_or_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    try:
        import torch
    except ImportError:
        path.write_bytes(b"")
        with pytest.raises(UserError, match="PyTorch is not installed"):
            pretrained.read_state_dict(path)
    else:
        torch.save({"state_dict": {"a.weight": torch.arange(3)}}, path)
        tensor = pretrained.read_state_dict(path)["a.weight"]
        np.testing.assert_array_equal(tensor, np.arange(3, dtype=np.float32))


def test_a_network_without_a_table_is_refused() -> None:
    import flax.linen as nn

    with pytest.raises(UserError, match="No table of weights for Dense"):
        pretrained.load(nn.Dense(3), {})
