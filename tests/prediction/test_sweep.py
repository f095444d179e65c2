"""Tiles put together are the whole scene: the same probabilities, wherever a tile ends."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from fixtures.networks import drawn, shapes
from numpy.typing import NDArray

from jaxseg.config import Config
from jaxseg.datasets import Landscape
from jaxseg.models import PSPNet, UNet
from jaxseg.models.receptive_field import sight
from jaxseg.models.structure import output_stride
from jaxseg.pipeline import Data
from jaxseg.prediction.image import reflected
from jaxseg.prediction.network import Augmentation, TileNetwork
from jaxseg.prediction.sweep import sweep
from jaxseg.prediction.tiling import Grid, grid_for
from jaxseg.run.loaded import Run
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import Sensor
from jaxseg.sharding import MeshShape, make_mesh
from jaxseg.transforms import Standardize


class Array:
    """A scene in memory."""

    def __init__(self, image: NDArray[Any], valid: NDArray[np.bool_]) -> None:  # noqa: D107
        self.image, self.valid, self.asked = image, valid, []  # type: ignore[var-annotated]

    def padded(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window, mirrored beyond the ends."""
        self.asked.append(window)
        rows = reflected(window.y, window.height, self.image.shape[0])
        columns = reflected(window.x, window.width, self.image.shape[1])
        place = np.ix_(rows, columns)
        return self.image[place], self.valid[place]


def run(model: Any, bands: int = 3) -> Run:
    """Random weights."""
    config = Config(
        model=model,
        data=Data(source=Landscape(), crop=64, batch_size=2),
        preprocess=(Standardize((100.0,) * bands, (40.0,) * bands),),
        sensor=Sensor(tuple(f"band{number}" for number in range(1, bands + 1))),
    )
    return Run(config, 7, drawn(shapes(model, bands=bands)), 1.3)


@pytest.fixture(scope="module")
def small() -> Run:
    return run(UNet(num_classes=len(Landscape().classes), features=2))


@pytest.fixture(scope="module")
def exact(small: Run) -> Grid:
    """Tiles that see as much as the whole scene does."""
    stride = output_stride(small.config.model)
    seen = sight(small.config.model, stride)
    assert seen is not None
    grid, equal = grid_for(border=seen.border, stride=stride, crop=64, tile=448)
    assert equal
    return grid


def scene(height: int, width: int, seed: int = 0) -> Array:
    image = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return Array(image, np.ones((height, width), bool))


def one_device() -> jax.sharding.Mesh:
    return make_mesh(MeshShape(), jax.devices()[:1])


def gathered(network: TileNetwork, given: Array, window: Window, batch: int = 3) -> NDArray[Any]:
    """(K, h, w) of a window."""
    parts = [
        part._replace(probabilities=part.probabilities.copy())
        for part in sweep(network, given, window, batch)
    ]
    assert [p.first for p in parts] == list(
        np.cumsum([window.y, *(len(p.valid) for p in parts[:-1])])
    )
    return np.concatenate([p.probabilities for p in parts], 1)


def whole(network: Run, given: Array, around: int) -> NDArray[Any]:
    """(K, H, W) by one pass over the mirrored scene."""
    height, width = given.valid.shape
    image, valid = given.padded(Window(-around, -around, height + 2 * around, width + 2 * around))
    found = network.probabilities(image, valid)[around:, around:][:height, :width]
    return np.moveaxis(found, -1, 0)


