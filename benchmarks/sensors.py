"""How much does radar cost, and what do networks made for a sensor recover? On one ground.

    python benchmarks/sensors.py [--only sensors designs] [--steps 250] [--seeds 3]
        [--workdir runs/sensors]

`sensors`: U-Net, DeepLabV3 and PSPNet on the landscape as its optical sensor, its SAR, its
polarimetric SAR and its hyperspectral sensor see it: the same tiles, labels, missing pixels,
windows, turns, steps and seeds, see `sensors_parts/ground.py`. `designs`: networks made for a
sensor against the plain network nearest to them, on that sensor.

All networks are thin: U-Nets of 8 features, ResNet-18 with an eighth of the channels. A step sees 8
windows of 64 x 64 pixels; AdamW with a cosine schedule, cross-entropy. The rate of a network on a
sensor is the one of `RATES` with the higher validation mIoU on a seed of its own, at the full
length. The test split is measured with the three seeds of the table, once.

A finished run is not repeated. After every seed the tables are printed and written to
WORKDIR/sensors.md.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import experiment
import flax.linen as nn
from sensors_parts import tables
from sensors_parts.ground import SameGround

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets.landscape import MEAN, STD
from jaxseg.datasets.landscape.surfaces import Modality
from jaxseg.losses import CrossEntropy, EdgeAware
from jaxseg.losses.loss import Loss
from jaxseg.models import (
    CHWSUNet,
    ComplexUNet,
    DeepLabV3,
    MultiscaleSAR,
    PSPNet,
    RefinedPSPNet,
    ReSCNet,
    UNet,
)
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run.completion import completed
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import TrainState, count_parameters
from jaxseg.transforms import CenterGain, CoherencyFeatures, Dihedral, LogIntensity, Standardize
from jaxseg.transforms.transform import Augment, Preprocess

RATES = (3e-3, 1e-2)
PILOT_SEED = 1000

RADIOMETRY: dict[Modality, tuple[Preprocess, ...]] = {
    "optical": (Standardize(mean=MEAN["optical"], std=STD["optical"]),),
    "sar": (LogIntensity(), Standardize(mean=MEAN["sar"], std=STD["sar"])),
    "polsar": (CoherencyFeatures(), Standardize(mean=MEAN["polsar"], std=STD["polsar"])),
    "hyperspectral": (Standardize(),),
}
"""What the shipped configs do with each sensor."""

PHASES_KEPT = (
    CoherencyFeatures(),
    Standardize(mean=(*MEAN["polsar"][:3], *(0.0,) * 6), std=(*STD["polsar"][:3], *(0.35,) * 6)),
)
"""The same of a matrix for complex networks: no offset, and one scale for both parts."""


class Run(NamedTuple):
    """What may differ between two runs."""

    model: nn.Module
    sensor: Modality
    preprocess: tuple[Preprocess, ...] = ()
    losses: dict[str, Loss] = {}  # noqa: RUF012  never changed
    augment: tuple[Augment, ...] = ()


NETWORKS: dict[str, nn.Module] = {
    "unet": UNet(num_classes=10, features=8),
    "deeplab": DeepLabV3(num_classes=10, backbone="resnet18", width=8, features=32, dropout=0.1),
    "pspnet": PSPNet(num_classes=10, backbone="resnet18", width=8),
}

REFINED = RefinedPSPNet(num_classes=10, backbone="resnet18", width=8, features=48, aux_head=True)
CHWS = CHWSUNet(num_classes=10, features=8)
RESC = ReSCNet(num_classes=10, features=32)
GAIN = (CenterGain(strength=0.1, share=0.1),)

RUNS = {
    f"{name}_{sensor}": Run(model, sensor)
    for name, model in NETWORKS.items()
    for sensor in RADIOMETRY
} | {
    "small_unet_sar": Run(UNet(num_classes=10, features=3), "sar"),
    "multiscale_sar": Run(MultiscaleSAR(num_classes=10, features=(10, 20, 20), hidden=40), "sar"),
    "chws_unet_plain": Run(CHWS.clone(attention="none"), "sar"),
    "chws_unet_sar": Run(CHWS, "sar"),
    "complex_unet_polsar": Run(
        ComplexUNet(num_classes=10, pairs=3, features=6), "polsar", PHASES_KEPT
    ),
    "refined_pspnet_polsar": Run(REFINED, "polsar"),
    "refined_edges_polsar": Run(REFINED, "polsar", losses={"edge": EdgeAware(weight=0.5)}),
    "resc_net_plain": Run(RESC.clone(attention=False), "hyperspectral", augment=GAIN),
    "resc_net": Run(RESC, "hyperspectral", augment=GAIN),
}


def main() -> None:
    """Trains what is missing and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", choices=tables.PARTS, default=list(tables.PARTS))
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=Path("runs/sensors"))
    arguments = parser.parse_args()
    experiment.keep_compiled(arguments.workdir)
    names = [name for name in RUNS if name in tables.wanted(arguments.only)]
    results: dict[str, list[experiment.Numbers]] = {name: [] for name in names}
    pilots: dict[str, dict[float, float]] = {}
    for seed in range(arguments.seeds):
        for name in names:
            if name not in pilots:
                pilots[name] = pilot(name, arguments.steps, arguments.workdir)
            rate = max(pilots[name], key=pilots[name].__getitem__)
            print(f"{name}, seed {seed}", flush=True)
            config = planned(RUNS[name], arguments.steps, rate, seed)
            folder = arguments.workdir / f"{name}_{seed}"
            results[name].append(experiment.measured(config, folder, measure))
        text = tables.text(results, pilots, arguments.only)
        (arguments.workdir / "sensors.md").write_text(text)
        print(text, flush=True)


def pilot(name: str, steps: int, workdir: Path) -> dict[float, float]:
    """Validation mIoU by rate, on a seed that the tables do not use."""
    found: dict[float, float] = {}
    for rate in RATES:
        print(f"pilot of {name}, rate {rate:g}", flush=True)
        config = planned(RUNS[name], steps, rate, PILOT_SEED)
        folder = workdir / "pilot" / f"{name}_{rate:g}"
        found[rate] = experiment.measured(config, folder, on_validation)["miou"]
    return found


def planned(run: Run, steps: int, rate: float, seed: int) -> Config:
    """A run under the common budget."""
    return Config(
        model=run.model,
        data=Data(source=SameGround(run.sensor), crop=64, batch_size=8, evaluation_crop=64),
        preprocess=run.preprocess or RADIOMETRY[run.sensor],
        augment=(Dihedral(), *run.augment),
        loss={"ce": CrossEntropy()} | run.losses,
        optimizer=Optimizer(
            learning_rate=rate, schedule="cosine", warmup=min(20, steps // 4), clip=1.0
        ),
        seed=seed,
        num_steps=steps,
        eval_every=steps,
        save_every=steps,
    )


def on_validation(config: Config, state: TrainState) -> experiment.Numbers:
    """The validation mIoU, by which rates are chosen."""
    found = Evaluator(completed(config), sharding.make_mesh(config.mesh), "validation")(state)
    return {"miou": float(found.scores.miou)}


def measure(config: Config, state: TrainState) -> experiment.Numbers:
    """The test mIoU and the IoU of each class, and the size of the network."""
    found = experiment.on_test(completed(config), state)
    return found | {"parameters": count_parameters(state.params)}


if __name__ == "__main__":
    main()
