"""What a file lacks, has too much or holds as other than weights is named."""

import re
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.unet_weights import lists, refusal, state

from jaxseg.errors import UserError
from jaxseg.models.unet import UNet
from jaxseg.weights import pretrained

__all__ = ["lists", "state"]  # fixtures


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


def test_a_part_that_the_network_lacks_is_not_left_as_if_it_stood_beside(
    state: dict[str, np.ndarray],
) -> None:
    assert "squeeze.weight" in refusal(state | {"squeeze.weight": np.zeros(3)})
    assert refusal(state | {"criterion.weight": np.zeros(3), "fc.bias": np.zeros(3)}) == ""


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


def test_where_no_list_can_be_written_the_message_says_so(
    state: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/absent")
    said = refusal({name: v for name, v in state.items() if "enc" in name})
    assert "more are not listed, because no file for them can be written: No such file" in said
