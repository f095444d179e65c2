"""How many CPU seconds a step costs, as a ratio to PyTorch on the same machine in the same minutes.

    python benchmarks/step_ratio.py [--only unet|deeplab] [--rounds 5]

Both frameworks run the same networks with the same weights on the same numbers, alternating, so
that a busy neighbour slows both. CPU seconds (`time.process_time`, all threads) are counted,
because they do not depend on how many cores happen to be free. PyTorch's threads are told to sleep
while they wait: by default they spin, which on a busy machine cost it up to half as much again and
would flatter us. PyTorch runs in both of its memory layouts, and ratios are
to the faster one. Inference is the evaluation-mode forward pass, of the whole batch at once and,
as the second contender, one image after the other within one program (smaller buffers, fewer page
faults). Training is forward, cross-entropy, backward, SGD with momentum, new batch statistics.

Needs `pip install torch`; the library itself never imports it.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when PyTorch is imported

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from jaxseg import pretrained
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.unet import UNet

LEARNING_RATE, MOMENTUM = 0.01, 0.9
PyTree = dict[str, Any] | tuple[Any, ...]
Step = Callable[[], None]


def main() -> None:
    """Runs what the arguments ask for and writes one table per network."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", choices=("unet", "deeplab"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=256, help="rows and columns of the images")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    cases = {
        "unet": ("U-Net, 32 features", UNet(2), TorchUNet(2), 4),
        "deeplab": ("DeepLabV3-ResNet-50, stride 8", DeepLabV3(21), TorchDeepLabV3(21), 2),
    }
    for key, (title, ours, theirs, batch) in cases.items():
        if arguments.only in (None, key):
            size = arguments.size
            say(f"\n{title}, {batch} x {size} x {size} x 3, CPU seconds per step (median)")
            compare(ours, theirs, (batch, size, size, 3), arguments.rounds)


def compare(
    ours: flax.linen.Module, theirs: nn.Module, shape: tuple[int, int, int, int], rounds: int
) -> None:
    """Prints the medians and their ratio for inference and for training."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal(shape, dtype=np.float32)
    label = rng.integers(0, ours.num_classes, shape[:3])
    state = {name: value.numpy().copy() for name, value in theirs.state_dict().items()}
    variables = jax.device_put(pretrained.load(ours, state))

    infer = jax.jit(partial(ours.apply, train=False))
    logits = np.asarray(infer(variables, image))
    with torch.inference_mode():
        reference = theirs.eval()(torch.from_numpy(image.transpose(0, 3, 1, 2))).numpy()
    difference = np.abs(logits - reference.transpose(0, 2, 3, 1)).max() / np.abs(reference).max()
    say(f"same logits: largest difference {difference:.1e} of the largest logit")

    steps: dict[str, dict[str, Step]] = {"inference": {}, "training": {}}
    steps["inference"]["jaxseg"] = lambda: jax.block_until_ready(infer(variables, image))
    one_by_one = jax.jit(lambda v, x: jax.lax.map(lambda i: ours.apply(v, i[None], train=False), x))
    steps["inference"]["jaxseg one by one"] = lambda: jax.block_until_ready(
        one_by_one(variables, image)
    )
    steps["training"]["jaxseg"] = our_training(ours, variables, image, label)
    for layout in (torch.contiguous_format, torch.channels_last):
        name = f"torch {str(layout).removeprefix('torch.')}"
        inference, training = their_steps(theirs, state, image, label, layout)
        steps["inference"][name], steps["training"][name] = inference, training

    for kind, contenders in steps.items():
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(rounds + 1):
            for name, step in contenders.items():
                start = time.process_time()
                step()
                if turn:  # the first one compiles, or allocates
                    seconds[name].append(time.process_time() - start)
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        best = min(value for name, value in medians.items() if name.startswith("torch"))
        for name, value in medians.items():
            say(f"    {kind:10} {name:24} {value:6.2f} s   {value / best:5.2f} of PyTorch's better")


def our_training(
    model: flax.linen.Module, variables: PyTree, image: np.ndarray, label: np.ndarray
) -> Step:
    """One jitted step with donated state."""

    def loss(
        params: PyTree, stats: PyTree, image: jax.Array, label: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, PyTree]:
        logits, updates = model.apply(
            {"params": params, "batch_stats": stats},
            image,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        hit = jnp.arange(logits.shape[-1]) == label[..., None]
        of_label = jnp.where(hit, logits, 0).sum(-1)
        return (jax.nn.logsumexp(logits, -1) - of_label).mean(), updates["batch_stats"]

    @partial(jax.jit, donate_argnums=0)
    def update(state: PyTree, image: jax.Array, label: jax.Array, key: jax.Array) -> PyTree:
        params, stats, velocity = state
        grads, stats = jax.grad(loss, has_aux=True)(params, stats, image, label, key)
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, grads)
        params = jax.tree.map(lambda p, v: p - LEARNING_RATE * v, params, velocity)
        return params, stats, velocity

    own = jax.tree.map(jnp.copy, variables)
    box = [(own["params"], own["batch_stats"], jax.tree.map(jnp.zeros_like, own["params"]))]

    def step() -> None:
        box[0] = jax.block_until_ready(update(box[0], image, label, jax.random.key(0)))

    return step


def their_steps(
    model: nn.Module,
    state: dict[str, np.ndarray],
    image: np.ndarray,
    label: np.ndarray,
    layout: torch.memory_format,
) -> tuple[Step, Step]:
    """Inference and training in one memory layout, from the same weights."""
    model = type(model)(model.num_classes)
    model.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    model = model.to(memory_format=layout)
    x = torch.from_numpy(image.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)
    y = torch.from_numpy(label)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)

    def inference() -> None:
        model.eval()
        with torch.inference_mode():
            model(x)

    def training() -> None:
        model.train()
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return inference, training


def say(line: str) -> None:
    """Writes a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# -- the same two networks in PyTorch, with the names of their reference implementations -----------


