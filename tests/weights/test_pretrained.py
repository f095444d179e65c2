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

from jaxseg.errors import UserError
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.parts.resnet import ResNet
from jaxseg.models.unet import UNet
from jaxseg.weights import pretrained
from jaxseg.weights.pretrained import Pretrained
from jaxseg.weights.state_dict import read_state_dict, write_state_dict


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


@pytest.mark.parametrize(
    ("case", "model"),
    [
        ("unet_lecture_4to5_f16", UNet(5, features=16)),
        ("deeplabv3_tv_r50_21_aux", DeepLabV3(21, aux_head=True)),
    ],
)
def test_export_gives_the_state_dict_back_bit_by_bit(
    golden: Callable[[str], Any], case: str, model: Any, tmp_path: Path
) -> None:
    reference = golden(case).state
    state = pretrained.exported(model, pretrained.load(model, reference))
    counters = {name for name in reference if name.endswith("num_batches_tracked")}
    assert state.keys() == reference.keys() - counters
    path = tmp_path / "network.safetensors"
    write_state_dict(state, path)
    for name, tensor in read_state_dict(path).items():
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, reference[name])


def test_what_the_reference_has_no_place_for_is_not_exported_silently() -> None:
    model = UNet(2, features=4)
    variables = fresh(model, bands=3)
    variables["params"]["hat"] = {"kernel": np.zeros((1, 1, 4, 2), np.float32)}
    with pytest.raises(UserError, match=r"no place for.*\n.*params/hat/kernel"):
        pretrained.exported(model, variables)


def test_the_first_kernel_follows_the_names_and_the_wavelengths_of_bands(
    state: dict[str, np.ndarray], tmp_path: Path
) -> None:
    write_state_dict(state, tmp_path / "unet.safetensors")
    model, path = UNet(5, features=16), str(tmp_path / "unet.safetensors")
    trained = state["encoder1.enc1conv1.weight"].transpose(2, 3, 1, 0)  # 4 bands

    def kernel(weights: Pretrained) -> np.ndarray:
        loaded = weights.into(model, fresh(model, bands=3), bands=("R", "G", "B"))
        return np.asarray(loaded["params"]["encoder1"]["conv1"]["kernel"])

    named = kernel(Pretrained(path, trained_bands=("B", "g", "R", "NIR")))
    everything = trained[:, :, 3] / 3  # of the infrared, which the data lack
    for ours, theirs in enumerate((2, 1, 0)):
        expected = trained[:, :, theirs] + everything
        np.testing.assert_allclose(named[:, :, ours], expected, atol=1e-6)

    near = Pretrained(path, wavelengths=(665, 560, 490), trained_wavelengths=(490, 560, 665, 842))
    np.testing.assert_allclose(kernel(near).sum(2), trained.sum(2), atol=1e-5)
    with pytest.raises(UserError, match="trained on 4; given were 3 and 2"):
        kernel(Pretrained(path, wavelengths=(1, 2, 3), trained_wavelengths=(1, 2)))
    with pytest.raises(UserError, match="both"):
        kernel(Pretrained(path, wavelengths=(1, 2, 3)))


def test_a_prefix_of_lightning_does_not_matter(state: dict[str, np.ndarray]) -> None:
    wrapped = {f"model.{name}": value for name, value in state.items()}
    plain, same = (pretrained.load(UNet(5, features=16), s) for s in (state, wrapped))
    jax.tree.map(np.testing.assert_array_equal, plain, same)


def test_a_network_without_a_table_is_refused() -> None:
    import flax.linen as nn

    with pytest.raises(UserError, match="No table of weights for Dense"):
        pretrained.load(nn.Dense(3), {})
