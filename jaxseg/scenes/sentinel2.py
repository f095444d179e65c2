"""Sentinel-2's change of values: products of processing baseline 04.00 and later add 1000.

Reflectance was number / 10 000 until January 2022 and has been (number - 1000) / 10 000 since, so
that dark pixels need no negative numbers. Archives hold both, and to a network all later products
look brighter by 0.1. The product's metadata or its name states whether 1000 has to be subtracted.

**Source:** ESA, Sentinel-2 Products Specification Document, issue 14.9 (2021), BOA_ADD_OFFSET and
RADIO_ADD_OFFSET; names of products, section 3.
"""

import re
from collections.abc import Mapping

ADDED = 1000
"""What baseline 04.00 and later add to the values of every spectral band."""

SCALE = 1e-4
"""Reflectance per digital number."""

BASELINE = 4.0

_PRODUCT = re.compile(r"S2[A-D]_MSIL(?:1C|2A)_\d{8}T\d{6}_N(\d{2})(\d{2})_")
_OTHER_BANDS = ("scl", "aot", "wvp", "cld", "snw", "qa60", "msk", "tci")


def baseline(path: str, tags: Mapping[str, str]) -> float | None:
    """The processing baseline; None if neither tags nor names say that this is Sentinel-2.

    Args:
        path: Path of the file; the file or any of its folders may have the product's name.
        tags: Tags of the file, as GDAL names them.
    """
    for text in (tags.get("PRODUCT_URI", ""), tags.get("PRODUCT_URI_1C", ""), path):
        if found := _PRODUCT.search(text):
            return float(f"{found[1]}.{found[2]}")
    told = tags.get("PROCESSING_BASELINE", "")
    return float(told) if re.fullmatch(r"\d{2}\.\d{2}", told) else None


def is_spectral(band: str) -> bool:
    """Whether a band measures reflectance: the scene classification and the like do not."""
    return not band.lower().startswith(_OTHER_BANDS)
