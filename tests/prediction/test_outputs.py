"""The files of a map: their names, and whether they are those of the same command."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from jaxseg.errors import UserError
from jaxseg.prediction import outputs

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def write(path: Path, **tags: str) -> Path:
    with rasterio.open(path, "w", "GTiff", 4, 4, 1, dtype="uint8") as file:
        file.write(np.zeros((1, 4, 4), np.uint8))
        file.update_tags(**tags)
    return path


def test_a_tag_names_all_that_decides_a_map_in_any_order() -> None:
    tag = outputs.tag_of({"tiles": 512, "layers": ["classes"]})
    assert tag == outputs.tag_of({"layers": ["classes"], "tiles": 512})
    others = [{"tiles": 256, "layers": ["classes"]}, {"tiles": 512, "layers": ["margin"]}]
    assert tag not in map(outputs.tag_of, others)


def test_a_map_was_made_if_each_of_its_files_says_so(tmp_path: Path) -> None:
    same = write(tmp_path / "same.tif", JAXSEG_JOB="one")
    also = write(tmp_path / "also.tif", JAXSEG_JOB="one")
    assert outputs.made([same, also], "one")
    broken = tmp_path / "broken.tif"
    broken.write_text("no image")
    for other in (
        write(tmp_path / "other.tif", JAXSEG_JOB="two"),
        write(tmp_path / "foreign.tif"),
        tmp_path / "missing.tif",
        broken,
    ):
        assert not outputs.made([same, other], "one"), other


def test_a_layer_has_the_name_of_the_map_and_its_own() -> None:
    out = Path("maps/a.b.TIF")
    assert outputs.layer_file(out, "classes") == out
    assert outputs.layer_file(out, "entropy") == Path("maps/a.b_entropy.TIF")


def test_another_file_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    files = [tmp_path / "new.tif", write(tmp_path / "old.tif")]
    outputs.refuse_others(files, overwrite=True)
    with pytest.raises(UserError, match=r"old\.tif exists.*--overwrite"):
        outputs.refuse_others(files, overwrite=False)
