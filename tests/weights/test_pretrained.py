"""No tensor of a state dict is lost, invented or put where it does not belong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from fixtures.unet_weights import fresh, lists, refusal, state
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.errors import UserError
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.unet import UNet
from jaxseg.weights import pretrained
from jaxseg.weights.families import names_of
from jaxseg.weights.pretrained import Pretrained
from jaxseg.weights.state_dict import read_state_dict, write_state_dict

__all__ = ["lists", "state"]  # fixtures


def test_counters_of_batches_and_the_data_parallel_prefix_do_not_matter(
    state: dict[str, np.ndarray],
) -> None:
    wrapped = {f"module.{name}": value for name, value in state.items()}
    wrapped["module.encoder1.enc1norm1.num_batches_tracked"] = np.array(7)
    plain, same = (pretrained.load(UNet(5, features=16), s) for s in (state, wrapped))
    jax.tree.map(np.testing.assert_array_equal, plain, same)


def test_a_prefix_that_some_names_have_is_taken_off_if_it_is_that_of_a_wrapper(
    state: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = pretrained.load(UNet(5, features=16), state)
    compiled = {n.replace("encoder1.", "encoder1._orig_mod."): v for n, v in state.items()}
    mixed = {f"module.model.{n}" if "up" in n else n: v for n, v in compiled.items()}
    loaded = pretrained.load(UNet(5, features=16), mixed)
    jax.tree.map(np.testing.assert_array_equal, loaded, plain)
    other = {f"other.{name}" if "enc" in name else name: value for name, value in state.items()}
    said = refusal(other)
    assert "Unexpected" in said
    assert "other.encoder1" in said


def test_tensors_beside_the_network_are_named_and_not_used(
    state: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = pretrained.load(UNet(5, features=16), state)
    for prefix in ("model.", "other.network._orig_mod."):
        lightning = {f"{prefix}{name}": value for name, value in state.items()}
        beside = {"mean": np.zeros(3), "std": np.ones(3), "loss.weight": np.ones(2)}
        beside |= {f"second.{name}": 2 * value for name, value in list(state.items())[5:]}
        loaded = pretrained.load(UNet(5, features=16), beside | lightning)
        jax.tree.map(np.testing.assert_array_equal, loaded, plain)
        said = capsys.readouterr().out
        assert said.count("\n") == 1
        more = len(beside) - 3
        assert f"the network is {prefix}*; not used: mean, std, loss.weight and {more} m" in said
    pretrained.load(UNet(5, features=16), state | {"mean": np.zeros(3)})
    assert "the network is the file; not used: mean." in capsys.readouterr().out
    pretrained.load(UNet(5, features=16), state)
    assert not capsys.readouterr().out


def test_tensors_are_turned_and_become_single_precision(state: dict[str, np.ndarray]) -> None:
    halves = {name: value.astype(np.float16) for name, value in state.items()}
    model = UNet(5, features=16)
    loaded = pretrained.load(model, halves)
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded)} == {np.dtype("float32")}
    params, stats = loaded["params"], loaded["batch_stats"]
    conv, up = halves["encoder2.enc2conv1.weight"], halves["upconv4.weight"]
    np.testing.assert_array_equal(params["encoder2"]["conv1"]["kernel"], conv.transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(params["up4"]["kernel"], up.transpose(2, 3, 0, 1))
    np.testing.assert_array_equal(params["up4"]["bias"], halves["upconv4.bias"])
    norm = params["encoder2"]["norm1"], stats["encoder2"]["norm1"]
    for ours, theirs in (
        (norm[0]["scale"], "weight"),
        (norm[0]["bias"], "bias"),
        (norm[1]["mean"], "running_mean"),
        (norm[1]["var"], "running_var"),
    ):
        np.testing.assert_array_equal(ours, halves[f"encoder2.enc2norm1.{theirs}"])


def test_without_a_path_nothing_is_loaded() -> None:
    variables = fresh(UNet(2, features=4), bands=3)
    assert Pretrained().into(UNet(2, features=4), variables) is variables


def test_the_whole_network_is_asked_for_unless_an_encoder_is(
    state: dict[str, np.ndarray], tmp_path: Path
) -> None:
    del state["conv.weight"]
    np.savez(tmp_path / "w.npz", **state)
    model = UNet(5, features=16)
    with pytest.raises(UserError, match=r"does not fit UNet\.\nMissing from it:\n    conv\.weight"):
        Pretrained(str(tmp_path / "w.npz")).into(model, fresh(model, bands=4))
    np.savez(tmp_path / "named.npz", **state)
    named = Pretrained(str(tmp_path / "named.npz"), "encoder", trained_bands=("R", "G", "B", "N"))
    kernel = named.into(model, fresh(model, bands=4), bands=("N", "B", "G", "R"))
    found = np.asarray(kernel["params"]["encoder1"]["conv1"]["kernel"])
    expected = state["encoder1.enc1conv1.weight"].transpose(2, 3, 1, 0)[:, :, ::-1]
    np.testing.assert_allclose(found, expected, atol=1e-6)


SEVERAL = [kind for kind, families in pretrained.FAMILIES.items() if len(families) > 1]


@pytest.mark.parametrize("kind", SEVERAL, ids=lambda kind: kind.__name__)
def test_every_table_of_a_network_gives_each_tensor_a_name_of_its_own(kind: Any) -> None:
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    for form in {tuple(family.form.items()) for family in pretrained.FAMILIES[kind]}:
        small = "prithvi_eo_tiny" if "Prithvi" in kind.__name__ else "resnet18"
        model = kind(num_classes=2, backbone=small, **dict(form))
        variables = jax.eval_shape(
            lambda x, m=model: m.init(jax.random.key(0), x, train=False), image
        )
        leaves = flax.traverse_util.flatten_dict(variables)
        backbone = {path for path in leaves if "backbone" in path}
        for family in pretrained.FAMILIES[kind]:
            table = family.encoder | family.decoder | family.optional
            names = names_of(leaves, table)
            known = {path: name for path, name in names.items() if name is not None}
            assert len(set(known.values())) == len(known)
            assert f"{family.first}.weight" in known.values()
            if not family.decoder:  # a file of a classification network
                assert known.keys() == backbone
            elif tuple(family.form.items()) == form:
                assert known.keys() == leaves.keys()


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
