"""Files that lie elsewhere are said."""

from pathlib import Path

import pytest

from jaxseg.datasets.folder import Folder
from jaxseg.datasets.folder.links import out_of, root_of


def test_only_links_that_lead_out_of_the_folder_are_said(tmp_path: Path) -> None:
    outside, given = tmp_path / "outside", tmp_path / "given"
    for folder in (outside, given / "inner"):
        folder.mkdir(parents=True)
    (outside / "a.tif").touch()
    (given / "b.tif").touch()
    (given / "a.tif").symlink_to(outside / "a.tif")
    (given / "c.tif").symlink_to(given / "b.tif")
    (given / "linked").symlink_to(outside)
    (tmp_path / "called").symlink_to(given)
    inside = [str(given / name) for name in ("b.tif", "c.tif", "inner/d.tif")]
    assert out_of(str(given), inside) == ""
    assert out_of(str(tmp_path / "called"), [str(tmp_path / "called" / "b.tif")]) == ""
    said = out_of(str(given), [*inside, str(given / "a.tif"), str(given / "linked/a.tif")])
    assert "2 file(s)" in said
    for name in ("a.tif", "linked/a.tif"):
        assert f"{given / name} -> {outside / 'a.tif'}" in said
    many = out_of(str(given), [str(given / "a.tif")] * 10)
    assert "10 file(s)" in many
    assert many.endswith("and 7 more.")


def test_a_pattern_is_in_the_folder_before_its_first_mark(tmp_path: Path) -> None:
    assert root_of(str(tmp_path)) == str(tmp_path)
    assert root_of(str(tmp_path / "*" / "a?" / "b.tif")) == str(tmp_path)
    assert root_of(str(tmp_path / "b*.tif")) == str(tmp_path)
    assert root_of("b*.tif") == "."


def test_opening_a_dataset_says_them_once(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for file in (tiny / "images").iterdir():
        (images / file.name).symlink_to(file)
    source = Folder(images=str(images), masks=str(tiny / "masks"), classes=("a", "b", "c"))
    for split in ("train", "train", "validation"):
        source.scenes(split)
    said = capsys.readouterr().err
    assert said.count(f"Links out of {images} are followed") == 2  # each split has its own files
