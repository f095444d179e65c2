"""`jaxseg evaluate`: what it prints, writes and refuses, of one run of a few steps."""

import contextlib
import csv
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from fixtures import small_network
from fixtures.mistakes import mistake
from PIL import Image

from jaxseg import config as configs
from jaxseg.cli import main as cli
from jaxseg.pipeline import windows as pipeline
from jaxseg.run import adapted, training
from jaxseg.run.loaded import load_run
from jaxseg.scenes.scene import IGNORE, Window


class Evaluated(NamedTuple):
    """A run of four steps, evaluated once by the command, and what it printed."""

    folder: Path
    config: Path
    run: Path
    said: str

    @property
    def written(self) -> Path:
        """The folder of the evaluation."""
        return self.run / "evaluation" / "test"

    @property
    def scores(self) -> dict[str, Any]:
        """What scores.json holds."""
        return json.loads((self.written / "scores.json").read_text())  # type: ignore[no-any-return]

    def on_data(self, *flags: str) -> list[str]:
        """The command that evaluates on data of a config file."""
        step = "3"  # which was saved, and is neither the latest nor the best
        return [*self.command, "--step", step, "--config", str(self.config), *flags]

    @property
    def command(self) -> list[str]:
        """The command that evaluates the run, whose network is defined in its config file."""
        return ["evaluate", str(self.run), "--code", str(self.config)]


