"""How a training begins: its first weights, and what is said about its data."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted
from fixtures.other_run import opened
from PIL import Image

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.run import beginning, data_files
from jaxseg.scenes.sensor import Sensor


@pytest.fixture
def small() -> Config:
    return painted.seven_steps()


def test_weights_come_from_another_run_or_framework_or_from_scratch(
    small: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = sharding.make_mesh(small.mesh)
    averaged = dataclasses.replace(small, optimizer=dataclasses.replace(small.optimizer, ema=0.9))
    scratch, origin = beginning.initialised(averaged, mesh, ())
    assert origin == "from scratch, seed 0"
    assert float(scratch.params["sure"]) == 2.0

    def sure(tree: Any) -> float:
        return float(tree["sure"])

    one, two = ({"sure": jnp.float32(number)} for number in (5.0, 7.0))
    other = scratch.replace(params=one, ema=None, step=jnp.int32(9))
    asked = opened(monkeypatch, small, other)
    state, origin = beginning.initialised(
        dataclasses.replace(averaged, init_from="first"), mesh, ()
    )
    assert asked == [(Path("first"), small.mesh)]
    assert (origin, sure(state.params), sure(state.ema)) == ("from the run first", 5.0, 5.0)
    assert int(state.step) == 0  # the weights, not the run
    assert state.ema["sure"] is not state.params["sure"]  # both are donated
    opened(monkeypatch, small, other.replace(ema=two))
    state, _ = beginning.initialised(dataclasses.replace(small, init_from="first"), mesh, ())
    assert (sure(state.params), state.ema) == (7.0, None)
    opened(monkeypatch, small, other.replace(params={"sure": jnp.zeros(2)}))
    with pytest.raises(UserError, match="from the run first: its network is not this config's"):
        beginning.initialised(dataclasses.replace(small, init_from="first"), mesh, ())

    class Elsewhere:
        """Weights of another framework."""

        given, told = True, "unet.npz (all)"

        def into(self, model: Any, variables: Any, bands: Any, wavelengths: Any) -> Any:
            assert bands == ("answer", "class")
            assert wavelengths == (490.0, 865.0)
            assert model == small.model
            return variables | {"params": {"sure": variables["params"]["sure"] + 1}}

    class Coloured(painted.Painted):
        """States wavelengths, which the weights may be matched by."""

        @property
        def sensor(self) -> Sensor:
            return dataclasses.replace(super().sensor, wavelengths=(490.0, 865.0))

    data = dataclasses.replace(small.data, source=Coloured())
    config: Any = dataclasses.replace(small, data=data, pretrained=Elsewhere())
    state, origin = beginning.initialised(config, mesh, ())
    assert (origin, sure(state.params)) == ("from unet.npz (all)", 3.0)


def test_copies_of_a_training_scene_are_said_at_the_start(tiny: Path, tmp_path: Path) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    assert beginning.looked_at(config) == []
    source: Any = config.data.source
    shutil.copytree(source.images, tmp_path / "images")
    shutil.copy(tmp_path / "images/scene0.png", tmp_path / "images/scene2.png")
    source = dataclasses.replace(source, images=str(tmp_path / "images"))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=source))
    (line,) = beginning.looked_at(config)
    assert "scene0.png and " in line
    assert "scene2.png of the train split hold the same picture; 1 of 4 scenes" in line


def test_labels_that_changed_are_refused_unless_the_flag_is_given(
    tiny: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny / "images", tmp_path / "images")
    shutil.copytree(tiny / "masks", tmp_path / "masks")
    source: Any = configs.load_config(str(tiny / "config.py")).data.source
    paths = {name: str(tmp_path / name) for name in ("images", "masks")}
    source = dataclasses.replace(source, **paths, instances="")
    data_files.keep(tmp_path, source)
    assert beginning.changes_of_files(tmp_path, source, allowed=False) == []
    mask = tmp_path / "masks/scene1.png"
    Image.fromarray(1 - np.minimum(np.asarray(Image.open(mask)), 1)).save(mask)
    with pytest.raises(UserError, match=r"1 of other contents \(.*scene1\.png\).*--changed-files"):
        beginning.changes_of_files(tmp_path, source, allowed=False)
    (line,) = beginning.changes_of_files(tmp_path, source, allowed=True)
    assert "scene1.png" in line
    (tmp_path / data_files.NAME).write_bytes(b"damaged")
    (line,) = beginning.changes_of_files(tmp_path, source, allowed=False)
    assert "is put aside as data_files.txt.gz.damaged" in line
