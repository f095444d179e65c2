"""What the documents show is run: the short commands in their order, every example in Python."""

import contextlib
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from fixtures import documents, polsar_folder, tiny_folder
from fixtures.documents import PAGES, Reached, arguments_of, enter, every, fenced, name
from fixtures.folder_files import png, tiff
from fixtures.places import ROOT
from scipy.io import savemat

import jaxseg
from jaxseg import config as configs
from jaxseg.cli import main as cli
from jaxseg.datasets.landscape import Landscape

NOT_RUN = {
    "--format": "takes half a minute; tests/export has them",
    "benchmarks/": "takes minutes to hours",
    "--distributed": "needs several processes; test_sharding and run/test_processes have them",
    "--coordinator": "likewise",
    "--config.mesh.": "needs several devices; test_step has them",
    "jaxseg plan": "needs a compiler that tests do not install; tests/planning has its parts",
    "jaxseg predict": "needs a scene; tests/prediction makes some",
    "jaxseg polygons": "needs a map; tests/prediction makes some",
    "--map": "likewise; tests/evaluation makes some",
    "labels.gpkg": "needs a vector file; tests/datasets/folder makes some",
    "--help": "is run wherever commands are read",
    "configs/deeplab.py": "test_shipped_configs trains it",
    "configs/multiscale_sar.py": "likewise",
    "configs/complex_unet.py": "likewise",
    "configs/foundation.py": "likewise",
    "configs/airsar.py": "test_labelled_polsar has such a scene",
    "runs/airsar": "likewise",
    "runs/em": "needs a set that is not part of the repository",
    "runs/camvid": "likewise",
    "runs/buildings": "likewise",
    "runs/deeplab": "needs the run of such a config; runs/unet is evaluated",
    "runs/multiscale_sar": "likewise",
    "jaxseg bench": "takes a minute; test_pack runs it",
    "--track": "needs a package that tests do not install; tests/run/trackers has them",
    "jaxseg robustness": "takes minutes; tests/evaluation/robustness has it",
    "jaxseg models": "takes a minute; test_catalogue has its parts",
    "configs/clouds.py": "needs a scene and weights that another package carries",
    "runs/clouds": "needs the run of such a config; runs/unet is evaluated",
    "efficientnet-b0": "takes a minute; tests/models/test_efficientnets.py has such a network",
    "configs/six_classes.py": "test_new_classes has such a run",
    "configs/incremental.py": "likewise",
    "configs/indian_pines.py": "needs a scene that another package carries",
    "configs/salinas_a.py": "needs a scene to be downloaded",
    "resnet18.pth": "needs weights to be downloaded",
    "--config.pretrained.name": "likewise; tests/weights/test_card_files.py makes some",
    "--adapt": "needs a run that keeps histograms; test_evaluate and test_adaptation have it",
    "--push": "needs a hub; tests/evaluation/test_model_card.py pretends one",
    "runs/half": "needs a run that holds scenes out; tests/evaluation/doubts has one",
    "strzegom": "shows a refusal; test_sensor_files has it",
}
"""Commands that are read but not run, by a part of them, and why. All others are run."""


EXAMPLES = [p for p in PAGES if any(b.language == "python" for b in documents.blocks(p))]


def run_examples(page: Path, *, with_runs: bool) -> None:
    """Runs the Python blocks of a page in their order, in one namespace."""
    names: dict[str, Any] = {"__name__": "example"}
    for block in documents.blocks(page):
        if block.language == "python" and with_runs == ("load_run" in block.text):
            code = "\n" * block.line + block.text
            exec(compile(code, block.page, "exec"), names)
            if "get_config" in names:
                configs.check(names["get_config"]())


@pytest.mark.parametrize("page", EXAMPLES, ids=name)
def test_an_example_in_python_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(tmp_path, monkeypatch)
    run_examples(page, with_runs=False)


def is_run(command: tuple[str, ...]) -> bool:
    plain = " ".join(command)
    return arguments_of(command) is not None and not any(part in plain for part in NOT_RUN)


RUNNING = [page for page in PAGES if any(is_run(command) for command in fenced(page))]


def test_what_is_not_run_is_there() -> None:
    known = {" ".join(command) for command in every(fenced)}
    assert all(any(part in command for command in known) for part in NOT_RUN)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny data under the names that the documents give to theirs."""
    folder = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(0)
    colors = np.array([(226, 169, 41), (132, 41, 246), (110, 193, 228)], np.uint8)
    for scene in ("harbour", *"abcdefg"):
        ids = np.repeat(np.repeat(random.integers(0, 3, (5, 6)), 32, 0), 32, 1)
        noise = random.integers(0, 30, (*ids.shape, 3))
        for place in ("photos", "elsewhere"):
            image = (colors[ids] // 2 + noise).astype(np.uint8)
            png(folder / f"{place}/images/{scene}.png", image)
            png(folder / f"{place}/masks/{scene}.png", colors[ids])
            noise = random.integers(0, 30, noise.shape)
        wide = np.tile(ids, (1, 4))
        tiff(folder / f"scenes/images/{scene}.tif", np.tile(noise, (1, 4, 1)).astype(np.uint16))
        tiff(folder / f"scenes/masks/{scene}.tif", np.array((1, 2, 7), np.uint8)[wide])
    tiny_folder.write_folder(folder / "nuclei", height=144, width=160)
    shutil.rmtree(folder / "nuclei/masks")
    for chip in range(5):
        water = np.kron(random.integers(0, 2, (5, 5)), np.ones((32, 32), int))
        decibel = np.stack((-10 - 8 * water, -17 - 6 * water), axis=-1)
        speckle = random.normal(0, 2, decibel.shape)
        tiff(folder / f"sen1floods11/S1/A_{chip}_S1Hand.tif", (decibel + speckle).astype("float32"))
        tiff(folder / f"sen1floods11/labels/A_{chip}_LabelHand.tif", water.astype("int16"))
    fields = np.kron(random.integers(0, 4, (8, 9)), np.ones((16, 16), int))  # 0 = no label
    cube = 500 * fields[..., None] + random.integers(0, 200, (*fields.shape, 20))
    savemat(folder / "scene.mat", {"cube": cube.astype(np.int16)})
    savemat(folder / "scene_gt.mat", {"truth": fields.astype(np.uint8)})
    polsar_folder.labelled(folder / "data/polsar_sf_airsar", side=320)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNING, ids=name)
def test_the_commands_of_a_page_run_in_their_order(
    page: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(world, monkeypatch)
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *_: one)
    for command in fenced(page):
        if is_run(command):
            for other in re.findall(r"runs/(\w+)", " ".join(command)):
                if not Path("runs", other).exists() and (ROOT / f"configs/{other}.py").exists():
                    _run(["train", "--config", f"configs/{other}.py"])
            _run(arguments_of(command) or [])
    if hasattr(jaxseg, "load_run"):
        run_examples(page, with_runs=True)


def _run(arguments: list[str]) -> None:
    """The command with fewer steps, smaller batches and few tiles."""
    shorter: list[str] = []
    config = arguments[arguments.index("--config") + 1] if "--config" in arguments else None
    if config and isinstance(configs.load_config(config).data.source, Landscape):
        shorter += ["--config.data.source.tiles", "4", "2", "2"]
        shorter += ["--config.data.source.data-dir", "tiles"]
    if arguments[0] == "train":
        for flag in ("num-steps", "eval-every", "save-every", "data.batch-size"):
            shorter += [f"--config.{flag}", "2"]
        shorter += ["--config.optimizer.warmup", "0"]
    with contextlib.suppress(Reached):
        cli.main([*arguments, *shorter])
