"""Data of another config are compared with what the run was trained on."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import io

from jaxseg import config as configs
from jaxseg.datasets.mislabelled import Mislabelled
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.datasets.paired import Paired, Stacked, without_side
from jaxseg.datasets.salinas_a import IDS, SalinasA
from jaxseg.errors import UserError
from jaxseg.evaluation.leakage import refuse_trained_pixels


def test_another_split_of_the_same_files_is_refused(tiny: Path) -> None:
    source: Any = configs.load_config(str(tiny / "config.py")).data.source
    fewer = dataclasses.replace(source, fractions=(0.1, 0.1, 0.8))
    other = dataclasses.replace(source, fractions=(0.25, 0.25, 0.5))
    with pytest.raises(UserError, match=r"scene2\.png: .* test split.*fractions.*as the run did"):
        refuse_trained_pixels(source, fewer, "test")
    with pytest.raises(UserError, match="trained on"):
        refuse_trained_pixels(Mislabelled(source), other, "validation")
    refuse_trained_pixels(source, other, "train")
    refuse_trained_pixels(source, source, "test")
    refuse_trained_pixels(other, source, "test")  # trained on fewer


def test_strips_of_the_same_files_are_split_as_the_run_did(tiny: Path) -> None:
    source: Any = configs.load_config(str(tiny / "config.py")).data.source
    strips = dataclasses.replace(source, split_by="columns", fractions=(0.4, 0.2, 0.4))
    for split in ("validation", "test"):
        refuse_trained_pixels(strips, dataclasses.replace(strips, multiply=2.0), split)
        with pytest.raises(UserError, match=r"split_by columns -> rows"):
            refuse_trained_pixels(strips, dataclasses.replace(strips, split_by="rows"), split)


def test_files_of_the_same_names_elsewhere_are_other_files(tiny: Path, tmp_path: Path) -> None:
    source: Any = configs.load_config(str(tiny / "config.py")).data.source
    (tmp_path / "images").symlink_to(Path(source.images))
    elsewhere = dataclasses.replace(
        source, images=str(tmp_path / "images"), fractions=(0.1, 0.1, 0.8)
    )
    refuse_trained_pixels(source, elsewhere, "test")


def test_another_seed_of_one_scene_is_refused(tmp_path: Path) -> None:
    rows, columns = np.indices((83, 86)) // 14
    ids = np.array([0, *IDS], np.uint8)[(3 * rows + columns) % 7]
    image = np.ones((83, 86, 204), np.int16)
    io.savemat(tmp_path / "SalinasA_corrected.mat", {"salinasA_corrected": image})
    io.savemat(tmp_path / "SalinasA_gt.mat", {"salinasA_gt": ids})
    source = SalinasA(path=str(tmp_path))
    refuse_trained_pixels(source, dataclasses.replace(source), "test")
    with pytest.raises(UserError, match=r"may have been trained on .*seed 0 -> 1"):
        refuse_trained_pixels(source, dataclasses.replace(source, split=SceneSplit(seed=1)), "test")


@dataclasses.dataclass(frozen=True)
class Gathered:
    """A wrapper of somebody's own: several sources behind one another."""

    sources: tuple[Any, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the first."""
        return self.sources[0].classes

    colors = sensor = classes

    def scenes(self, split: str) -> Any:
        """Those of the first."""
        return self.sources[0].scenes(split)

    def rgb(self, image: Any) -> Any:
        """That of the first."""
        return self.sources[0].rgb(image)


def test_a_leak_is_found_in_any_part_of_any_wrapper(tiny: Path) -> None:
    own: Any = configs.load_config(str(tiny / "config.py")).data.source
    other = dataclasses.replace(own, fractions=(0.1, 0.1, 0.8))
    elsewhere = dataclasses.replace(own, images="elsewhere")
    for trained, given in (
        (own, Stacked(elsewhere, other)),
        (Stacked(elsewhere, own), other),
        (Stacked(own, elsewhere), Stacked(Mislabelled(other), elsewhere)),
        (Paired(elsewhere, own), Paired(other, elsewhere)),
        (Gathered((elsewhere, own)), Gathered((other,))),
    ):
        with pytest.raises(UserError, match="may have been trained on"):
            refuse_trained_pixels(trained, given, "test")
    refuse_trained_pixels(Stacked(own, own), Stacked(own, elsewhere), "test")


def test_side_images_are_left_out_wherever_they_stand(tiny: Path) -> None:
    own: Any = configs.load_config(str(tiny / "config.py")).data.source
    side = dataclasses.replace(own, images="side")
    assert without_side(Paired(own, side)) == own
    assert without_side(Mislabelled(Paired(own, side))) == Mislabelled(own)
    assert without_side(Stacked(own, Paired(own, side))) == Stacked(own, own)
    assert without_side(Gathered((Paired(own, side), own))) == Gathered((own, own))
    assert without_side(own) is own
