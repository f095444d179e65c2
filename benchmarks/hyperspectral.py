"""Indian Pines, three ways: ReSC-Net, U-Net and a support vector machine, on two kinds of split.

    pip install 'jaxseg[hyperspectral,test]'
    python benchmarks/hyperspectral.py [--seeds 5] [--steps 300] [--splits blocks pixels]
        [--methods resc_net unet svm] [--workdir runs/hyperspectral]

    blocks  whole blocks of 12 x 12 pixels are for training; a band of 4 pixels around them is not
            tested
    pixels  single pixels are drawn, as is common in the field. It leaks: nearly every test pixel
            lies beside a training pixel of its own field, so these scores state how well a method
            memorizes the scene, and nothing about another scene

In both, 40 % of the labels are for training and 50 % for testing; the other 10 % are not used. A
seed determines the split, the initial parameters and the order of the data, so all methods with
one seed share a split.

    resc_net  configs/indian_pines.py
    unet      the same config with the padded U-Net of 16 features
    svm       single pixels: standardised spectra, RBF kernel, C and gamma by the mean accuracy of
              threefold cross-validation among training pixels (scikit-learn)

The whole scene is classified in one pass with the parameters of the last step. The table gives
overall accuracy (OA), average accuracy over the classes in the test split (AA) and kappa, in
percent, as mean and standard deviation over seeds. With blocks, a class that lies in a single block
may be absent from training or test. A finished result is not repeated. The output is
WORKDIR/SPLIT/METHOD_SEED/result.json, WORKDIR/hyperspectral.json and WORKDIR/hyperspectral.md.
"""

import argparse
import dataclasses
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets.indian_pines import IndianPines
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.metrics.scores import Scores, scores_of
from jaxseg.models import UNet
from jaxseg.run import completion, training
from jaxseg.run.evaluator import Evaluator
from jaxseg.scenes import IGNORE, Window

CONFIG = Path(__file__).parent.parent / "configs" / "indian_pines.py"

MEASURES = {"overall_accuracy": "OA", "average_accuracy": "AA", "kappa": "kappa"}
SPLITS = ("blocks", "pixels")

GRID = {
    "svc__C": [1.0, 10.0, 100.0, 1e3, 1e4],
    "svc__gamma": [1e-4, 1e-3, 1e-2, 1e-1],
}
"""Of spectra with variance 1 in each of 200 bands, so 1 / 200 is the usual gamma."""

LEAK = (
    "Split by single pixels: test pixels lie beside training pixels of the same field, so these "
    "numbers measure memory and are no estimate for another scene."
)


def main() -> None:
    """Computes what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--workdir", type=Path, default=Path("runs/hyperspectral"))
    arguments = parser.parse_args()
    # The seeds of a network share a program: compiled once.
    jax.config.update("jax_compilation_cache_dir", str((arguments.workdir / "xla").absolute()))
    results: list[dict[str, Any]] = []
    for split in arguments.splits:
        if split == "pixels":
            sys.stderr.write(LEAK + "\n")
        for method in arguments.methods:
            for seed in range(arguments.seeds):
                print(f"{split}, {method}, seed {seed}", flush=True)
                folder = arguments.workdir / split / f"{method}_{seed}"
                results.append(measured(split, method, seed, arguments.steps, folder))
    (arguments.workdir / "hyperspectral.json").write_text(json.dumps(results, indent=1) + "\n")
    text = table(results)
    (arguments.workdir / "hyperspectral.md").write_text(text)
    print(text, flush=True)


def measured(split: str, method: str, seed: int, steps: int, folder: Path) -> dict[str, Any]:
    """Trains and tests, unless FOLDER/result.json has the result.

    Raises:
        SystemExit: It came out of another number of steps.
    """
    file = folder / "result.json"
    asked = {"split": split, "method": method, "seed": seed}
    if method != "svm":
        asked["steps"] = steps
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        config = configs.load_config(str(CONFIG))
        source = IndianPines(split=SceneSplit(split, seed=seed))  # type: ignore[arg-type]
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=source))
        started, busy = time.perf_counter(), time.process_time()
        found, details = METHODS[method](config, seed, steps, folder)
        spent = {
            "seconds": round(time.perf_counter() - started, 1),
            "cpu_seconds": round(time.process_time() - busy, 1),
        }
        result = asked | found.as_json() | {"details": details} | spent
        file.write_text(json.dumps(result, indent=1) + "\n")
    result = json.loads(file.read_text())
    if any(result.get(name) != value for name, value in asked.items()):
        raise SystemExit(f"{file} is of another run ({steps} steps asked for): remove it.")
    return result


def resc_net(
    config: Config, seed: int, steps: int, folder: Path
) -> tuple[Scores, dict[str, object]]:
    """The config as it is shipped."""
    return network(config, seed, steps, folder)


def unet(config: Config, seed: int, steps: int, folder: Path) -> tuple[Scores, dict[str, object]]:
    """The shipped config's data and recipe with the padded U-Net."""
    model = UNet(num_classes=len(config.data.source.classes), features=16)
    return network(dataclasses.replace(config, model=model), seed, steps, folder)


