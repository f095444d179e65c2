"""What `jaxseg new` writes for a scene of arrays: a config with the evidence of every guess."""

from jaxseg.cli.new_config import FEATURES, assigned
from jaxseg.datasets.arrays.guess import MANY, ArrayGuess

CROPS = (64, 48, 32, 16, 8)
"""Rows and columns of training windows of scenes of many bands to choose from."""

LARGE_CROPS = (256, 192, 128, 96, 64, 32, 16)
"""The same for scenes of few bands."""

SHARE = 10
"""Blocks along the shorter side of a scene, about."""

LEAST_BLOCK = 12
"""Rows and columns of a block, as in configs/salinas_a.py."""

WHOLE = 512
"""Rows and columns up to which a scene is evaluated in one pass."""

TEXT = '''"""A scene of {rows} x {columns} pixels in {bands} band(s), and its labels.

    python train.py --config {name}

Written by `jaxseg new`. What stands here was guessed from the files, and every guess has its
evidence beside it: correct what is wrong. `jaxseg data {name}` shows what the splits hold.
"""

from jaxseg.config import Config
from jaxseg.datasets import ArrayScene
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.losses import CrossEntropy
from jaxseg.models import {network}
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.transforms import {augment}, Standardize


def get_config() -> Config:
    """{purpose}"""
    source = ArrayScene(
{fields}
        # blocks of pixels, about {share} along the shorter side, are drawn for the splits; the
        # guard around those of the training is in no split, as a network sees what is around
        split=SceneSplit(block={block}, guard={guard}),
    )
    return Config(
        model={model},  # 0 = as many as the source has
        data=Data(
            source=source,
            # the scene has {rows} x {columns} pixels
            crop={crop},{pad}
            batch_size=8,
            evaluation_crop={evaluation},
        ),
        preprocess=(Standardize(),),  # mean and deviation are measured at the first start
        augment=({calls}),
        loss={{"ce": CrossEntropy()}},
        optimizer=Optimizer(learning_rate=2e-3, schedule="cosine", warmup=25, clip=1.0),
        num_steps={steps},
        eval_every={every},
        save_every={every},
    )
'''


def text(guess: ArrayGuess, name: str) -> str:
    """The config file.

    Args:
        guess: What the data are.
        name: Path of the file, as it is named in its own commands.
    """
    short, long = min(guess.size), max(guess.size)
    many = guess.bands >= MANY
    sides = CROPS if many else LARGE_CROPS
    # At least two windows along a side, so that a step does not show the whole scene.
    crop = next((side for side in sides if side <= 0.9 * short), sides[-1])
    block = min(max(LEAST_BLOCK, short // SHARE), max(1, short // 4))
    calls = ["Dihedral()"]
    calls += ["CenterGain(strength=0.1, share=0.1)"] if many else []
    return TEXT.format(
        rows=guess.size[0],
        columns=guess.size[1],
        bands=guess.bands,
        name=name,
        network="ReSCNet" if many else "UNet",
        purpose="ReSC-Net, which is made for many bands."
        if many
        else f"The padded U-Net with {FEATURES} features.",
        model="ReSCNet(num_classes=0)" if many else f"UNet(num_classes=0, features={FEATURES})",
        augment=", ".join(sorted(call.partition("(")[0] for call in calls)),
        calls=", ".join(calls) + ("," if len(calls) == 1 else ""),
        fields=assigned(guess.fields, guess.evidence),
        share=SHARE,
        block=block,
        guard=max(4, block // 6),
        crop=crop,
        pad="\n            pad=True," if short < crop else "",
        evaluation=long if long <= WHOLE else WHOLE,
        steps=300 if many else 1000,
        every=100 if many else 250,
    )
