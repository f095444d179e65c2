"""How far networks see: accuracy where the class is decided r pixels away, or by the whole scene.

    python benchmarks/context.py [--networks unet5 ...] [--tasks cue_2 cue_32 pair_32 scene ...]
        [--seeds 3] [--steps 300] [--workdir runs/context] [--picture context.png] [--only-report]

Scenes are those of `context_parts/scenes.py`, networks those of `context_parts/networks.py`. A task
is a rule and a distance: `cue_32` has the class of a pixel decided 32 pixels to its right,
`pair_32` by the pixel itself and what lies 32 pixels to its right, `scene` by the majority of the
scene.
Chance is 0.500 and the best accuracy 1.000, exactly, in all of them.

A network whose theoretical receptive field does not reach the cue is not trained on it: its
accuracy is 0.500 by construction, which a test proves. All others are trained from scratch, and
scored on scenes that are never trained on. Beside the accuracy stands the effective receptive
field before and after the training: half the side of the square around a pixel that holds 90 % of
the gradient's energy.

A finished run is not repeated; the tables show what is finished. They go to WORKDIR/context.md.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
from context_parts import picture, report, sight
from context_parts.networks import NETWORKS
from context_parts.scenes import CELL, Cells, drawn, pixels, size_for
from experiment import Numbers, keep_compiled, measured

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import Data
from jaxseg.run import completion
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import TrainState, count_parameters, inference_variables, init_state
from jaxseg.transforms import Standardize

DISTANCES = (2, 8, 16, 32, 64, 128, 256)
TASKS = (*(f"{rule}_{r}" for rule in ("cue", "pair") for r in DISTANCES), "scene")
SIGHT_SIDE, SIGHT_IMAGES = 384, 2
"""Rows of the images on which the effective receptive field is measured, and their number."""


def main() -> None:
    """Trains what is missing, seed by seed; prints tables and draws the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--workdir", type=Path, default=Path("runs/context"))
    parser.add_argument("--picture", type=Path, help="where to draw the picture")
    parser.add_argument("--only-report", action="store_true", help="train nothing")
    arguments = parser.parse_args()
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    keep_compiled(arguments.workdir)
    for seed in range(0 if arguments.only_report else arguments.seeds):
        for name in arguments.networks:
            for task in arguments.tasks:
                config = planned(name, task, seed, arguments.steps)
                if sight.can_see(config.model, config.data.source.distance):
                    folder = arguments.workdir / f"{name}-{task}-{seed}"
                    numbers = measured(config, folder, on_test)
                    shutil.rmtree(folder / "run", ignore_errors=True)  # its numbers are known
                    print(f"{name}, {task}, seed {seed}: {numbers['accuracy']:.3f}", flush=True)
    found = report.collected(arguments.workdir)
    text = report.written(found, arguments.networks)
    (arguments.workdir / "context.md").write_text(text + "\n")
    print(text)
    if arguments.picture:
        picture.draw(found, arguments.networks, arguments.picture)


def planned(network: str, task: str, seed: int, steps: int) -> Config:
    """The run of one network, task and seed."""
    rule, _, distance = task.partition("_")
    r = int(distance or 1)
    source = Cells(rule=rule, distance=r, size=size_for(r), seed=seed)  # type: ignore[arg-type]
    # Each scene of `scene` asks one thing, and the mean of an image is normalised over a batch.
    batch = 8 if rule == "scene" else 4
    return completion.completed(
        Config(
            model=NETWORKS[network],
            data=Data(source=source, crop=source.size, batch_size=batch),
            preprocess=(Standardize((0.5,), (0.5,)),),
            optimizer=Optimizer(
                learning_rate=3e-3, schedule="cosine", warmup=min(30, steps // 4), clip=1.0
            ),
            seed=seed,
            num_steps=steps,
            log_every=50,
            eval_every=steps,
            save_every=steps,
        )
    )


def on_test(config: Config, state: TrainState) -> Numbers:
    """Accuracy on the test scenes, and the effective receptive field before and after training."""
    mesh = sharding.make_mesh(config.mesh)
    evaluation = Evaluator(config, mesh, "test")(state)
    start = init_state(config, 1, mesh)
    source = config.data.source
    middle = SIGHT_SIDE // 2
    # A pixel whose class is asked: its cue, or that of a pixel in the middle, begins a cell.
    pixel = middle + CELL // 2, middle - source.distance % CELL
    random = np.random.default_rng(config.seed)
    bits = [drawn("cue", SIGHT_SIDE // CELL, random) for _ in range(SIGHT_IMAGES)]
    images = 2 * np.stack([pixels(one) for one in bits])[..., None].astype(np.float32) - 1
    before, after = (
        sight.half_side(sight.energy(config.model, inference_variables(one), images, pixel), pixel)
        for one in (start, state)
    )
    return {
        "accuracy": float(evaluation.scores.overall_accuracy),
        "parameters": float(count_parameters(state.params)),
        "effective_before": before,
        "effective_after": after,
    }


if __name__ == "__main__":
    main()
