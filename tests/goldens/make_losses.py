"""Writes losses.json: what PyTorch answers for every loss, value and gradient; see README.md.

Each loss is written as its paper or reference code has it: pixels that are not labelled are removed
before anything is computed, classes are picked by indices, ranks come from torch.sort.

    python make_losses.py          (needs torch; nothing else here does)
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

SIZE = (3, 6, 5)
CLASSES = 4
IGNORE = 255
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 3.0], dtype=torch.float64)

Tensor = torch.Tensor


def inputs() -> tuple[Tensor, Tensor]:
    """The rule by which both sides make logits (B, H, W, K) and labels (B, H, W)."""
    rng = np.random.default_rng(7)
    logits = 2 * rng.standard_normal((*SIZE, CLASSES)).astype(np.float32)
    label = rng.integers(0, 3, SIZE)  # the last class is absent
    label[0, :2] = IGNORE
    label[2, :, 3] = IGNORE
    return torch.tensor(logits, dtype=torch.float64), torch.tensor(label)


def pixels(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    keep = label != IGNORE
    return logits[keep], label[keep]


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    x = logits.movedim(-1, 1)
    return F.cross_entropy(x, label, WEIGHTS, ignore_index=IGNORE, label_smoothing=0.1)


def binary(logits: Tensor, label: Tensor) -> Tensor:
    x, y = pixels(logits, label)
    return F.binary_cross_entropy_with_logits(x, F.one_hot(y, CLASSES).double())


def binary_of_one_logit(logits: Tensor, label: Tensor) -> Tensor:
    x, y = pixels(logits, label)
    return F.binary_cross_entropy_with_logits(x[:, 0], (y == 1).double())


def focal(logits: Tensor, label: Tensor) -> Tensor:
    x, y = pixels(logits, label)
    ce = F.cross_entropy(x, y, reduction="none")
    weight = WEIGHTS[y]
    return (weight * (1 - torch.exp(-ce)) ** 2 * ce).sum() / weight.sum()


def hard_pixels(logits: Tensor, label: Tensor) -> Tensor:
    x, y = pixels(logits, label)
    ce = F.cross_entropy(x, y, reduction="none")
    return ce.topk(-(-len(ce) * 3 // 10)).values.mean()


def symmetric(logits: Tensor, label: Tensor) -> Tensor:
    x, y = pixels(logits, label)
    one_hot = F.one_hot(y, CLASSES).double().clamp(min=np.exp(-4.0))
    reverse = -(x.softmax(-1) * one_hot.log()).sum(-1).mean()
    return 0.1 * F.cross_entropy(x, y) + reverse


def dice_of_brain_segmentation(logits: Tensor, label: Tensor) -> Tensor:
    # A sigmoid over the difference of two logits, everything flattened, smooth 1.
    x, y = pixels(logits, label)
    p, t = torch.sigmoid(x[:, 1] - x[:, 0]), (y == 1).double()
    return 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def dice_of_oktay(logits: Tensor, label: Tensor) -> Tensor:
    scores = []
    for one, truth in zip(logits, label, strict=True):
        x, y = pixels(one, truth)
        p, t = x.softmax(-1), F.one_hot(y, CLASSES).double()
        union = p.sum(0) + t.sum(0) + 0.01
        scores.append(2 * ((p * t).sum(0) + 0.01) / union)
    return 1 - torch.stack(scores).mean()


def generalised_dice(logits: Tensor, label: Tensor) -> Tensor:
    x, y = pixels(logits, label)
    p, t = x.softmax(-1), F.one_hot(y, CLASSES).double()
    present = t.sum(0) > 0
    p, t = p[:, present], t[:, present]
    w = 1 / t.sum(0) ** 2
    return 1 - 2 * (w * (p * t).sum(0)).sum() / (w * (p + t).sum(0)).sum()


def jaccard(logits: Tensor, label: Tensor) -> Tensor:
    x, y = pixels(logits, label)
    terms, weights = [], []
    for k in y.unique():
        p, t = x.softmax(-1)[:, k], (y == k).double()
        met = (p * t).sum()
        terms.append(WEIGHTS[k] * (1 - met / (p.sum() + t.sum() - met)))
        weights.append(WEIGHTS[k])
    return sum(terms) / sum(weights)


def focal_tversky(logits: Tensor, label: Tensor) -> Tensor:
    x, y = pixels(logits, label)
    terms = []
    for k in y.unique():
        p, t = x.softmax(-1)[:, k], (y == k).double()
        met, alarms, misses = (p * t).sum(), (p * (1 - t)).sum(), ((1 - p) * t).sum()
        index = (met + 1) / (met + 0.3 * alarms + 0.7 * misses + 1)
        terms.append((1 - index) ** 0.75)
    return torch.stack(terms).mean()


def lovasz(logits: Tensor, label: Tensor) -> Tensor:
    x, y = pixels(logits, label)
    terms = []
    for k in y.unique():
        p, t = x.softmax(-1)[:, k], (y == k).double()
        errors, order = (t - p).abs().sort(descending=True)
        t = t[order]
        union = t.sum() + (1 - t).cumsum(0)
        loss = 1 - (t.sum() - t.cumsum(0)) / union
        steps = torch.cat((loss[:1], loss[1:] - loss[:-1]))
        terms.append((errors * steps).sum())
    return torch.stack(terms).mean()


def edge_weighted(logits: Tensor, label: Tensor) -> Tensor:
    # d1 + d2 of a pixel is its number in reading order, 0 to 89, over 4.
    x = logits.movedim(-1, 1)
    gap = torch.arange(label.numel(), dtype=torch.float64).reshape(label.shape) / 4
    keep = label != IGNORE
    weight = WEIGHTS[label.where(keep, 0)] + 10 * torch.exp(-(gap**2) / 50)
    ce = F.cross_entropy(x, label, ignore_index=IGNORE, reduction="none")
    return (weight * ce)[keep].sum() / weight[keep].sum()


def presence(logits: Tensor, label: Tensor) -> Tensor:
    # The logits of an image are the mean over all its pixels.
    present = torch.stack([torch.stack([(y == k).any() for k in range(CLASSES)]) for y in label])
    return F.binary_cross_entropy_with_logits(logits.mean((1, 2)), present.double(), WEIGHTS)


def answer(loss: Callable[[Tensor, Tensor], Tensor], channels: int) -> dict[str, object]:
    logits, label = inputs()
    logits = logits[..., :channels].clone().requires_grad_()
    if channels < CLASSES:
        label[label == 2] = 0
    value = loss(logits, label)
    value.backward()
    gradient = logits.grad.flatten().tolist()
    return {"value": value.item(), "gradient": [float(f"{g:.9g}") for g in gradient]}


CASES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int]] = {
    "cross_entropy": (cross_entropy, CLASSES),
    "binary": (binary, CLASSES),
    "binary_of_one_logit": (binary_of_one_logit, 1),
    "focal": (focal, CLASSES),
    "hard_pixels": (hard_pixels, CLASSES),
    "symmetric": (symmetric, CLASSES),
    "dice_of_brain_segmentation": (dice_of_brain_segmentation, 2),
    "dice_of_oktay": (dice_of_oktay, CLASSES),
    "generalised_dice": (generalised_dice, CLASSES),
    "jaccard": (jaccard, CLASSES),
    "focal_tversky": (focal_tversky, CLASSES),
    "lovasz": (lovasz, CLASSES),
    "edge_weighted": (edge_weighted, CLASSES),
    "presence": (presence, CLASSES),
}

if __name__ == "__main__":
    answers = {name: answer(loss, channels) for name, (loss, channels) in CASES.items()}
    file = Path(__file__).with_name("losses.json")
    file.write_text(
        "{\n" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in answers.items()) + "\n}\n"
    )
