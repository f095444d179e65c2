"""Real processes: killed at any moment, or several at once, they make the same bytes."""

import random
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fixtures.processes import JAXSEG, begun, ended, joined
from rasterio.transform import from_origin

pytestmark = pytest.mark.slow

KILLS = 3


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps."""
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    command = [
        *(*JAXSEG, "train", "--config", str(tiny / "config.py"), "--workdir", str(workdir)),
        *("--config.num-steps", "3", "--config.mesh.data", "1", "--config.mesh.space", "1"),
    ]
    ended(begun(command, tiny / "cache"))
    return workdir


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3,000 x 1,400 pixels: 6 blocks one below the other."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    image = np.random.default_rng(0).integers(1, 255, (3, 3000, 1400), np.uint8)
    form = {"crs": "EPSG:32632", "transform": from_origin(6e5, 5.3e6, 10, 10), "tiled": True}
    with rasterio.open(path, "w", "GTiff", 1400, 3000, 3, dtype="uint8", **form) as file:
        file.write(image)
    return path


def command(trained: Path, scene: Path, out: Path, *flags: str) -> list[str]:
    tiles = ("--tile", "256", "--overlap", "32", "--no-check")
    return [*JAXSEG, "predict", str(trained), str(scene), str(out), *tiles, *flags]


@pytest.fixture(scope="module")
def written(
    tiny: Path, trained: Path, scene: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("map") / "map.tif"
    ended(begun(command(trained, scene, out), tiny / "cache"))
    return out


def test_a_map_that_is_killed_again_and_again_has_the_same_bytes(
    tiny: Path, trained: Path, scene: Path, written: Path, tmp_path: Path
) -> None:
    out, chance = tmp_path / "map.tif", random.Random(0)
    blocks: dict[str, int] = {}

    def kept() -> dict[str, int]:
        folder = tmp_path / "map.tif.part"
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("classes_*.tif")}

    for _ in range(KILLS):
        process = begun(command(trained, scene, out), tiny / "cache")
        wanted = min(len(blocks) + 1, 5)
        while process.poll() is None and len(kept()) < wanted:
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.5))
        process.kill()
        process.communicate()
        if out.exists():
            break
        now = kept()
        # What was finished is as it was.
        assert {name: now[name] for name in blocks} == blocks
        blocks = now
    assert blocks
    ended(begun(command(trained, scene, out), tiny / "cache"))
    assert out.read_bytes() == written.read_bytes()
    assert not (tmp_path / "map.tif.part").exists()


@pytest.mark.parametrize("count", [2])
def test_processes_that_share_a_scene_write_one_map(
    tiny: Path, trained: Path, scene: Path, written: Path, tmp_path: Path, count: int
) -> None:
    out = tmp_path / "map.tif"
    running = [
        begun(command(trained, scene, out, "--shard", f"{number}/{count}"), tiny / "cache")
        for number in range(1, count + 1)
    ]
    for process in running:
        ended(process)
    assert out.read_bytes() == written.read_bytes()


@pytest.mark.parametrize("count", [4])
def test_joined_processes_write_one_map(
    tiny: Path, trained: Path, scene: Path, written: Path, tmp_path: Path, count: int
) -> None:
    out = tmp_path / "map.tif"
    joined(command(trained, scene, out), tiny, processes=count, devices=1)
    assert out.read_bytes() == written.read_bytes()


def test_the_same_command_twice_at_once_writes_one_map(
    tiny: Path, trained: Path, scene: Path, written: Path, tmp_path: Path
) -> None:
    out = tmp_path / "map.tif"
    running = [begun(command(trained, scene, out), tiny / "cache") for _ in range(2)]
    for process in running:
        ended(process)
    assert out.read_bytes() == written.read_bytes()


def test_finish_puts_together_what_killed_processes_left(
    tiny: Path, trained: Path, scene: Path, written: Path, tmp_path: Path
) -> None:
    out, cache = tmp_path / "map.tif", tiny / "cache"
    ended(begun(command(trained, scene, out, "--shard", "1/2"), cache))
    said = ended(begun(command(trained, scene, out, "--finish"), cache), code=2)
    assert "3 of 6 blocks are missing" in said
    second = begun(command(trained, scene, out, "--shard", "2/2"), cache)
    while len(list((tmp_path / "map.tif.part").glob("classes_*.tif"))) < 6:
        assert second.poll() is None, second.communicate()
        time.sleep(0.005)
    second.kill()
    second.communicate()
    ended(begun(command(trained, scene, out, "--finish"), cache))
    assert out.read_bytes() == written.read_bytes()
