"""The PyTorch side of `accelerator.py`: the same networks, autocast to bfloat16, channels last.

Forward, cross-entropy, backward, SGD with momentum, as in `plain_training` for JAX. cuDNN
benchmarks its kernels first (`torch.backends.cudnn.benchmark`), as XLA does.
"""

import gc
import importlib
import time
import traceback
from collections.abc import Callable

import torch
from accelerator_parts.sizes import Sizes, sizes
from accelerator_parts.workers import Facts, Note
from reference import networks as torch_networks
from torch import nn
from torch.nn import functional

LEARNING_RATE, MOMENTUM = 0.01, 0.9
SHARE = 0.28
"""Of the device's memory; the process of JAX has most of the rest."""

HELD: dict[str, Callable[[], None]] = {}
"""The steps that turns are taken with, by `eager` and `compiled`."""


def answer(request: Facts, note: Note) -> Facts:
    """Handles one request."""
    note(str(request["do"]))
    return REQUESTS[request["do"]](request, note)


def device(request: Facts, note: Note) -> Facts:
    """Whether PyTorch sees an accelerator, and its versions."""
    del request, note
    there = torch.cuda.is_available()
    return {
        "accelerator": torch.cuda.get_device_name(0) if there else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if there else None,
    }


def network(name: str, features: int, classes: int) -> nn.Module:
    """The same network as the one of that name in JAX.

    Raises:
        ImportError: It needs torchvision, which is not there.
    """
    if name in ("unet32", "unet64"):
        return torch_networks.LectureUNet(classes, features)
    if name == "original_unet":
        return torch_networks.OriginalUNet(classes, features)
    if name == "resnet_unet":
        return torch_networks.ResNetUNet(classes)
    if name == "linknet":
        return torch_networks.LinkNetBase(classes)
    if name == "pspnet":
        return importlib.import_module("reference.pspnets").PSPNet(classes)
    return _deeplab(16 if name == "deeplab16" else 8, classes)


def _deeplab(output_stride: int, classes: int) -> nn.Module:
    """Torchvision's DeepLabV3 on ResNet-50, without its auxiliary head."""
    models = importlib.import_module("torchvision.models")
    parts = importlib.import_module("torchvision.models.segmentation.deeplabv3")
    getter = importlib.import_module("torchvision.models._utils").IntermediateLayerGetter
    rates = (6, 12, 18) if output_stride == 16 else (12, 24, 36)
    dilated = [False, output_stride == 8, True]
    backbone = models.resnet50(weights=None, replace_stride_with_dilation=dilated)
    layers = getter(backbone, return_layers={"layer4": "out"})
    found: nn.Module = parts.DeepLabV3(layers, parts.DeepLabHead(2048, classes, rates), None)
    return found


def prepare(request: Facts, note: Note) -> Facts:
    """Builds network and data, takes first steps, and compiles where asked to.

    A batch that does not fit is halved. What `torch.compile` cannot do is said, not raised.
    """
    release(request, note)
    place = _place()
    if place.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(SHARE)
        torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    note(f"building {request['network']}")
    found = sizes(request["network"], request["tiny"])
    model = network(request["network"], found.features, found.classes)
    model = model.to(place, memory_format=torch.channels_last).train()
    facts: Facts = {"parameters": sum(p.numel() for p in model.parameters())}
    batch = request["batch"]
    while True:
        try:
            HELD["eager"] = _step(model, request["network"], found, batch, place)
            note(f"first steps at batch {batch}")
            _take(HELD["eager"], place, 3)
            break
        except torch.OutOfMemoryError:
            HELD.clear()
            if batch == 1:
                raise
        batch //= 2  # outside of the handler, which keeps what did not fit alive
        gc.collect()
        torch.cuda.empty_cache()
    facts |= {"batch": batch, "compiled": None}
    if not request["compile"]:
        return facts
    note(f"compiling at batch {batch}")
    began = time.perf_counter()
    try:
        HELD["compiled"] = _step(model, request["network"], found, batch, place, compiled=True)
        _take(HELD["compiled"], place, 3)
    except Exception as error:  # the compiler raises whatever its parts raise
        traceback.print_exc()
        HELD.pop("compiled", None)
        said = " ".join(str(error).split())
        return facts | {"compiled": f"{type(error).__name__}: {said}"[:300]}
    return facts | {"compile_seconds": time.perf_counter() - began, "compiled": "done"}


def _step(
    model: nn.Module,
    name: str,
    found: Sizes,
    batch: int,
    place: torch.device,
    compiled: bool = False,
) -> Callable[[], None]:
    """One step of training on numbers that stay on the device."""
    image = torch.randn((batch, 3, found.compared, found.compared), device=place)
    image = image.contiguous(memory_format=torch.channels_last)
    inner = found.compared - (184 if name == "original_unet" else 0)
    label = torch.randint(found.classes, (batch, inner, inner), device=place)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)

    def objective(image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        with torch.autocast(place.type, torch.bfloat16):
            found = model(image)
        logits = found["out"] if isinstance(found, dict) else found
        return functional.cross_entropy(logits.float(), label)

    loss = torch.compile(objective, dynamic=False) if compiled else objective

    def once() -> None:
        optimizer.zero_grad()
        loss(image, label).backward()
        optimizer.step()

    return once


def turn(request: Facts, note: Note) -> Facts:
    """Some steps of what was prepared: seconds of each but the first."""
    del note
    return {"seconds": _take(HELD[request["which"]], _place(), request["steps"] + 1)[1:]}


def _take(step: Callable[[], None], place: torch.device, steps: int) -> list[float]:
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        step()
        if place.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return seconds


def _place() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def release(request: Facts, note: Note) -> Facts:
    """Gives the memory back."""
    del request, note
    HELD.clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {}


REQUESTS: dict[str, Callable[[Facts, Note], Facts]] = {
    "device": device,
    "prepare": prepare,
    "turn": turn,
    "release": release,
}