class TorchUNet(nn.Module):
    """mateuszbuda/brain-segmentation-pytorch's U-Net without its sigmoid."""

    def __init__(self, num_classes: int, features: int = 32) -> None:
        """Makes the layers in the order of the reference."""
        super().__init__()
        self.num_classes = num_classes
        widths = [3, *(features * 2**i for i in range(5))]
        for i in range(1, 5):
            self.add_module(f"encoder{i}", self._block(widths[i - 1], widths[i], f"enc{i}"))
        self.bottleneck = self._block(widths[4], widths[5], "bottleneck")
        for i in range(4, 0, -1):
            self.add_module(f"upconv{i}", nn.ConvTranspose2d(widths[i + 1], widths[i], 2, 2))
            self.add_module(f"decoder{i}", self._block(widths[i + 1], widths[i], f"dec{i}"))
        self.pool = nn.MaxPool2d(2, 2)
        self.conv = nn.Conv2d(features, num_classes, 1)

    @staticmethod
    def _block(inputs: int, outputs: int, name: str) -> nn.Sequential:
        block = nn.Sequential()
        for i, channels in ((1, inputs), (2, outputs)):
            block.add_module(f"{name}conv{i}", nn.Conv2d(channels, outputs, 3, 1, 1, bias=False))
            block.add_module(f"{name}norm{i}", nn.BatchNorm2d(outputs))
            block.add_module(f"{name}relu{i}", nn.ReLU(inplace=True))
        return block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, K, H, W)."""
        skips = []
        for i in range(1, 5):
            x = self.get_submodule(f"encoder{i}")(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for i in range(4, 0, -1):
            x = self.get_submodule(f"upconv{i}")(x)
            x = self.get_submodule(f"decoder{i}")(torch.cat((x, skips[i - 1]), 1))
        return self.conv(x)


class TorchBottleneck(nn.Module):
    """torchvision's."""

    def __init__(self, inputs: int, width: int, stride: int, rate: int, project: bool) -> None:
        """`rate` and `stride` belong to the 3x3 convolution."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, rate, rate, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )
            if project
            else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, 4 width, H / stride, W / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
        return functional.relu(self.bn3(self.conv3(y)) + self.downsample(x), inplace=True)


class TorchPyramid(nn.Module):
    """torchvision's ASPP."""

    def __init__(self, inputs: int, rates: tuple[int, ...], width: int = 256) -> None:
        """1x1, the rates, the image's mean."""
        super().__init__()

        def unit(conv: nn.Conv2d) -> nn.Sequential:
            return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))

        atrous = [unit(nn.Conv2d(inputs, width, 3, 1, r, r, bias=False)) for r in rates]
        point = nn.Conv2d(inputs, width, 1, bias=False)
        mean = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), *unit(nn.Conv2d(inputs, width, 1, bias=False))
        )
        self.convs = nn.ModuleList([unit(point), *atrous, mean])
        self.project = nn.Sequential(
            *unit(nn.Conv2d(width * (len(rates) + 2), width, 1, bias=False)), nn.Dropout(0.5)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, h, w) -> (B, width, h, w)."""
        branches = [branch(x) for branch in self.convs]
        branches[-1] = functional.interpolate(branches[-1], x.shape[2:], mode="bilinear")
        return self.project(torch.cat(branches, 1))


class TorchDeepLabV3(nn.Module):
    """torchvision's deeplabv3_resnet50 without its auxiliary head."""

    def __init__(self, num_classes: int) -> None:
        """Output stride 8: layer3 and layer4 have atrous rates instead of strides."""
        super().__init__()
        self.num_classes = num_classes
        self.backbone = nn.Sequential()
        self.backbone.add_module("conv1", nn.Conv2d(3, 64, 7, 2, 3, bias=False))
        self.backbone.add_module("bn1", nn.BatchNorm2d(64))
        self.backbone.add_module("relu", nn.ReLU(inplace=True))
        self.backbone.add_module("maxpool", nn.MaxPool2d(3, 2, 1))
        inputs = 64
        plan = ((3, 1, 1, 1), (4, 2, 1, 1), (6, 1, 1, 2), (3, 1, 2, 4))
        for i, (depth, stride, first_rate, rate) in enumerate(plan, start=1):
            layer = nn.Sequential()
            for unit in range(depth):
                first = unit == 0
                layer.append(
                    TorchBottleneck(
                        inputs,
                        32 * 2**i,
                        stride if first else 1,
                        first_rate if first else rate,
                        project=first,
                    )
                )
                inputs = 128 * 2**i
            self.backbone.add_module(f"layer{i}", layer)
        self.classifier = nn.Sequential(
            TorchPyramid(inputs, (12, 24, 36)),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            nn.BatchNorm2d(256),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, num_classes, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, K, H, W)."""
        logits = self.classifier(self.backbone(x))
        return functional.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=False)


if __name__ == "__main__":
    main()
