"""A written map and its labels as a source: the map is the image, and what it says is counted."""

import dataclasses
from pathlib import Path

from jaxseg.datasets.folder import Folder
from jaxseg.datasets.packed.source import originals
from jaxseg.datasets.paired import without_side
from jaxseg.datasets.wrapped import leaves
from jaxseg.errors import UserError
from jaxseg.files import raster
from jaxseg.files.maps import check_classes, class_names
from jaxseg.scenes.scene import Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Maps(Folder):
    """Maps and their labels; the image of a scene is the class numbers of its map."""

    def check_first(self, header: raster.Header) -> None:
        """Rejects what is not a map of the classes.

        Raises:
            UserError: It has several bands, no whole numbers, or other classes.
        """
        check_classes(header)
        names = class_names(Path(header.path), header.tags)
        if names and names != self.classes:
            raise UserError(
                f"{header.path} is a map of the classes {', '.join(names)}; those of the run are "
                f"{', '.join(self.classes)}."
            )


def maps_of(source: Source, images: str, labels: str) -> Maps:
    """Maps with labels that are read as the run reads its own.

    Args:
        source: Of the run, or of a config.
        images: Map, folder or pattern of maps.
        labels: The same for the labels, rasters or vectors.
    """
    folders = [leaf for leaf in leaves(originals(without_side(source))) if isinstance(leaf, Folder)]
    fields = (
        *("ids", "mask_colors", "ignore_ids", "ignore_colors", "mask_nodata"),
        *("mask_suffix", "mask_prefix", "resample_masks", "vectors"),
    )
    own = {name: getattr(folders[0], name) for name in fields} if folders else {}
    return Maps(
        images=images,
        masks=labels,
        classes=source.classes,
        map_colors=source.colors,
        fractions=(0.0, 0.0, 1.0),
        **own,
    )
