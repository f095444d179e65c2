"""The sets of `benchmarks/unseen.py`: domains of one task, of which one is left out at a time."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from jaxseg.datasets import ArrayScene, Folder, Landscape, Styled
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.scenes.scene import Source

STYLES = {
    "clear": ((1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0), 0.0),
    "hazy": ((0.8, 0.8, 0.8, 0.8), (600.0, 400.0, 250.0, 80.0), 0.0),
    "dim": ((0.6, 0.6, 0.6, 0.6), (0.0, 0.0, 0.0, 0.0), 0.0),
    "dry": ((1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0), 0.6),
}
DATES = {"20210619": 0, "20221012": 1000}
"""What each date of Strzegom has added to its values."""

LAND_COVER = {
    "conifers": 1,
    "mixed forest": 2,
    "urban": 3,
    "water": 8,
    "growing crops": 9,
    "quarry": 10,
}
CLOUD_SENSORS = ("sentinel2", "landsat5", "landsat7")


class DomainSet(NamedTuple):
    """A set.

    Attributes:
        sources: Of each domain.
        cases: Name -> the domain that is left out, and the source whose test split is predicted.
        evaluation_crop: Rows and columns of its windows, within a test scene.
    """

    sources: Mapping[str, Source]
    cases: Mapping[str, tuple[str, Source]]
    evaluation_crop: int = 256


def styles(tiles: tuple[int, int, int], held: list[str]) -> DomainSet:
    """Optical images of the embedded landscape in four styles."""
    sources = {
        name: Styled(Landscape(tiles=tiles), gain=gain, offset=offset, wilted=wilted)
        for name, (gain, offset, wilted) in STYLES.items()
    }
    return DomainSet(sources, {name: (name, sources[name]) for name in held})


def strzegom(folder: Path) -> DomainSet:
    """Two dates of one place: trained on the west, tested on the east of the other date."""

    def date(name: str, added: int) -> Folder:
        return Folder(
            images=str(folder / "images" / f"strzegom_{name}.tif"),
            masks=str(folder / "masks" / f"strzegom_{name}.tif"),
            classes=tuple(LAND_COVER),
            ids=tuple(LAND_COVER.values()),
            ignore_ids=(0, 4, 5, 6, 7),
            added=added,
            split_by="columns",
            fractions=(0.5, 0.1, 0.4),
        )

    sources = {name: date(name, added) for name, added in DATES.items()}
    cases: dict[str, tuple[str, Source]] = {name: (name, of) for name, of in sources.items()}
    cases["20221012, offset not known"] = ("20221012", date("20221012", 0))
    return DomainSet(sources, cases, evaluation_crop=128)


def clouds(folder: Path) -> DomainSet:
    """One scene of each sensor.

    Raises:
        SystemExit: The folder has fewer than two.
    """
    sources: dict[str, Source] = {
        name: ArrayScene(
            image=str(folder / f"{name}.npz"),
            image_name="img",
            labels_name="msk",
            classes=("clear", "cloud", "shadow"),
            ids=(3, 4, 0),
            same_ids=((1, 3), (2, 3)),
            band_names=("blue", "green", "red", "nir", "swir16", "swir22"),
            unit="reflectance",
            gsd=30.0,
            split=SceneSplit(block=64, guard=8),
        )
        for name in CLOUD_SENSORS
        if (folder / f"{name}.npz").is_file()
    }
    if len(sources) < 2:
        raise SystemExit(
            f"{folder} has the scenes of {len(sources)} sensor(s), and one is left out: give two "
            f"or more of {', '.join(f'{name}.npz' for name in CLOUD_SENSORS)}, the test files of "
            "github.com/dlr-eoc/ukis-csmask."
        )
    return DomainSet(sources, {name: (name, of) for name, of in sources.items()})
