"""The command `jaxseg new`: writes a config for a folder of images and one of masks."""

import json
import os
import textwrap
from collections.abc import Mapping
from pathlib import Path

from jaxseg.datasets.folder.guess import Guess
from jaxseg.errors import UserError
from jaxseg.system.disk import whole

FEATURES = 16
"""Channels of the U-Net at full resolution, as in configs/folder.py."""

BYTES_PER_PIXEL = 2000
"""Memory of a training step of that network for each pixel of a batch. XLA counts 1750 for eight
windows of 256 x 256 in float32 on a CPU."""

SIDES = (256, 224, 192, 160, 128, 96, 64, 32)
"""Rows and columns of training windows to choose from."""

BATCHES = (16, 8, 4, 2)

TEXT = '''"""{title}

    python train.py --config {name}

Written by `jaxseg new`. What stands here was guessed from the files, and every guess has its
evidence beside it: correct what is wrong. `jaxseg data {name}` shows what the splits hold.
"""

{standard}from jaxseg.config import Config
from jaxseg.datasets import {sources}
from jaxseg.losses import CrossEntropy
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import {augment}, Standardize


def get_config() -> Config:
    """The padded U-Net with {features} features."""
    {variable} = Folder(
{fields}
    )
{stacked}    return Config(
        model=UNet(num_classes=0, features={features}),  # 0 = as many as the source has
        data=Data(
            source=source,
            # {crop_evidence}
            crop={crop},{pad}
            # {batch_evidence}
            batch_size={batch},
        ),
        preprocess=(Standardize(),),  # mean and deviation are measured at the first start
        augment=({calls}{comma}),
        loss={{"ce": CrossEntropy()}},
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", warmup=50, clip=1.0),
        num_steps=1000,
        eval_every=250,
        save_every=250,
    )
'''


def text(guess: Guess, name: str) -> str:
    """The config file.

    Args:
        guess: What the data are.
        name: Path of the file, as it is named in its own commands.
    """
    crop = next((side for side in SIDES if side <= guess.smallest), SIDES[-1])
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    windows = memory / 4 / (BYTES_PER_PIXEL * crop * crop)
    batch = next((size for size in BATCHES if size <= windows), BATCHES[-1])
    calls = ["Dihedral()", "Brightness(gain=0.1, offset=0.1)"]
    if "decibel" in (of.get("unit") for of in (guess.fields, *guess.others)):
        calls = calls[:1]  # brightness is a matter of calibration there
    return TEXT.format(
        title=f"{guess.scenes} scene(s) of {guess.bands} band(s), and their labels.",
        name=name,
        augment=", ".join(sorted(call.partition("(")[0] for call in calls)),
        calls=", ".join(calls),
        comma="," * (len(calls) == 1),
        standard="from dataclasses import replace\n\n" if guess.others else "",
        sources="Folder, Stacked" if guess.others else "Folder",
        variable="first" if guess.others else "source",
        fields=assigned(guess.fields, guess.evidence),
        stacked=_stacked(guess),
        features=FEATURES,
        crop=crop,
        pad="\n            pad=True," if guess.smallest < crop else "",
        crop_evidence=f"the smallest training image has {guess.smallest} rows or columns",
        batch=batch,
        batch_evidence=f"a quarter of this machine's {memory / 2**30:.0f} GiB at most",
    )


def assigned(fields: Mapping[str, object], evidence: Mapping[str, str]) -> str:
    """The fields of the source as arguments, each below its evidence."""
    lines = []
    for field, value in fields.items():
        lines += [f"        # {line}" for line in _wrapped(evidence.get(field, ""))]
        lines += _assigned(field, value)
    return "\n".join(lines)


def write(content: str, file: Path, *, overwrite: bool) -> None:
    """Writes a config.

    Raises:
        UserError: The file exists, is not a Python file, or cannot be written.
    """
    if file.suffix != ".py":
        raise UserError(f"{file}: a config ends in .py. Give a name such as my.py.")
    if file.exists() and not overwrite:
        raise UserError(f"{file} exists. Give another name, or --overwrite.")
    with whole(file) as aside:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(content, encoding="utf-8", errors="backslashreplace")


def _stacked(guess: Guess) -> str:
    """The other folders, and all of them as one source; empty for one folder."""
    if not guess.others:
        return ""
    lines = []
    before = "first"
    for own in guess.others:
        fields = ", ".join(f"{field}={_literal(value)}" for field, value in own.items())
        line = f"    source = Stacked({before}, replace(first, {fields}))"
        if len(line) > 96:
            inner = [f"            {field}={_literal(value)}," for field, value in own.items()]
            line = "\n".join(
                [
                    "    source = Stacked(",
                    f"        {before},",
                    "        replace(",
                    "            first,",
                    *inner,
                    "        ),",
                    "    )",
                ]
            )
        lines.append(line)
        before = "source"
    return "\n".join(lines) + "\n"


def _assigned(field: str, value: object) -> list[str]:
    """A field of the source on one line, or one item a line if that is too long."""
    line = f"        {field}={_literal(value)},"
    if len(line) <= 88 or not isinstance(value, tuple):
        return [line]
    whole = ", ".join(map(_literal, value)) + ","
    items = [f"            {_literal(item)}," for item in value]
    if len(whole) <= 86:
        items = [f"            {whole}"]
    return [f"        {field}=(", *items, "        ),"]


def _literal(value: object) -> str:
    if isinstance(value, tuple):
        items = ", ".join(map(_literal, value))
        return f"({items},)" if len(value) == 1 else f"({items})"
    # JSON's strings are Python's, in the quotes of this library.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _wrapped(evidence: str) -> list[str]:
    return textwrap.wrap(evidence, 86, break_on_hyphens=False)
