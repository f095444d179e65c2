"""From labels to a map to corrected polygons to the next training, in one tool."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import rasterio
import shapely
from fixtures.vector_files import UTM, features, write_map, write_vectors
from numpy.typing import NDArray

from jaxseg.cli import main as cli

SIDE = 96
CONFIG = """
from jaxseg.config import Config
from jaxseg.datasets import Folder
from jaxseg.datasets.folder import Vectors
from jaxseg.losses import CrossEntropy
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import Standardize


def get_config() -> Config:
    return Config(
        model=UNet(num_classes=2, features=4),
        data=Data(
            source=Folder(
                images="HERE/scene.tif",
                masks="HERE/LABELS",
                classes=("ground", "house"),
                vectors=Vectors(attribute="name", area="HERE/AREA"),
                split_by="columns",
            ),
            crop=32,
            batch_size=4,
        ),
        preprocess=(Standardize(),),
        loss={"ce": CrossEntropy()},
        optimizer=Optimizer(learning_rate=1e-2, schedule="constant"),
        num_steps=STEPS,
        eval_every=STEPS,
        save_every=STEPS,
    )
"""


def truth() -> NDArray[np.uint8]:
    found = np.zeros((SIDE, SIDE), np.uint8)
    for y in range(6, SIDE - 12, 18):
        for x in range(5 + y % 4, SIDE - 12, 18):
            found[y : y + 9, x : x + 11] = 1
    return found


def train(folder: Path, run: str, steps: int, labels: str, area: str = "") -> None:
    text = CONFIG.replace("HERE/AREA", f"{folder}/{area}" if area else "")
    text = text.replace("HERE", str(folder)).replace("LABELS", labels).replace("STEPS", str(steps))
    (folder / f"{run}.py").write_text(text)
    cli.main(["train", "--config", str(folder / f"{run}.py"), "--workdir", str(folder / run)])


def scores(folder: Path, run: str, map_file: str, labels: str) -> float:
    """The mIoU of a map against labels."""
    command = ["evaluate", str(folder / run), "--map", str(folder / map_file)]
    cli.main([*command, "--labels", str(folder / labels), "--shared-ground", "1"])
    (found,) = (folder / run / "evaluation").glob("*/map/scores.json")
    return float(json.loads(found.read_text())["network"]["miou"])


@pytest.mark.slow
def test_corrected_polygons_of_a_map_train_the_next_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *_: one)
    monkeypatch.setattr(jax, "local_devices", lambda *_: one)
    label = truth()
    image = 60 + 90 * label + np.random.default_rng(0).normal(0, 25, label.shape)
    write_map(tmp_path / "scene.tif", image.clip(1, 255).astype(np.uint8), nodata=0)

    # Only the upper half has labels.
    houses = [
        shapely.geometry.shape(outline)
        for outline, value in rasterio.features.shapes(label, transform=UTM["transform"])
        if value == 1
    ]
    upper = shapely.box(600_000, 5_299_520, 600_960, 5_300_000)
    some = [house for house in houses if house.intersects(upper)]
    write_vectors(tmp_path / "labels.gpkg", some, {"name": ["house"] * len(some)})
    write_vectors(tmp_path / "area.geojson", [upper], {"n": [1]})
    train(tmp_path, "first", 60, "labels.gpkg", "area.geojson")

    scene, first = str(tmp_path / "scene.tif"), str(tmp_path / "first.tif")
    polygons = ["--polygons", str(tmp_path / "map.gpkg"), "--polygon.classes", "house"]
    command = ["predict", str(tmp_path / "first"), scene, first]
    cli.main([*command, "--layers", "classes", "confidence", *polygons])
    shapes, fields = features(tmp_path / "map.gpkg")
    assert set(fields["name"]) == {"house"}
    with rasterio.open(first) as file:
        assert sum(fields["area_m2"]) == 100 * (file.read(1) == 1).sum()

    # A person removes what is no house, and draws what is missing.
    every = shapely.union_all(houses)
    kept = [shape for shape in shapes if shape.intersection(every).area > shape.area / 2]
    missing = [house for house in houses if not any(house.intersects(shape) for shape in kept)]
    own = [*kept, *missing]
    write_vectors(tmp_path / "corrected.gpkg", own, {"name": ["house"] * len(own)})
    train(tmp_path, "second", 150, "corrected.gpkg")
    second = str(tmp_path / "second.tif")
    cli.main(["predict", str(tmp_path / "second"), scene, second])

    write_map(tmp_path / "truth.tif", label, nodata=None)
    miou = scores(tmp_path, "second", "second.tif", "truth.tif")
    with rasterio.open(second) as file:
        found = file.read(1)
    counts = [[((label == t) & (found == p)).sum() for p in (0, 1)] for t in (0, 1)]
    ious = [counts[k][k] / (sum(counts[k]) + counts[1 - k][k]) for k in (0, 1)]
    assert miou == pytest.approx(np.mean(ious))
    assert miou > 0.8
