"""CPU seconds of a step as a ratio to PyTorch, on the same machine at the same time.

    python benchmarks/step_ratio.py [--only unet deeplabv3 ...] [--rounds 5] [--size 256]

Both frameworks run the same networks with the same weights on the same data, in turns, so that
other load on the machine slows both. CPU seconds (`time.process_time`, all threads) are measured,
because they do not depend on the number of free cores. PyTorch's threads are set to sleep while
they wait: by default they spin, which on a busy machine cost PyTorch up to half as much again and
would favour JAX. PyTorch runs in both of its memory layouts, and ratios are to the faster one.
Inference is the evaluation-mode forward pass, of the whole batch at once and, as a second variant,
of one image after the other within one program (smaller buffers, fewer page faults). Training is
forward, cross-entropy, backward, SGD with momentum, new batch statistics.

Both run in one process whose allocator keeps freed memory, as in jaxseg's commands
(`jaxseg.cli.memory`); `--allocator default` keeps Python's default.

Needs `pip install torch`, and for some networks `torchvision` and `segmentation-models-pytorch`,
without which these are skipped; the library itself never imports them. The logits of both are
compared first, to make sure that both networks are the same.
"""

import argparse
import copy
import importlib
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when PyTorch is imported

import flax.linen
import jax
import numpy as np
import plain_training
import torch
from plain_training import LEARNING_RATE, MOMENTUM, PyTree
from reference import attention_networks as torch_attention_networks
from reference import networks as torch_networks
from torch import nn
from torch.nn import functional

from jaxseg.cli.memory import keep_freed_memory
from jaxseg.models import (
    AttentionUNet,
    CHWSUNet,
    DeepLabV3,
    DeepLabV3Plus,
    GridAttentionUNet,
    LecturePSPNet,
    LinkNet,
    OriginalUNet,
    PSPNet,
    ResNetUNet,
    UNet,
    UNet3Plus,
    UNetPlusPlus,
)
from jaxseg.weights import pretrained

Step = Callable[[], None]


class Case(NamedTuple):
    """A network in JAX and a constructor of the same network in PyTorch.

    Attributes:
        title: For the table.
        ours: Its field `num_classes` is what the maker is called with.
        theirs: Called when needed, because it may need a package that is not there.
        batch: Images per step.
        more: Rows and columns beyond the size asked for, for the network of unpadded convolutions.
    """

    title: str
    ours: flax.linen.Module
    theirs: Callable[[int], nn.Module]
    batch: int = 2
    more: int = 0


def smp(name: str, backbone: str) -> Callable[[int], nn.Module]:
    """A network of segmentation_models_pytorch, without pretrained weights."""
    return lambda classes: getattr(importlib.import_module("segmentation_models_pytorch"), name)(
        backbone, encoder_weights=None, classes=classes
    )


def torchvision_deeplab(num_classes: int) -> nn.Module:
    """Torchvision's deeplabv3_resnet50, output stride 8, without its auxiliary head."""
    networks = importlib.import_module("torchvision.models.segmentation")
    return networks.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=False
    )


def pspnet(name: str) -> Callable[[int], nn.Module]:
    """A network of `reference.pspnets`, which needs torchvision."""
    return lambda classes: getattr(importlib.import_module("reference.pspnets"), name)(classes)


SMP_PLUS = DeepLabV3Plus(
    21,
    atrous_rates=(12, 24, 36),
    first_rate="own",
    separable=True,
    pyramid_conv=True,
    low_first=False,
    align_corners=True,
    dropout=0.5,
)

CASES = {
    "unet": Case("U-Net, 32 features", UNet(2), torch_networks.LectureUNet, batch=4),
    "original_unet": Case(
        "U-Net of 2015", OriginalUNet(2, context="valid"), torch_networks.OriginalUNet, more=12
    ),
    "resnet_unet": Case("U-Net, ResNet-34", ResNetUNet(21), smp("Unet", "resnet34")),
    "unet_plus_plus": Case(
        "U-Net++, ResNet-18", UNetPlusPlus(21, "resnet18"), smp("UnetPlusPlus", "resnet18")
    ),
    "unet3plus": Case("U-Net 3+", UNet3Plus(21), torch_networks.UNet3Plus),
    "attention_unet": Case(
        "Attention U-Net", AttentionUNet(21), torch_attention_networks.AttentionUNet
    ),
    "grid_attention_unet": Case(
        "Attention U-Net, the authors'",
        GridAttentionUNet(21),
        torch_attention_networks.GridAttentionUNet,
    ),
    "chws_unet": Case(
        "CHWS-UNet, as coded", CHWSUNet(21, axis="reshape"), torch_attention_networks.CHWSUNet
    ),
    "linknet": Case("LinkNet", LinkNet(21), torch_networks.LinkNetBase),
    "pspnet": Case("PSPNet-ResNet-50", PSPNet(21, aux_head=False), pspnet("PSPNet"), more=1),
    "lecture_pspnet": Case("The lecture's PSPNet", LecturePSPNet(21), pspnet("LecturePSPNet")),
    "deeplabv3": Case("DeepLabV3-ResNet-50, stride 8", DeepLabV3(21), torchvision_deeplab),
    "deeplab_plus": Case(
        "DeepLabV3+-ResNet-50, stride 16", SMP_PLUS, smp("DeepLabV3Plus", "resnet50")
    ),
}


