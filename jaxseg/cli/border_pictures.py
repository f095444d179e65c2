"""Pictures of the edge-weighted loss: image, classes, and the weight of every pixel."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.losses.pixels import EdgeWeightedCrossEntropy
from jaxseg.pictures import tiles as pictures
from jaxseg.pipeline import windows as pipeline
from jaxseg.run import completion
from jaxseg.scenes.scene import IGNORE, Window

_TITLES = ("image", "classes", "weight of the pixel over the image")


class _Tile(NamedTuple):
    name: str
    rgb: NDArray[np.uint8]  # (H, W, 3)
    label: NDArray[np.uint8]  # (H, W)
    weight: NDArray[np.float32]  # (H, W), NaN where there is no loss


def border_figure(config: Config, split: str, count: int) -> Figure:
    """The middle of some scenes with the weights of the config's edge-weighted loss.

    For a config without such a loss, that of the U-Net paper is used.

    Args:
        config: A run's config; only its source, loss and window sizes are used.
        split: `train`, `validation` or `test`.
        count: Number of scenes, evenly spaced over the split.

    Raises:
        UserError: The split is empty or cannot be read, or the number of class weights is not the
            number of classes.
    """
    loss = _loss(config)
    config = dataclasses.replace(config, loss={"edge": loss}, preprocess=(), augment=())
    config = completion.completed(config)
    loss, data = _loss(config), config.data  # a rule of class weights has become numbers
    scenes = data.source.scenes(split)
    if not len(scenes):
        raise UserError(f"The split {split} holds no scene. Check the source's paths and split.")
    weights = np.asarray(loss.class_weights or (1.0,) * len(data.source.classes), np.float32)
    if len(weights) != len(data.source.classes):
        raise UserError(
            f"{len(weights)} class weights for {len(data.source.classes)} classes: give one each."
        )
    tiles = []
    side = data.evaluation_crop or data.crop
    for scene in np.unique(np.linspace(0, len(scenes) - 1, count).astype(int)).tolist():
        height, width = scenes.size(scene)
        rows, columns = min(side, height), min(side, width)
        window = Window((height - rows) // 2, (width - columns) // 2, rows, columns)
        sample = pipeline.read_window(scenes, scene, window, data, completion.inputs_of(config))
        label = sample["label"].astype(np.uint8)
        valid = sample["valid"].astype(bool)
        gap = sample["separation"].astype(np.float32)
        term = loss.w0 * np.exp(-np.square(gap) / (2 * loss.sigma**2))
        counted = valid & (label != IGNORE)
        weight = np.where(counted, weights[np.where(counted, label, 0)] + term, np.nan)
        rgb = pictures.stretch(data.source.rgb(sample["image"]), valid)
        name = f"{scenes.name(scene)}, row {window.y}, column {window.x}"
        tiles.append(_Tile(name, rgb, label, weight))
    formula = f"w(x) = wc + {loss.w0:g} exp(-(d1 + d2)² / (2 · {loss.sigma:g}²))"
    return _draw(tiles, f"{formula},  {split} split", float(weights.max() + loss.w0), config)


def _loss(config: Config) -> EdgeWeightedCrossEntropy:
    for loss in config.loss.values():
        if isinstance(loss, EdgeWeightedCrossEntropy):
            return loss
    return EdgeWeightedCrossEntropy()


def _draw(tiles: list[_Tile], title: str, highest: float, config: Config) -> Figure:
    source = config.data.source
    heights = [2.9 * min(1.6, tile.label.shape[0] / tile.label.shape[1]) + 0.35 for tile in tiles]
    figure = Figure(figsize=(10.4, sum(heights) + 1.0), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid: Any = figure.subplots(len(tiles), 3, squeeze=False, height_ratios=heights)
    shown: Any = None
    for axes, tile in zip(grid, tiles, strict=True):
        gray = tile.rgb.mean(-1).astype(np.uint8)
        axes[0].imshow(tile.rgb)
        axes[1].imshow(pictures.colorize(tile.label, source.colors), interpolation="nearest")
        axes[2].imshow(gray, cmap="gray", vmin=0, vmax=255)
        low = float(np.nanmin(tile.weight)) if np.isfinite(tile.weight).any() else 0.0
        opacity = np.clip(np.nan_to_num(2.5 * (tile.weight - low) / highest), 0, 1)
        shown = axes[2].imshow(
            tile.weight,
            alpha=opacity,
            cmap="inferno",
            vmin=0,
            vmax=highest,
            interpolation="nearest",
        )
        name = tile.name if len(tile.name) <= 70 else "…" + tile.name[-69:]
        axes[0].set_xlabel(name.replace("$", r"\$"), fontsize=7, loc="left")
        for axis in axes:
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, heading in zip(grid[0], _TITLES, strict=True):
        axis.set_title(heading, fontsize=10, fontweight="bold")
    bar = figure.colorbar(shown, ax=grid[:, 2].tolist(), shrink=min(1.0, 3 / len(tiles)), aspect=30)
    bar.set_label("weight of one pixel in the loss (no unit)", fontsize=9)
    present = sorted({int(k) for tile in tiles for k in np.unique(tile.label) if k != IGNORE})
    red, green, blue = zip(*source.colors, strict=True)
    handles = [
        Patch(
            facecolor=(red[k] / 255, green[k] / 255, blue[k] / 255),
            edgecolor="0.3",
            label=source.classes[k].replace("$", r"\$"),
        )
        for k in present
    ]
    columns = max(1, min(len(handles), 8))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=9)
    return figure
