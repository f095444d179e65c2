"""Which assets of an item of STAC are the scene: by their names, else by their roles."""

import json
from pathlib import Path
from typing import Any

import pytest

from jaxseg.prediction.archive import scenes

BANDS = ("red", "nir")


def chosen(folder: Path, bands: tuple[str, ...] = BANDS, **assets: dict[str, Any]) -> list[str]:
    """Names of the files of one item."""
    file = folder / "item.json"
    file.write_text(json.dumps({"type": "Feature", "id": "scene", "assets": assets}))
    [scene] = scenes([str(file)], bands, remote=False)
    assert scene.name == "scene"
    return [Path(path).name for path in scene.paths]


def asset(name: str, *bands: str, role: str = "data") -> dict[str, Any]:
    return {"href": name, "roles": [role], "eo:bands": [{"common_name": band} for band in bands]}


def test_an_asset_that_is_called_as_the_band_is_preferred_to_one_that_also_holds_it(
    tmp_path: Path,
) -> None:
    visual = asset("visual.tif", "red", "green", "blue")
    found = chosen(tmp_path, visual=visual, red=asset("r.tif"), near=asset("n.tif", "nir"))
    assert found == ["r.tif", "n.tif"]


@pytest.mark.parametrize("role", ["thumbnail", "overview", "metadata"])
def test_a_picture_for_people_is_no_band_whatever_it_is_called(tmp_path: Path, role: str) -> None:
    found = chosen(
        tmp_path,
        red=asset("small.tif", "red", "nir", role=role),
        one=asset("r.tif", "red"),
        two=asset("n.tif", "nir"),
    )
    assert found == ["r.tif", "n.tif"]


def test_a_file_of_several_bands_is_read_once(tmp_path: Path) -> None:
    all_of_them = asset("all.tif", "nir", "red")
    assert chosen(tmp_path, product=all_of_them, mask=asset("scl.tif", "scl")) == ["all.tif"]


def test_without_names_the_only_asset_of_data_is_the_scene(tmp_path: Path) -> None:
    product, quality = asset("product.tif"), asset("quality.tif", role="quality")
    assert chosen(tmp_path, product=product, quality=quality) == ["product.tif"]
    assert chosen(tmp_path, quality=quality) == ["quality.tif"]