@pytest.mark.parametrize("size", [(150, 203), (64, 40), (1, 500)])
def test_a_tiled_map_is_that_of_one_pass_over_the_scene(
    small: Run, exact: Grid, size: tuple[int, int]
) -> None:
    assert 4 * exact.margin <= exact.size
    given = scene(*size)
    given.valid[:, size[1] // 3 : size[1] // 2] = False
    tiled = gathered(TileNetwork([small], one_device(), exact), given, Window(0, 0, *size))
    valid = given.valid
    # 16 pixels more: the scene does not end with a whole stride, beyond which its edge is repeated.
    expected = whole(small, given, exact.margin + 16)
    np.testing.assert_allclose(np.log(tiled[:, valid]), np.log(expected[:, valid]), atol=1e-4)


@pytest.mark.parametrize("ramp", [0, 32])
def test_a_pixel_is_the_same_in_every_window(small: Run, ramp: int) -> None:
    network = TileNetwork([small], one_device(), Grid(96, 16, ramp))
    given = scene(230, 190)
    full = gathered(network, given, Window(0, 0, 230, 190))
    np.testing.assert_allclose(full.sum(0), 1, atol=1e-5)
    for window in (Window(0, 0, 1, 1), Window(77, 30, 100, 160), Window(229, 5, 1, 185)):
        part = gathered(network, given, window)
        inside = full[:, window.y :, window.x :][:, : window.height, : window.width]
        np.testing.assert_array_equal(part, inside)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_batches_go_on_from_one_row_of_tiles_to_the_next(small: Run, batch: int) -> None:
    network, sizes = TileNetwork([small], one_device(), Grid(64, 16, 0)), []
    given = scene(96, 320)
    given.valid[32:64] = False  # a row of tiles without data

    class Counted:
        grid, channels, dtype = network.grid, network.channels, network.dtype

        def __call__(self, image: Any, valid: Any) -> Any:
            sizes.append(len(image))
            return network(image, valid)

    found = gathered(Counted(), given, Window(0, 0, 96, 320), batch)  # type: ignore[arg-type]
    assert sizes == [batch] * -(-2 * 10 // batch)
    expected = gathered(network, given, Window(0, 0, 96, 320), batch=10)
    np.testing.assert_allclose(found[:, given.valid], expected[:, given.valid], atol=1e-6)


@pytest.mark.parametrize("augmentation", ["none", "flips"])
def test_where_classes_are_enough_they_are_those_of_the_probabilities(
    small: Run, augmentation: Augmentation
) -> None:
    given = scene(96, 150)
    networks = [
        TileNetwork([small], one_device(), Grid(64, 16, 0), augmentation=augmentation, **more)
        for more in ({}, {"classes_only": True})
    ]
    probabilities, classes = (gathered(n, given, Window(0, 0, 96, 150)) for n in networks)
    assert (classes.dtype, classes.shape) == (np.uint8, (1, 96, 150))
    np.testing.assert_array_equal(classes[0], probabilities.argmax(0))


def test_tiles_that_share_pixels_answer_with_probabilities(small: Run) -> None:
    network = TileNetwork([small], one_device(), Grid(64, 16, 16), classes_only=True)
    assert (network.dtype, network.channels) == (np.float32, network.classes)


def test_tiles_without_data_never_reach_the_device(small: Run) -> None:
    grid = Grid(64, 16, 0)
    network, batches = TileNetwork([small], one_device(), grid), []
    given = scene(96, 320)
    given.valid[:, 40:] = False

    class Counted:
        grid, channels, dtype = network.grid, network.channels, network.dtype

        def __call__(self, image: Any, valid: Any) -> Any:
            batches.append(valid.any((1, 2)))
            return network(image, valid)

    gathered(Counted(), given, Window(0, 0, 96, 320), batch=1)  # type: ignore[arg-type]
    assert len(batches) == 3 * 2  # of 3 rows of 10 tiles
    assert all(found.all() for found in batches)


def test_an_invalid_pixel_changes_nothing_beyond_the_receptive_field(
    small: Run, exact: Grid
) -> None:
    network = TileNetwork([small], one_device(), exact)
    given = scene(32, 400)
    before = gathered(network, given, Window(0, 0, 32, 400))
    given.valid[:, 0] = False
    given.image[:, 0] = 255
    after = gathered(network, given, Window(0, 0, 32, 400))
    changed = np.nonzero(np.abs(after - before).max((0, 1)) > 0)[0]
    assert 0 < changed.max() <= exact.margin
    np.testing.assert_array_equal(
        after[:, :, 1 + changed.max() :], before[:, :, 1 + changed.max() :]
    )


@pytest.mark.parametrize(
    "shape", [MeshShape(data=8), MeshShape(data=2, space=4), MeshShape(data=1, space=8)]
)
def test_eight_devices_map_as_one(small: Run, shape: MeshShape) -> None:
    grid = Grid(128, 16, 32)
    given, window = scene(100, 300), Window(0, 0, 100, 300)
    one = gathered(TileNetwork([small], one_device(), grid), given, window)
    many = gathered(TileNetwork([small], make_mesh(shape), grid), given, window, batch=8)
    np.testing.assert_allclose(many, one, atol=1e-5)


def test_symmetries_are_undone_exactly(small: Run) -> None:
    """Of a scene that is its own mirror image and turn, so is the mean over all of them."""
    given = scene(64, 64)
    corner = given.image[:32, :32]
    corner = corner + np.swapaxes(corner, 0, 1)  # along the diagonal
    half = np.concatenate([corner, corner[:, ::-1]], 1)
    given.image = np.concatenate([half, half[::-1]], 0)
    network = TileNetwork([small], one_device(), Grid(64, 0, 0), augmentation="dihedral")
    found = gathered(network, given, Window(0, 0, 64, 64))
    for turns in range(4):
        turned = np.rot90(found, turns, axes=(1, 2))
        np.testing.assert_allclose(turned, found, atol=1e-5)
        np.testing.assert_allclose(turned[:, ::-1], found, atol=1e-5)


def test_an_ensemble_is_the_mean_of_its_networks(small: Run) -> None:
    other = dataclasses.replace(small, variables=jax.tree.map(lambda x: x * 0.9, small.variables))
    given, window, grid = scene(64, 64), Window(0, 0, 64, 64), Grid(64, 0, 0)
    each = [gathered(TileNetwork([r], one_device(), grid), given, window) for r in (small, other)]
    both = gathered(TileNetwork([small, other], one_device(), grid), given, window)
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2, atol=1e-6)


def test_a_network_that_sees_everything_is_blended() -> None:
    model = PSPNet(num_classes=3, backbone="resnet18")
    assert grid_for(border=None, stride=8, crop=64) == (Grid(512, 32, 64), False)
    assert model.bins


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("known", [0, 1, 7])
def test_rows_without_data_are_handed_on_and_not_kept(small: Run, batch: int, known: int) -> None:
    """A swath may leave most of a scene empty, of any height."""
    network = TileNetwork([small], one_device(), Grid(64, 16, 0))
    given = scene(40 * 32, 64)
    given.valid[:] = False
    given.valid[: known * 32, :20] = True
    ahead, before = [], 0
    for part in sweep(network, given, Window(0, 0, 40 * 32, 64), batch):
        assert part.first == before
        before += len(part.valid)
        ahead.append(max(window.y for window in given.asked) - part.first)
    assert before == 40 * 32
    # Three batches of one tile from each row, and what is read ahead: not the 40 rows of the scene.
    assert max(ahead) <= (3 * batch + 8) * 32
