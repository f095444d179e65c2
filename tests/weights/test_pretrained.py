"""No tensor of a state dict is lost, invented or put where it does not belong."""

import functools
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from fixtures.networks import shapes
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxseg.errors import UserError
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.deeplab_plus import DeepLabV3Plus
from jaxseg.models.linknet import LinkNet
from jaxseg.models.parts.resnet import ResNet
from jaxseg.models.pspnet import LecturePSPNet, PSPNet
from jaxseg.models.refined_pspnet import RefinedPSPNet
from jaxseg.models.unet import ResNetUNet, UNet
from jaxseg.models.unet_plus_plus import UNetPlusPlus
from jaxseg.weights import pretrained
from jaxseg.weights.families import names_of
from jaxseg.weights.pretrained import Pretrained
from jaxseg.weights.state_dict import read_state_dict, write_state_dict


@pytest.fixture(autouse=True)
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that a message leaves out are listed in the test's own folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def state(golden: Callable[[str], Any]) -> dict[str, np.ndarray]:
    return dict(golden("unet_lecture_4to5_f16").state)


def fresh(model: Any, bands: int) -> Any:
    """Variables nobody trained, made without compiling `init`."""
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.123), shapes(model, bands))


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


def refusal(state: dict[str, np.ndarray], part: Any = "all") -> str:
    """What is said of a state dict for the small U-Net, "" if it is taken."""
    model = UNet(5, features=16)
    try:
        pretrained.merge(model, shapes(model, bands=4), state, part=part)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("part", ["all", "encoder"])
def test_one_fault_alone_is_enough_to_refuse_a_file(
    state: dict[str, np.ndarray], part: str
) -> None:
    assert refusal(state, part) == ""
    name = "encoder2.enc2norm1.running_mean"
    value = state.pop(name)
    said = refusal(state, part)
    assert f"Missing from it:\n    {name}\n" in said
    assert "Unexpected" not in said
    assert "shape" not in said
    said = refusal(state | {name: value, "encoder2.more.weight": value}, part)
    assert "Unexpected in it:\n    encoder2.more.weight\n" in said
    assert "Missing" not in said
    said = refusal(state | {name: value[:-1]}, part)
    assert f"Of another shape:\n    {name} (31,), which gives (31,), not (32,)" in said
    assert "Missing" not in said
    assert "Unexpected" not in said


def test_the_decoder_of_a_file_does_not_matter_to_an_encoder(state: dict[str, np.ndarray]) -> None:
    state["conv.weight"] = np.zeros((7, 16, 1, 1), np.float32)  # of other classes
    assert "Of another shape" in refusal(state)
    assert refusal(state, "encoder") == ""
    del state["upconv3.weight"], state["conv.bias"]
    assert "upconv3.weight" in refusal(state)
    assert refusal(state, "encoder") == ""
    # A head of another task is left; what is named as a part of the encoder is not.
    assert refusal(state | {"head.bias": np.zeros(5)}, "encoder") == ""
    assert "encoder7.x" in refusal(state | {"encoder7.x": np.zeros(5)}, "encoder")


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


def test_a_part_that_the_network_lacks_is_not_left_as_if_it_stood_beside(
    state: dict[str, np.ndarray],
) -> None:
    assert "squeeze.weight" in refusal(state | {"squeeze.weight": np.zeros(3)})
    assert refusal(state | {"criterion.weight": np.zeros(3), "fc.bias": np.zeros(3)}) == ""


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
    with pytest.raises(UserError, match="holds only an encoder"):
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