def network(
    config: Config, seed: int, steps: int, folder: Path
) -> tuple[Scores, dict[str, object]]:
    """Trains for `steps` steps; the last parameters classify the whole scene."""
    config = dataclasses.replace(
        config,
        seed=seed,
        num_steps=steps,
        eval_every=steps,
        save_every=min(50, steps),
        optimizer=dataclasses.replace(config.optimizer, warmup=min(50, steps // 4)),
    )
    state = training.train(config, folder / "run")
    config = completion.completed(config)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=1))
    return Evaluator(config, sharding.make_mesh(config.mesh), "test")(state).scores, {}


def svm(config: Config, seed: int, steps: int, folder: Path) -> tuple[Scores, dict[str, object]]:
    """The classic method of the field, which does not use neighbours."""
    spectra, label = pixels(config, "train")
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    search = GridSearchCV(make_pipeline(StandardScaler(), SVC(kernel="rbf")), GRID, cv=folds)
    with warnings.catch_warnings():
        # A class of one or two training pixels is in fewer than three folds, as it must be.
        warnings.filterwarnings("ignore", message="The least populated class in y has only")
        search.fit(spectra, label)
    spectra, truth = pixels(config, "test")
    predicted = search.predict(spectra)
    count = len(config.data.source.classes)
    confusion = np.bincount(truth.astype(np.int64) * count + predicted, minlength=count * count)
    chosen = {name.removeprefix("svc__"): value for name, value in search.best_params_.items()}
    return scores_of(confusion.reshape(count, count), config.data.source.classes), chosen


def pixels(config: Config, split: str) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Spectra (N, C) and classes (N,) of the split's labelled pixels."""
    scenes = config.data.source.scenes(split)
    sample = scenes.read(0, Window(0, 0, *scenes.size(0)))
    counted = sample["valid"].astype(bool) & (sample["label"] != IGNORE)
    return sample["image"][counted].astype(np.float64), sample["label"][counted].astype(np.uint8)


METHODS: dict[str, Callable[..., tuple[Scores, dict[str, object]]]] = {
    "resc_net": resc_net,
    "unet": unet,
    "svm": svm,
}


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a table for each split, a row for each method."""
    lines = []
    for split in dict.fromkeys(result["split"] for result in results):
        of_split = [result for result in results if result["split"] == split]
        lines += [f"Split by {split}" + (f". {LEAK}" if split == "pixels" else ""), ""]
        lines += ["| method | steps | seeds | OA | AA | kappa | CPU s |"]
        lines += ["|---|---:|---:|---:|---:|---:|---:|"]
        for method in dict.fromkeys(result["method"] for result in of_split):
            runs = [result for result in of_split if result["method"] == method]
            cells = [
                spread([100 * run[name] for run in runs if run[name] is not None])
                for name in MEASURES
            ]
            seconds = np.mean([run["cpu_seconds"] for run in runs])
            steps = runs[0].get("steps", "")
            lines.append(
                f"| {method} | {steps} | {len(runs)} | {' | '.join(cells)} | {seconds:.0f} |"
            )
        lines.append("")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Mean and, of two or more, standard deviation."""
    if len(values) < 2:
        return " ".join(f"{value:.1f}" for value in values)
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


if __name__ == "__main__":
    main()
