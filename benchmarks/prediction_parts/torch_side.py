"""The same networks in PyTorch, and maps as users of PyTorch make them: windows, blended.

`blended` is the loop of many repositories. `geoai` is `geoai.inference.predict_geotiff`, the
function of geoai-py, with the same network. Both add up in arrays of the size of the scene.
"""

import importlib
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from prediction_parts.cost import Cost, costed
from prediction_parts.scenes import TILE, mosaic
from rasterio.windows import Window
from reference.networks import LectureUNet
from torch import nn

from jaxseg.datasets.landscape import MEAN, STD
from jaxseg.models import PSPNet, UNet
from jaxseg.run.loaded import Run, load_run
from jaxseg.weights import pretrained

FLOAT32 = NDArray[np.float32]
THREADS = 2


class Probabilities(nn.Module):
    """A network with a softmax."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        """Holds the network and the number of its classes."""
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, K, H, W)."""
        return self.network(image).softmax(1)


def twin(run: Run) -> nn.Module:
    """The network of a run, with its weights."""
    model, network = run.config.model, None
    if isinstance(model, UNet):
        network = LectureUNet(model.num_classes, model.features)
    if isinstance(model, PSPNet):
        pspnets = importlib.import_module("reference.pspnets")  # needs torchvision
        network = PaddedToCorners(pspnets.PSPNet(model.num_classes, model.backbone))
    if network is None:
        raise ValueError(f"{type(model).__name__} has no twin here: train a UNet or a PSPNet.")
    _read_bands(network, len(run.sensor.bands))
    state = pretrained.exported(model, run.variables, strict=False)
    inside = network.network if isinstance(network, PaddedToCorners) else network
    own = inside.state_dict().keys()
    # The auxiliary head is used in training only.
    kept = {name: torch.from_numpy(value) for name, value in state.items() if name in own}
    missing, _ = inside.load_state_dict(kept, strict=False)
    left = [name for name in missing if not name.endswith("num_batches_tracked")]
    if left:
        raise ValueError(f"No weights for {left}.")
    return network.eval()


class PaddedToCorners(nn.Module):
    """Repeats the last row and column to reach 8 k + 1, as jaxseg's PSPNet does."""

    def __init__(self, network: nn.Module) -> None:
        """Holds a network that takes such sizes alone."""
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, K, H, W)."""
        height, width = image.shape[2:]
        around = (0, -(width - 1) % 8, 0, -(height - 1) % 8)
        padded = nn.functional.pad(image, around, mode="replicate")
        return self.network(padded)[:, :, :height, :width]


def check_twin(name: str, tile: int) -> None:
    """Compares the logits of one tile.

    Raises:
        ValueError: They differ, so that a comparison would mean nothing.
    """
    run, image = load_run(name), mosaic(-(-tile // TILE))[0][:tile, :tile]
    with torch.inference_mode():
        found = twin(run)(torch.from_numpy(standardized(np.moveaxis(image, -1, 0))[None]))
    expected = np.moveaxis(run.logits(image), -1, 0)
    largest = float(np.abs(found[0].numpy() - expected).max() / np.abs(expected).max())
    if largest > 1e-4:
        raise ValueError(f"The logits in PyTorch differ by {largest:.2g} of the largest one.")


def _read_bands(network: nn.Module, bands: int) -> None:
    """Makes the first convolution read so many bands."""
    name, old = next(m for m in network.named_modules() if isinstance(m[1], nn.Conv2d))
    first = nn.Conv2d(
        bands,
        old.out_channels,
        old.kernel_size,
        old.stride,
        old.padding,
        bias=old.bias is not None,
    )
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, first)


def standardized(image: NDArray[np.generic]) -> FLOAT32:
    """(C, H, W) as the run's radiometry makes it."""
    mean, std = (np.array(a, np.float32)[:, None, None] for a in (MEAN["optical"], STD["optical"]))
    return (image.astype(np.float32) - mean) / std