UNUSABLE = {
    "not finite in 2 of 9216 places": lambda v: np.where(
        np.arange(v.size).reshape(v.shape) < 2, np.nan, v
    ),
    "not finite in 9216 of 9216 places": lambda v: np.full(v.shape, 1e300),
    "of type int64": lambda v: v.astype(np.int64),
    "of type bool": lambda v: v > 0,
    "of type complex64": lambda v: v.astype(np.complex64),
    "of type float8_e4m3fn": lambda v: v.astype(jnp.float8_e4m3fn),
    "which gives (9216,)": lambda v: v.ravel(),
    "which gives ()": lambda v: v.ravel()[0],
    "which gives (3, 3, 0, 32)": lambda v: v[:, :0],
}


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("said", UNUSABLE)
def test_what_is_no_weight_is_named_and_explained(
    state: dict[str, np.ndarray], said: str, first: bool
) -> None:
    name = "encoder1.enc1conv1.weight" if first else "encoder2.enc2conv2.weight"
    state[name] = np.asarray(UNUSABLE[said](state[name]))
    text = refusal(state)
    assert name in text
    if first and "gives" in said:  # where the bands of the file are looked up
        with pytest.raises(UserError, match=re.escape(name)):
            pretrained.load(UNet(5, features=16), state)
    else:
        assert (said if not first else said.partition(" in ")[0]) in text


def test_a_message_has_ten_names_and_the_others_are_in_a_file(
    state: dict[str, np.ndarray],
) -> None:
    kept = {name: v for name, v in state.items() if not name.startswith(("enc", "dec"))}
    odd = {f"decoder{i}.odd.weight": np.zeros(1) for i in range(40)}
    said = refusal(kept | odd)
    assert len(re.findall(r"^    ", said, re.MULTILINE)) == 10
    assert "    decoder0.odd.weight" in said
    (count, path) = re.findall(r"(\d+) more are listed in (\S+)\.\n", said)[0]
    names = [line for line in Path(path).read_text().splitlines() if not line.endswith(":")]
    assert len(names) == int(count) + 10
    assert set(odd) < set(names)
    counters = {name for name in state if name.endswith("num_batches_tracked")}
    assert state.keys() - kept.keys() - counters < set(names)


def filled(variables: Any) -> Any:
    """Variables of which every leaf has a number of its own, which costs no random numbers."""
    leaves, tree = jax.tree.flatten(variables)
    values = [np.full(leaf.shape, number / 64, np.float32) for number, leaf in enumerate(leaves)]
    return jax.tree.unflatten(tree, values)


@functools.cache
def written(model: Any, reference: str = "") -> dict[str, np.ndarray]:
    """The state dict of a network filled so."""
    return pretrained.exported(model, filled(shapes(model, 3)), reference=reference)