@pytest.fixture(scope="module")
def evaluated(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    folder = tmp_path_factory.mktemp("evaluated")
    run, file = folder / "run", folder / "small.py"
    text = (tiny / "config.py").read_text()
    text = text.replace("UNet(num_classes=3, features=4)", "Small(num_classes=3)")
    file.write_text(Path(small_network.__file__).read_text() + text)  # compiles in a moment
    flags = ["--config.num-steps", "4", "--config.eval-every", "4"]
    module = configs.load_code(str(file))
    training.train(configs.override(configs.built(module), flags, "test"), run, (module,))
    found = Evaluated(tiny, file, run, "")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        cli.main([*found.command, "--step", "latest"])
    return found._replace(said=said.getvalue())


def test_an_evaluation_is_printed_within_100_columns(evaluated: Evaluated) -> None:
    assert "mIoU" in evaluated.said
    assert "Gaussian classifier" in evaluated.said
    lines = [line for line in evaluated.said.splitlines() if str(evaluated.run) not in line]
    assert max(map(len, lines)) <= 100


def test_an_evaluation_counts_every_pixel_of_the_split_once(evaluated: Evaluated) -> None:
    network = evaluated.scores["network"]
    confusion = np.array(network["confusion"])
    assert evaluated.scores["step"] == 4
    assert confusion.sum() == 2 * 48 * 72  # both test scenes
    assert network["overall_accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())
    assert "per_pixel_baseline" in evaluated.scores


def test_two_scenes_have_no_interval(evaluated: Evaluated) -> None:
    assert evaluated.scores["network"]["intervals"]["miou"] == [None, None]
    assert "95 % intervals: none of 2 scenes; they need 5" in evaluated.said


def test_an_evaluation_counts_the_objects_that_the_data_know(evaluated: Evaluated) -> None:
    found = evaluated.scores["network"]["objects"]
    scenes = configs.load_config(str(evaluated.folder / "config.py")).data.source.scenes("test")
    samples = [scenes.read(index, Window(0, 0, 48, 72)) for index in range(2)]
    for k, name in ((1, "disc"), (2, "square")):
        count = sum(len(np.unique(s["instance"][s["label"] == k])) for s in samples)
        assert found[name]["true"] == count > 0
    assert "ground" not in found  # its pixels have no object id


def test_the_rim_of_boundaries_follows_the_size_of_a_scene(evaluated: Evaluated) -> None:
    rim = evaluated.scores["network"]["boundaries"]["rim_pixels"]
    assert rim == round(0.02 * np.hypot(48, 48))


def test_the_temperature_is_kept_with_the_step_that_it_was_fitted_for(evaluated: Evaluated) -> None:
    stored = json.loads((evaluated.run / "checkpoints/4/calibration.json").read_text())
    temperature = evaluated.scores["network"]["calibration"]["temperature"]
    assert stored | {"step": 4, "temperature": temperature, "fitted_on": "validation"} == stored


def test_thresholds_of_the_classes_are_kept_and_no_worse_than_none(evaluated: Evaluated) -> None:
    stored = json.loads((evaluated.run / "checkpoints/4/calibration.json").read_text())
    assert len(stored["thresholds"]) == 3
    assert sum(stored["thresholds"]) == pytest.approx(1)
    assert stored["miou_by_thresholds"] >= stored["miou_by_argmax"]
    better = stored["miou_by_thresholds"] > stored["miou_by_argmax"]
    assert ("jaxseg predict --thresholds" in evaluated.said) is better


def test_the_bins_of_confidence_hold_every_pixel_in_both_reliabilities(
    evaluated: Evaluated,
) -> None:
    with (evaluated.written / "reliability.csv").open() as file:
        bins = list(csv.DictReader(file))
    assert sum(int(row["pixels"]) for row in bins) == 2 * 4 * (2 * 48 * 72)


def test_the_tables_of_an_evaluation_have_their_columns(evaluated: Evaluated) -> None:
    classes = (evaluated.written / "classes.csv").read_text().splitlines()
    assert classes[0].startswith("class,iou,")
    assert {line.count(",") for line in classes} == {12}
    assert classes[0].endswith(",step")
    assert all(line.endswith(",4") for line in classes[1:])
    objects = (evaluated.written / "objects.csv").read_text()
    assert objects.startswith("class,true,predicted,")


@pytest.mark.parametrize(
    "name", ["confusion", "worst", "median", "classes", "reliability", "objects"]
)
def test_an_evaluation_is_drawn(evaluated: Evaluated, name: str) -> None:
    assert Image.open(evaluated.written / f"{name}.png").size[0] > 400


def test_metres_need_data_that_know_them(
    capsys: pytest.CaptureFixture[str], evaluated: Evaluated
) -> None:
    metres = ["--tolerance.value", "10", "--tolerance.unit", "metres"]
    said = mistake(capsys, [*evaluated.command, "--step", "latest", *metres])
    assert "does not state the size of a pixel in metres" in said


def test_other_data_have_to_be_of_the_runs_bands_and_classes(
    capsys: pytest.CaptureFixture[str], evaluated: Evaluated
) -> None:
    turned = ["--config.data.source.band-numbers", "3", "2", "1"]
    assert "band-numbers 1 2 3" in mistake(capsys, evaluated.on_data(*turned))
    without = [*evaluated.command, "--step", "3", *turned]  # of the run's own config
    assert "band-numbers 1 2 3" in mistake(capsys, without)
    renamed = ["--config.data.source.classes", "ground", "disc", "cube"]
    said = mistake(capsys, evaluated.on_data(*renamed))
    assert "the network was trained on ground, disc, square" in said


def test_an_evaluation_of_other_data_has_a_folder_of_its_own(
    capsys: pytest.CaptureFixture[str], evaluated: Evaluated
) -> None:
    cli.main(evaluated.on_data("--no-baseline", "--split", "validation"))
    said = " ".join(capsys.readouterr().out.split())
    assert f"validation split of {evaluated.folder.name}" in said
    assert "Gaussian classifier" not in said
    folder = evaluated.run / "evaluation" / evaluated.folder.name / "validation"
    scores = json.loads((folder / "scores.json").read_text())
    assert (scores["split"], scores["step"]) == ("validation", 3)
    assert "per_pixel_baseline" not in scores


def test_an_adapted_evaluation_has_a_folder_of_its_own_and_leaves_the_temperature(
    capsys: pytest.CaptureFixture[str], evaluated: Evaluated
) -> None:
    kept = (evaluated.run / "checkpoints/4/calibration.json").read_bytes()
    flags = ["--step", "latest", "--no-baseline", "--adapt", "statistics"]
    cli.main([*evaluated.command, *flags])
    assert "adapted without labels: batch statistics" in capsys.readouterr().out
    folder = evaluated.run / "evaluation" / "test-adapted-statistics"
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["adapted"] == "statistics"
    plain, other = (np.array(of["network"]["confusion"]) for of in (evaluated.scores, scores))
    np.testing.assert_array_equal(plain.sum(1), other.sum(1))
    assert (plain != other).any()
    assert "adapted" not in evaluated.scores
    assert (evaluated.run / "checkpoints/4/calibration.json").read_bytes() == kept
    run = load_run(evaluated.run, "latest", code=(configs.load_code(str(evaluated.config)),))
    data, scenes = run.config.data, run.config.data.source.scenes("test")
    looked = next(iter(adapted.batches_of(run.config, scenes)))
    there = run.adapted(looked["image"], looked["valid"].astype(bool))
    cut = pipeline.evaluation_windows(scenes, data)
    assert len(cut) <= data.batch_size  # so that one pass measures all of them
    every = [*range(data.batch_size)]
    batch = next(iter(pipeline.evaluation_batches(scenes, cut, data, positions=every)))
    predicted = there.predict(batch["image"], batch["valid"].astype(bool))
    counted = batch["valid"].astype(bool) & (batch["label"] != IGNORE)
    assert np.bincount(predicted[counted], minlength=3).tolist() == other.sum(0).tolist()


def test_a_run_that_keeps_no_histograms_is_not_evaluated_by_them(
    capsys: pytest.CaptureFixture[str], evaluated: Evaluated
) -> None:
    said = mistake(capsys, [*evaluated.command, "--step", "latest", "--adapt", "histograms"])
    assert "has no HistogramMatching" in said
    assert "leave --images" in mistake(
        capsys, [*evaluated.command, "--map", "a.tif", "--labels", "b", "--adapt", "statistics"]
    )


@pytest.mark.parametrize(
    "flag", ["--config.data.evaluation-crop=64", "--config.seed", "--no-config.data.pad"]
)
def test_an_evaluation_refuses_fields_that_would_change_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flag: str
) -> None:
    said = " ".join(mistake(capsys, ["evaluate", str(tmp_path), flag, "3"]).split())
    assert f"{flag.partition('=')[0]}: of the config, an evaluation takes" in said
    assert "--tile 512" in said
