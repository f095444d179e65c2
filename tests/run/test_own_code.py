"""Networks, datasets, losses, transforms of a person's own: trained, resumed, evaluated, asked."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxseg
from jaxseg import config as configs
from jaxseg import config_text
from jaxseg.cli.main import main
from jaxseg.config_text import Code
from jaxseg.errors import UserError
from jaxseg.run import checkpoint, training
from jaxseg.sharding import MeshShape

OWN = '''
"""Everything here is of a person's own."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.config import Config
from jaxseg.pipeline import Data
from jaxseg.optimizer import Optimizer
from jaxseg.scenes import Sensor
from jaxseg.transforms import Standardize


class Net(nn.Module):
    num_classes: int = 2
    width: int = 3

    @nn.compact
    def __call__(self, image, *, train):
        x = nn.relu(nn.Conv(self.width, (3, 3))(image))
        return nn.Conv(self.num_classes, (1, 1))(x).astype(jnp.float32)


class Scenes:
    def __init__(self, count, side):
        self.count, self.side = count, side

    def __len__(self):
        return self.count

    def name(self, index):
        return f"drawn {index}"

    def size(self, index):
        return self.side, self.side

    def read(self, index, window):
        rows, columns = np.mgrid[: self.side, : self.side] + index
        label = ((rows // 4 + columns // 4) % 2).astype(np.uint8)
        image = np.stack([label * 50 + 10, label * 0 + rows % 7], -1).astype(np.uint8)
        part = np.s_[window.y : window.y + window.height, window.x : window.x + window.width]
        valid = np.ones(label.shape, bool)
        return {"image": image[part], "label": label[part], "valid": valid[part]}


@dataclasses.dataclass(frozen=True)
class Board:
    side: int = 16
    classes = ("black", "white")
    colors = ((0, 0, 0), (255, 255, 255))
    sensor = Sensor(("one", "two"))

    def scenes(self, split):
        return Scenes({"train": 4}.get(split, 2), self.side)

    def rgb(self, image):
        return image[..., [0, 0, 1]].astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Distance:
    """How far a pixel is from the upper rim of its scene's window: an input of the loss below."""

    name = "rim_distance"
    margin = 2
    fill = 0.0

    def at_zoom(self, zoom):
        return self

    def __call__(self, sample):
        return np.cumsum(np.ones(sample["label"].shape, np.float32), 0)


@dataclasses.dataclass(frozen=True)
class Far:
    weight: float = 1.0
    power: float = 2.0

    @property
    def needs(self):
        return (Distance(),)

    def __call__(self, logits, batch, valid):
        hit = jax.nn.one_hot(batch["label"], logits.shape[-1])
        far = batch["rim_distance"] / 16
        wrong = jnp.abs(jax.nn.softmax(logits) - hit).sum(-1) ** self.power
        return jnp.where(valid, wrong * far, 0).mean()


@dataclasses.dataclass(frozen=True)
class Halved:
    by: float = 2.0

    def __call__(self, image):
        return image / self.by


@dataclasses.dataclass(frozen=True)
class Shifted:
    by: float = 0.1

    def __call__(self, key, batch):
        return batch | {"image": batch["image"] + self.by}


def get_config():
    return Config(
        model=Net(),
        data=Data(source=Board(), crop=8, batch_size=8),
        preprocess=(Halved(), Standardize((10.0, 2.0), (5.0, 2.0))),
        augment=(Shifted(),),
        loss={"far": Far()},
        optimizer=Optimizer(learning_rate=1e-2, schedule="constant"),
        num_steps=4,
        log_every=2,
        eval_every=4,
        save_every=2,
    )
'''


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `own.py` and the run that it trained, in two goes by the command."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)
    command = ["train", "--config", str(folder / "own.py"), "--workdir", str(folder / "run")]
    main([*command, "--config.num-steps", "2"])
    main([*command, "--config.model.width", "3"])
    return folder


def code(folder: Path) -> Code:
    return (configs.load_code(str(folder / "own.py")),)


def test_own_classes_train_resume_and_open(finished: Path) -> None:
    config, state = checkpoint.reopen(finished / "run", MeshShape(), "latest", code(finished))
    assert int(state.step) == 4
    assert type(config.model).__name__ == "Net"
    assert type(config.loss["far"]).__name__ == "Far"
    run = jaxseg.load_run(finished / "run", code=code(finished))
    image = np.zeros((8, 8, 2), np.uint8)
    assert run.predict(image).shape == (8, 8)


def test_own_classes_are_evaluated_with_the_code_that_is_named(finished: Path) -> None:
    main(["evaluate", str(finished / "run"), "--code", str(finished / "own.py"), "--no-baseline"])
    scores = json.loads((finished / "run/evaluation/test/scores.json").read_text())
    assert scores["step"] == 4


def test_a_file_may_be_renamed(finished: Path, tmp_path: Path) -> None:
    shutil.copy(finished / "own.py", tmp_path / "other.py")
    config = checkpoint.config_of(finished / "run", code(finished))
    module = configs.load_code(str(tmp_path / "other.py"))
    again = checkpoint.config_of(finished / "run", (module,))
    assert type(again.model) is module.Net
    assert config_text.to_json(config.data.source)["side"] == 16


def test_without_the_code_one_error_names_classes_and_flag(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", str(finished / "run")])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "jaxseg_code.own.Net" in said
    assert "jaxseg_code.own.Board" in said
    assert "--code FILE.py" in said
    assert "Traceback" not in said


def test_a_package_may_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Path
) -> None:
    package = tmp_path / "their_nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    value = {"class": "their_nets.parts.Halved", "by": 3.0}
    with pytest.raises(UserError, match=r"their_nets\.parts\.Halved.*--code PACKAGE"):
        config_text.from_json(value)
    assert "their_nets.parts" not in sys.modules  # nothing ran before it was named
    halved = config_text.from_json(value, (configs.load_code("their_nets"),))
    assert halved.by == 3.0


def test_nothing_stored_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\nclass Net: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("trap.Net", "jaxseg_code.trap.Net", "os.system", "jaxseg.run.training.train"):
        with pytest.raises(UserError):
            config_text.from_json({"class": name})
    assert not (tmp_path / "sprung").exists()


def test_what_cannot_be_stored_is_found_before_the_first_step(
    finished: Path, tmp_path: Path
) -> None:
    module = configs.load_code(str(finished / "own.py"))

    class Local(module.Halved):  # type: ignore[name-defined, misc]
        pass

    for step, said in (
        (Local(), "config.preprocess.0 is a .*Local: a class inside a function"),
        (module.Halved(by=Path("x")), r"config\.preprocess\.0\.by is a pathlib[.\w]+, which"),
        (module.Halved(by=float("nan")), "has to be finite"),
        (lambda image: image, "config.preprocess.0 is a builtins.function"),
    ):
        config = dataclasses.replace(module.get_config(), preprocess=(step,))
        with pytest.raises(UserError, match=said):
            training.train(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_the_flags_of_own_classes_are_there(finished: Path) -> None:
    config = configs.built(configs.load_code(str(finished / "own.py")))
    flags = ["--config.loss.far.power", "1.5", "--config.data.source.side", "24"]
    changed = configs.override(config, flags, "test")
    assert changed.loss["far"].power == 1.5  # type: ignore[attr-defined]
    assert changed.data.source.side == 24  # type: ignore[attr-defined]