def test_where_no_list_can_be_written_the_message_says_so(
    state: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/absent")
    said = refusal({name: v for name, v in state.items() if "enc" in name})
    assert "more are not listed, because no file for them can be written: No such file" in said


def resnet18(names: str = "{}") -> dict[str, np.ndarray]:
    """A classification ResNet-18, each name as the pattern has it."""
    classifier = {"fc.weight": np.zeros((10, 512), "f"), "fc.bias": np.zeros(10, "f")}
    state = written(ResNet("resnet18")) | classifier
    return {names.format(name): tensor for name, tensor in state.items()}


NARROW = ResNetUNet(2, "resnet18", (8, 8, 8, 8, 8))

WITH_A_RESNET = [
    ResNetUNet(3, "resnet18", (8, 8, 8, 8, 8)),
    UNetPlusPlus(3, "resnet18", (8, 8, 8, 8, 8)),
    LinkNet(3),
    LecturePSPNet(3),
    RefinedPSPNet(3, "resnet18", features=16),
    DeepLabV3(3, "resnet18", features=16),
    DeepLabV3Plus(3, "resnet18", features=16),
]


@pytest.mark.parametrize("model", WITH_A_RESNET, ids=lambda model: type(model).__name__)
def test_an_encoder_is_taken_out_of_any_file_that_holds_one(
    model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = {"module.queue": np.zeros((8, 2), "f"), "module.queue_ptr": np.zeros(1, int)}
    moco = resnet18("module.encoder_q.{}") | queue
    moco |= {name.replace("_q", "_k"): v + 1 for name, v in moco.items() if "encoder" in name}
    fpn = resnet18("model.backbone.body.{}") | {"model.backbone.fpn.0.weight": np.zeros(3, "f")}
    ours = shapes(model, 3)
    for state in (resnet18(), moco, fpn):
        found = pretrained.merge(model, ours, state, part="encoder")
        kernel = found["params"]["backbone"]["layer4_1"]["conv2"]["kernel"]
        expected = resnet18()["layer4.1.conv2.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(kernel, expected)
        assert isinstance(found["params"]["head"]["kernel"], jax.ShapeDtypeStruct)
    said = capsys.readouterr().out
    assert "the network is module.encoder_q.*; not used: module.queue, module.queue_ptr" in said
    assert "module.encoder_k.* would fit, too" in said
    assert "not used: model.backbone.fpn.0.weight." in said
    for source, reference in (
        (NARROW, "smp"),
        (LinkNet(2), "linknet-base"),
        (LinkNet(2), "linknet"),
    ):
        state = {f"model.{name}": tensor for name, tensor in written(source, reference).items()}
        found = pretrained.merge(model, ours, state, part="encoder")
        theirs = filled(shapes(source, 3))
        for kind in ("params", "batch_stats"):
            jax.tree.map(
                np.testing.assert_array_equal, found[kind]["backbone"], theirs[kind]["backbone"]
            )


def test_a_file_of_another_network_is_recognised_and_the_remedy_stated() -> None:
    def said(model: Any, state: Any, part: Any = "all") -> str:
        with pytest.raises(UserError) as error:
            pretrained.merge(model, shapes(model, 3), state, part=part)
        return str(error.value)

    unet, state = NARROW, written(NARROW)
    encoder = 'use `part="encoder"` (--config.pretrained.part encoder)'
    text = said(DeepLabV3(2, "resnet18", features=16), state)
    assert text.startswith(
        f"These look like the weights of smp's Unet on resnet18: choose ResNetUNet, or {encoder}.\n"
    )
    text = said(ResNetUNet(2, "resnet34", (8, 8, 8, 8, 8)), state, "encoder")
    assert "smp's Unet on resnet18: choose that backbone instead of resnet34." in text
    text = said(DeepLabV3(2, "resnet34", features=16), state, "encoder")
    assert "smp's Unet on resnet18: choose that backbone instead of resnet34." in text
    odd = {n.replace("decoder", "middle"): v for n, v in state.items()}
    assert "These weights hold a resnet18 and other parts" in said(unet, odd)
    assert "PSPNet's deep stem" in said(PSPNet(2, "resnet18"), resnet18(), "encoder")
    attention = ResNetUNet(2, "resnet18", (8, 8, 8, 8, 8), attention="scse")
    assert 'Choose attention="scse" if its decoder has' in said(attention, state)
    torch7 = LinkNet(2, form="torch7")
    assert 'Choose form="torch7" if its decoders have biases' in said(torch7, written(LinkNet(2)))
    assert "holds only an encoder, resnet18, but" in said(unet, resnet18())
    refined = RefinedPSPNet(2, "resnet18", features=16)
    assert "No reference implementation of RefinedPSPNet is known" in said(refined, resnet18())


@pytest.mark.parametrize(
    ("case", "model", "said"),
    [
        (
            DeepLabV3(2, "resnet18", features=16, first_rate="own", align_corners=True),
            DeepLabV3(2, "resnet18", features=16),
            "smp's DeepLabV3, which has first_rate='own', align_corners=True; this network has "
            "first_rate='before', align_corners=False.",
        ),
        (
            DeepLabV3(2),
            DeepLabV3(2, output_stride=16, multi_grid=(1, 2, 4)),
            "torchvision's DeepLabV3, which has output_stride=8, multi_grid=(1, 1, 1); this",
        ),
        (DeepLabV3Plus(2), DeepLabV3Plus(2), "VainF's DeepLabV3+. Its output stride, 8 or 16"),
        (
            DeepLabV3Plus(2),
            DeepLabV3Plus(2, first_rate="own", align_corners=True, low_first=False),
            "which has first_rate='before', align_corners=False, low_first=True; this network",
        ),
        (PSPNet(2), PSPNet(2), "code with the same names that does not align them"),
        (LecturePSPNet(2), LecturePSPNet(2), "before PyTorch 0.4, its code aligned corners"),
        (LinkNet(2), LinkNet(2), ""),
    ],
    ids=["smp", "torchvision", "vainf", "form", "semseg", "lextal", "linknet"],
)
def test_weights_do_not_silently_load_into_another_form(
    case: Any, model: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrained.merge(model, shapes(model, 3), written(case))
    assert said in " ".join(capsys.readouterr().out.split())
