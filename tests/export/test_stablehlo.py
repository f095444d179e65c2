"""A StableHLO file needs jax alone, takes raw values of any batch, and says what they are."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from fixtures.exported import NODATA, SMALL, run_of
from fixtures.small_network import Small

from jaxseg import models
from jaxseg.errors import UserError
from jaxseg.export import stablehlo
from jaxseg.export.inference import Inference
from jaxseg.models.parts.layers import BatchNorm, Conv

ALONE = """
import sys
from pathlib import Path
import jax, numpy as np
folder, image, answer = map(Path, sys.argv[1:])
exported = jax.export.deserialize(bytearray((folder / "drawn.stablehlo").read_bytes()))
assert exported.platforms == ("cpu", "cuda", "tpu"), exported.platforms
np.save(answer, exported.call(np.load(image)))
assert not [name for name in sys.modules if name.split(".")[0] in ("jaxseg", "flax")]
"""

SYMBOLIC = {
    "AttentionUNet", "CHWSUNet", "ComplexUNet", "DomainPrompted", "LinkNet", "MultiscaleSAR",
    "ReSCNet", "ResNetUNet", "TwoNetworks", "UNet", "UNetPlusPlus",
}  # fmt: skip


def test_raw_values_go_in_and_probabilities_come_out_without_jaxseg(tmp_path: Path) -> None:
    run = run_of(Small(num_classes=3))
    model, beside = stablehlo.write_stablehlo(run, tmp_path / "out")
    assert sorted(path.name for path in model.parent.iterdir()) == [model.name, beside.name]
    facts = json.loads(beside.read_text())
    assert facts["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert facts["input"]["bands"] == ["B01", "B02"]
    assert facts["input"]["unit"] == "reflectance"
    assert facts["input"]["no_data"]["value"] == NODATA
    assert facts["output"]["classes"] == ["land", "water", "ice"]
    assert facts["output"]["ignore"] == 255
    assert facts["platforms"] == ["cpu", "cuda", "tpu"]
    assert (facts["stride"], facts["normalisations_folded"]) == (1, 1)

    image = np.random.default_rng(0).uniform(10, 90, (3, 9, 14, 2)).astype(np.float32)
    image[0, 2, 3, 1], image[1, 4, 5, 0] = NODATA, np.nan
    np.save(tmp_path / "image.npy", image)
    places = [tmp_path / "out", tmp_path / "image.npy", tmp_path / "answer.npy"]
    subprocess.run([sys.executable, "-c", ALONE, *map(str, places)], check=True, cwd=tmp_path)
    found = np.load(tmp_path / "answer.npy")

    valid = np.isfinite(image).all(-1) & (image != NODATA).all(-1)
    wanted = run.probabilities(image, valid)
    np.testing.assert_allclose(found[valid], wanted[valid], atol=1e-5)
    assert not found[~valid].any()
    assert (~valid).sum() == 2


@pytest.mark.slow
def test_which_networks_allow_any_height_and_width() -> None:
    found = set()
    for name in models.__all__:
        inference = Inference(run_of(getattr(models, name)(num_classes=3, **SMALL[name])))
        exported, sizes = stablehlo.exported_of(inference, 64)
        assert exported.platforms == stablehlo.PLATFORMS
        if isinstance(sizes["height"], str):
            found.add(name)
            assert "one_size_because" not in sizes
    assert found == SYMBOLIC


@pytest.mark.slow
def test_a_network_of_one_size_takes_any_batch() -> None:
    inference = Inference(run_of(models.PSPNet(num_classes=3, backbone="resnet18")))
    exported, sizes = stablehlo.exported_of(inference, 64)
    assert (sizes["height"], sizes["batch"]) == (64, "any")
    assert "_DimExpr" in str(sizes["one_size_because"])
    assert str(exported.in_avals[0].shape) == "(b, 64, 64, 2)"


class Skips(nn.Module):
    """Uses a convolution's output beside its normalisation, which folding cannot see."""

    num_classes: int

    @nn.compact
    def __call__(self, image: Any, *, train: bool) -> Any:
        """Logits."""
        x = Conv(self.num_classes, name="conv")(image)
        return x + BatchNorm(use_running_average=not train, name="norm")(x)


def test_what_differs_from_the_run_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="differ from the run's"):
        stablehlo.write_stablehlo(run_of(Skips(num_classes=3)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bfloat16_is_exported_in_float32(tmp_path: Path) -> None:
    inference = Inference(run_of(Small(num_classes=3, dtype="bfloat16")))
    assert "bf16" not in jax.jit(inference).lower(inference.shaped(1, 16)).as_text()