def whole_map(
    tool: str, name: str, scene: Path, out: Path, tile: int, overlap: int, batch: int, layout: str
) -> Cost:
    """Cost of the map of a scene, after one batch of tiles."""
    torch.set_num_threads(THREADS)
    run = load_run(name)
    network = Probabilities(twin(run), len(run.classes))
    if layout == "channels_last":
        network = network.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        network(torch.zeros(batch, len(MEAN["optical"]), tile, tile))
    make = {"loop": blended, "geoai": geoai}[tool]
    out.unlink(missing_ok=True)
    return costed(partial(make, network, scene, out, tile, overlap, batch))


def blended(
    network: Probabilities, scene: Path, out: Path, tile: int, overlap: int, batch: int
) -> None:
    """Overlapping windows, whose weight falls towards their edges over the overlap."""
    with rasterio.open(scene) as file:
        height, width, form = file.height, file.width, file.profile
        rows, columns = (starts(length, tile, overlap) for length in (height, width))
        places = [(y, x) for y in rows for x in columns]
        weight = window_weight(tile, overlap)
        sums = np.zeros((network.classes, height, width), np.float32)
        weights = np.zeros((height, width), np.float32)
        for first in range(0, len(places), batch):
            chosen = places[first : first + batch]
            images = [file.read(window=Window(x, y, tile, tile)) for y, x in chosen]
            image = torch.from_numpy(np.stack([standardized(image) for image in images]))
            with torch.inference_mode():
                found = network(image).numpy()
            for (y, x), probabilities in zip(chosen, found, strict=True):
                sums[:, y : y + tile, x : x + tile] += probabilities * weight
                weights[y : y + tile, x : x + tile] += weight
    sums /= weights
    classes = sums.argmax(0).astype(np.uint8)
    form |= {"count": 1, "dtype": "uint8", "nodata": 255, "compress": "deflate", "predictor": 1}
    with rasterio.open(out, "w", **form) as file:
        file.write(classes, 1)


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where windows begin; the last one ends with the scene. geoai's are the same."""
    return sorted({min(start, length - tile) for start in range(0, length, tile - overlap)})


def window_weight(tile: int, overlap: int) -> FLOAT32:
    """(tile, tile): 1 in the middle, falling linearly over the overlap."""
    places = np.arange(tile, dtype=np.float32) + 0.5
    along = np.minimum(1, np.minimum(places, tile - places) / max(overlap, 1))
    along = along if overlap else np.ones_like(along)
    return np.outer(along, along)


def geoai(
    network: Probabilities, scene: Path, out: Path, tile: int, overlap: int, batch: int
) -> None:
    """geoai-py's function, with its default blending."""
    inference = importlib.import_module("geoai.inference")
    inference.predict_geotiff(
        network,
        str(scene),
        str(out),
        tile_size=tile,
        overlap=overlap,
        batch_size=batch,
        num_classes=network.classes,
        output_dtype="uint8",
        output_nodata=255,
        preprocess_fn=standardized,
        postprocess_fn=lambda found: found.argmax(0),
        compress="deflate",
        verbose=False,
    )


def one_pass(name: str, scene: Path, margin: int) -> NDArray[np.uint8]:
    """Classes of the whole scene as one image that is mirrored beyond its ends."""
    torch.set_num_threads(THREADS)
    network = twin(load_run(name))
    with rasterio.open(scene) as file:
        image = standardized(file.read())
    around = ((0, 0), (margin, margin), (margin, margin))
    with torch.inference_mode():
        found = network(torch.from_numpy(np.pad(image, around, "reflect")[None]))
    classes = found[0, :, margin:-margin, margin:-margin].argmax(0).numpy()
    return classes.astype(np.uint8)


def mebibytes(tool: str, side: int, classes: int) -> float:
    """MiB of the arrays of the size of a square scene that a tool holds at once."""
    pixel = {
        # Sums and weights in float32; the classes first as int64.
        "loop": 4 * classes + 4 + 8,
        # Sums and weights in float64; sums / weights, and then np.where of it, in float64.
        "geoai": 8 * classes + 8 + 2 * 8 * classes,
    }[tool]
    return pixel * side**2 / 2**20