def main() -> None:
    """Runs what the arguments ask for, and writes a table of all at the end."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="NETWORK")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=256, help="rows and columns of the images")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch")
    parser.add_argument("--allocator", choices=("keep", "default"), default="keep")
    arguments = parser.parse_args()
    if arguments.allocator == "keep":
        keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rows = []
    for key in arguments.only:
        case = CASES[key]
        try:
            theirs = case.theirs(case.ours.num_classes)
        except ImportError as missing:
            say(f"\n{case.title}: left out, {missing}")
            continue
        size = arguments.size + case.more
        shape = (case.batch, size, size, 3)
        say(f"\n{case.title}, {case.batch} x {size} x {size} x 3, CPU seconds per step (median)")
        rows.append((case.title, *compare(case.ours, theirs, shape, arguments.rounds)))
    say("\n| network | training | inference | inference one by one |\n|---|---|---|---|")
    for title, *ratios in rows:
        say(f"| {title} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")


def compare(
    ours: flax.linen.Module, theirs: nn.Module, shape: tuple[int, int, int, int], rounds: int
) -> tuple[float, float, float]:
    """Prints the medians; returns the ratios of training, inference and inference one by one."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal(shape, dtype=np.float32)
    state = {name: value.numpy().copy() for name, value in theirs.state_dict().items()}
    variables = jax.device_put(pretrained.load(ours, state))

    infer = jax.jit(partial(ours.apply, train=False))
    logits = np.asarray(infer(variables, image))
    with torch.inference_mode():
        reference = their_logits(theirs.eval(), torch.from_numpy(image.transpose(0, 3, 1, 2)))
    reference = reference.permute(0, 2, 3, 1).numpy()
    difference = np.abs(logits - reference).max() / np.abs(reference).max()
    say(f"same logits: largest difference {difference:.1e} of the largest logit")
    label = rng.integers(0, ours.num_classes, logits.shape[:3])

    steps: dict[str, dict[str, Step]] = {"training": {}, "inference": {}}
    steps["inference"]["jaxseg"] = lambda: jax.block_until_ready(infer(variables, image))
    one_by_one = jax.jit(lambda v, x: jax.lax.map(lambda i: ours.apply(v, i[None], train=False), x))
    steps["inference"]["jaxseg one by one"] = lambda: jax.block_until_ready(
        one_by_one(variables, image)
    )
    steps["training"]["jaxseg"] = our_training(ours, variables, image, label)
    for layout in (torch.contiguous_format, torch.channels_last):
        name = f"torch {str(layout).removeprefix('torch.')}"
        inference, training = their_steps(theirs, image, label, layout)
        steps["inference"][name], steps["training"][name] = inference, training

    ratios = []
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
            if name.startswith("jaxseg"):
                ratios.append(value / best)
    training, inference, alone = ratios
    return training, inference, alone


def their_logits(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Torchvision's networks answer with a dictionary."""
    answer = model(x)
    logits: torch.Tensor = answer["out"] if isinstance(answer, dict) else answer
    return logits


def our_training(
    model: flax.linen.Module, variables: PyTree, image: np.ndarray, label: np.ndarray
) -> Step:
    """One jitted step with donated state."""
    update = plain_training.make_update(model)
    box = [plain_training.start(variables)]

    def step() -> None:
        box[0] = jax.block_until_ready(update(box[0], image, label, jax.random.key(0)))

    return step


def their_steps(
    model: nn.Module,
    image: np.ndarray,
    label: np.ndarray,
    layout: torch.memory_format,
) -> tuple[Step, Step]:
    """Inference and training in one memory layout, from the same weights."""
    model = copy.deepcopy(model).to(memory_format=layout)
    x = torch.from_numpy(image.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)
    y = torch.from_numpy(label)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)

    def inference() -> None:
        model.eval()
        with torch.inference_mode():
            their_logits(model, x)

    def training() -> None:
        model.train()
        optimizer.zero_grad()
        functional.cross_entropy(their_logits(model, x), y).backward()
        optimizer.step()

    return inference, training


def say(line: str) -> None:
    """Writes a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
