"""Files of Prithvi-EO as people have them: of either version, of terratorch, for other bands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from fixtures.networks import drawn, shapes

from jaxseg.errors import UserError
from jaxseg.models import PrithviLinear, PrithviUNet
from jaxseg.models.parts.resnet import ResNet
from jaxseg.models.parts.vit import PrithviViT
from jaxseg.weights import pretrained
from jaxseg.weights.pretrained import Pretrained
from jaxseg.weights.state_dict import StateDict, write_state_dict

TINY = "prithvi_eo_tiny"
NAMES = ("B", "G", "R", "NIR", "SWIR1", "SWIR2")
WAVELENGTHS = (490.0, 560.0, 665.0, 865.0, 1610.0, 2190.0)


@pytest.fixture
def published(golden: Callable[[str], Any]) -> dict[str, np.ndarray]:
    """The names of a file of version 2, with positions."""
    return dict(golden("prithvi_tiny_encoder").state) | {
        "encoder.pos_embed": np.zeros((1, 785, 256), np.float32),
        "decoder.decoder_pos_embed": np.zeros((1, 785, 32), np.float32),
    }


def encoder_of(state: StateDict, bands: int = 6) -> Any:
    """The encoder of a U-Net that starts with this file."""
    model = PrithviUNet(2, TINY, features=(8, 8, 8, 8))
    before = drawn(shapes(model, bands))
    after = pretrained.merge(model, before, state, part="encoder")
    same = [
        name
        for name, params in after["params"].items()
        if all(jax.tree.leaves(jax.tree.map(np.array_equal, params, before["params"][name])))
    ]
    assert set(same) == set(after["params"]) - {"backbone"}
    return after["params"]["backbone"]


def test_every_tensor_of_a_published_encoder_is_used_and_what_lies_beside_is_named(
    published: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    found = encoder_of(published)
    said = capsys.readouterr().out
    assert "the network is encoder.*; not used: decoder.mask_token, decoder.decoder_embed" in said
    np.testing.assert_array_equal(found["cls_token"], published["encoder.cls_token"])
    kernel = published["encoder.patch_embed.proj.weight"][:, :, 0].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(found["patch_embed"]["kernel"], kernel)
    qkv = published["encoder.blocks.2.attn.qkv.weight"]
    np.testing.assert_array_equal(found["block2"]["qkv"]["kernel"], qkv.T)
    gain = published["encoder.blocks.3.norm2.weight"]
    np.testing.assert_array_equal(found["block3"]["norm2"]["gain"], gain)
    used = [name for name in published if name.startswith("encoder.")]
    not_used = {"encoder.pos_embed", "encoder.temporal_embed_enc.scale"}
    not_used |= {"encoder.location_embed_enc.scale"}
    assert len(jax.tree.leaves(found)) == len(set(used) - not_used)


def test_a_file_of_version_1_has_no_prefix(published: dict[str, np.ndarray]) -> None:
    first = {
        name.removeprefix("encoder.").removeprefix("decoder."): value
        for name, value in published.items()
        if "temporal" not in name and "location" not in name
    }
    assert {"cls_token", "mask_token", "decoder_blocks.0.attn.qkv.weight"} <= first.keys()
    jax.tree.map(np.testing.assert_array_equal, encoder_of(first), encoder_of(published))


def test_an_encoder_is_found_under_any_decoder_of_terratorch(
    published: dict[str, np.ndarray],
) -> None:
    tuned = {f"model.{n}": value for n, value in published.items() if n.startswith("encoder.")}
    tuned |= {"model.decoder.psp_modules.0.1.conv.weight": np.zeros((8, 8, 1, 1), np.float32)}
    tuned |= {"model.head.head.2.weight": np.zeros((5, 8, 1, 1), np.float32)}
    jax.tree.map(np.testing.assert_array_equal, encoder_of(tuned), encoder_of(published))


def test_a_tensor_that_is_missing_or_of_another_size_is_named(
    published: dict[str, np.ndarray],
) -> None:
    del published["encoder.cls_token"]
    published["encoder.norm.weight"] = np.ones(192, np.float32)
    with pytest.raises(UserError) as error:
        encoder_of(published)
    assert "Missing from it:\n    cls_token\n" in str(error.value)
    assert "norm.weight (192,), which gives (192,), not (256,)" in str(error.value)


def test_an_autoencoder_is_not_a_whole_segmentation_network(
    published: dict[str, np.ndarray],
) -> None:
    with pytest.raises(UserError, match="holds only an encoder"):
        pretrained.load(PrithviLinear(2, TINY), published)


def test_weights_of_another_network_are_not_taken_for_an_encoder() -> None:
    resnet = ResNet("resnet18")
    other = pretrained.exported(resnet, drawn(shapes(resnet, 3)))
    model = PrithviLinear(2, TINY)
    for part in ("all", "encoder"):
        with pytest.raises(UserError) as error:
            pretrained.merge(model, shapes(model, 3), other, part=part)
        assert "These look like the weights of resnet18" in str(error.value)
        assert "choose that backbone" not in str(error.value)


def test_an_encoder_by_itself_is_exported_with_its_positions() -> None:
    model = PrithviViT(TINY)
    variables = drawn(shapes(model, 6))
    state = pretrained.exported(model, variables)
    assert state["pos_embed"].shape == (1, 1 + 14 * 14, 256)
    assert state["patch_embed.proj.weight"].shape == (256, 6, 1, 16, 16)
    again = pretrained.load(model, state)
    jax.tree.map(np.testing.assert_array_equal, again["params"], variables["params"])


@pytest.mark.parametrize(
    ("case", "model"),
    [
        ("prithvi_tiny_unet_3", PrithviUNet(3, TINY, features=(64, 48, 32, 24))),
        ("prithvi_tiny_linear_3", PrithviLinear(3, TINY)),
    ],
)
def test_an_export_is_the_references_state_dict(
    golden: Callable[[str], Any], case: str, model: Any
) -> None:
    reference = golden(case).state
    state = pretrained.exported(model, pretrained.load(model, reference))
    place = state.pop("encoder.pos_embed")
    counters = {name for name in reference if name.endswith("num_batches_tracked")}
    assert state.keys() == reference.keys() - counters
    for name, tensor in state.items():
        np.testing.assert_array_equal(tensor, reference[name], err_msg=name)
    assert place.shape == (1, 1 + 14 * 14, 256)
    assert not place[0, 0].any()
    np.testing.assert_allclose(place[0, 1 + 14 * 3 + 5, 0], np.sin(5), atol=1e-6)  # the column
    np.testing.assert_allclose(place[0, 1 + 14 * 3 + 5, 96], np.sin(3), atol=1e-6)  # the row


def test_bands_are_found_by_the_sensors_wavelengths_or_else_by_name(
    published: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "prithvi.safetensors"
    write_state_dict(published, path)
    weights = Pretrained(str(path), "encoder", NAMES, trained_wavelengths=WAVELENGTHS)
    model = PrithviLinear(2, TINY)
    trained = published["encoder.patch_embed.proj.weight"][:, :, 0].transpose(2, 3, 1, 0)

    def kernel(*bands: str, wavelengths: tuple[float, ...] = ()) -> np.ndarray:
        variables = shapes(model, len(bands))
        after = weights.into(model, variables, bands, wavelengths)
        return np.asarray(after["params"]["backbone"]["patch_embed"]["kernel"])

    found = kernel("SWIR2", "SWIR1", "NIR", "R", "G", "B")
    np.testing.assert_allclose(found, trained[:, :, ::-1], atol=1e-6)
    # Without short-wave infrared, whose kernels are shared among the four bands that there are.
    found = kernel("R", "G", "B", "NIR")
    rest = trained[:, :, 4:].sum(2) / 4
    for ours, theirs in enumerate((2, 1, 0, 3)):
        np.testing.assert_allclose(found[:, :, ours], trained[:, :, theirs] + rest, atol=1e-6)
    named_otherwise = kernel("B8A", "B04", "B03", "B02", wavelengths=(865, 665, 560, 490))
    for ours, theirs in enumerate((3, 2, 1, 0)):
        np.testing.assert_allclose(
            named_otherwise[:, :, ours], trained[:, :, theirs] + rest, atol=1e-6
        )
    np.testing.assert_allclose(named_otherwise.sum(2), trained.sum(2), atol=1e-5)
    with pytest.raises(UserError, match="No band of the data"):
        kernel("VV", "VH")
    with pytest.raises(UserError, match="No band of the data"):
        kernel("VV", "VH", wavelengths=(0, 0))
