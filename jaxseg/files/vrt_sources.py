"""The files that a virtual raster names, by a strict reading of its XML.

GDAL reads such a text leniently: names of any case, attributes for elements, sections of CDATA.
What is not written as GDAL writes it is not a virtual raster here, so that both read the same.
"""

import re
from typing import NamedTuple
from xml.etree import ElementTree  # what could swell, a document type, is refused before

from jaxseg.errors import UserError

_WITH_FILE = {"SourceFilename", "SourceDataset"}

_ELEMENTS = frozenset(
    """
    VRTDataset SRS GeoTransform GCPList GCP Metadata MDI MaskBand VRTRasterBand ColorInterp
    ColorTable Entry Description UnitType Offset Scale NoDataValue HideNoDataValue CategoryNames
    Category Histograms HistItem HistMin HistMax BucketCount IncludeOutOfRange Approximate
    HistCounts Overview OverviewList SimpleSource ComplexSource AveragedSource
    NoDataFromMaskSource KernelFilteredSource SourceFilename SourceBand SourceProperties SrcRect
    DstRect NODATA UseMaskBand ScaleOffset ScaleRatio LUT Exponent SrcMin SrcMax DstMin DstMax
    Clamp ColorTableComponent Kernel Size Coefs MaskValueThreshold RemappedValue
    PixelFunctionType PixelFunctionArguments SourceTransferType BlockXSize BlockYSize
    GDALWarpOptions WarpMemoryLimit ResampleAlg WorkingDataType Option SourceDataset Transformer
    GenImgProjTransformer ApproxTransformer MaxError BaseTransformer SrcGeoTransform
    SrcInvGeoTransform DstGeoTransform DstInvGeoTransform ReprojectTransformer
    ReprojectionTransformer SourceSRS TargetSRS Options SourceCRS TargetCRS GCPTransformer
    SrcGCPTransformer Order Reversed BandList BandMapping SrcNoDataReal SrcNoDataImag
    DstNoDataReal DstNoDataImag SrcAlphaBand DstAlphaBand Cutline CutlineBlendDist
    PixelFunctionLanguage PansharpeningOptions Algorithm AlgorithmOptions Weights Resampling
    NumThreads BitDepth NoData SpatialExtentAdjustment PanchroBand SpectralBand
    """.split()  # noqa: SIM905
)
"""What GDAL's virtual rasters consist of, without what names files in other ways."""

_SUBCLASSES = {
    *("VRTWarpedDataset", "VRTPansharpenedDataset", "VRTSourcedRasterBand", "VRTWarpedRasterBand"),
    *("VRTDerivedRasterBand", "VRTPansharpenedRasterBand"),
}

_ATTRIBUTES = {"subClass", "relativeToVRT", "relativetoVRT"}

_NOT_AS_ATTRIBUTE = {
    *("sourcefilename", "sourcedataset", "indexdataset", "pixelfunctioncode"),
    *("pixelfunctionlanguage", "subclass", "relativetovrt"),
}

_ITEMS = {"x_dataset", "y_dataset", "overview_file", "rpc_dem"}
"""Metadata by which GDAL opens further files, in small letters."""

_PREFIXED = re.compile(r"[A-Za-z][A-Za-z0-9_]*:")
"""What begins names that are not files: DRIVER:..., http://..."""

_REMOTE = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)[^:]|(https?|s3|gs|az)://")

_REMEDY = "Make it again with gdalbuildvrt, or convert it to GeoTIFF."


class Named(NamedTuple):
    """A file that a virtual raster names.

    Attributes:
        name: As it is written.
        relative: Whether it is relative to the folder of the virtual raster.
    """

    name: str
    relative: bool

    @property
    def elsewhere(self) -> bool:
        """Whether it asks another machine or a driver, instead of naming a file."""
        name = self.name
        return name.startswith(("/vsi", "<", "\\")) or _PREFIXED.match(name) is not None

    @property
    def remote(self) -> bool:
        """Whether it is a file of another machine."""
        return _REMOTE.match(self.name) is not None


def named_in(path: str, content: bytes) -> tuple[Named, ...]:
    """The files that a virtual raster names.

    Args:
        path: The virtual raster, for messages.
        content: Its text.

    Raises:
        UserError: It is not one, or not as GDAL writes it, or it reads files in other ways.
    """
    root = _parsed(path, content)
    found = set()
    for element in root.iter():
        _check(path, element)
        if element.tag in _WITH_FILE:
            name = element.text or ""
            if len(element) or name != name.strip() or "\0" in name:
                raise _refused(path, f"<{element.tag}> that does not hold one path alone")
            relative = (element.get("relativeToVRT") or element.get("relativetoVRT")) == "1"
            if name:
                found.add(Named(name, relative))
    return tuple(sorted(found))


def _parsed(path: str, content: bytes) -> ElementTree.Element:
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        start = text.find("?>") + 2 if text.startswith("<?xml ") else 0
        if any(mark in text[start:] for mark in ("<!", "<?")):
            raise _refused(path, "comments, CDATA, or a document type")
        root = ElementTree.fromstring(text[start:])  # noqa: S314  (see above)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"Cannot read {path}: not recognized as a virtual raster ({error}). It is damaged, or "
            "not what its ending says: fetch it again, rename or remove it."
        ) from error
    if root.tag != "VRTDataset":
        raise _refused(path, f"<{root.tag}> instead of <VRTDataset>")
    return root


def _check(path: str, element: ElementTree.Element) -> None:
    """Rejects what GDAL does not write, or what opens files or runs code in other ways."""
    kind, text = element.get("subClass"), (element.text or "").strip()
    if kind == "VRTRawRasterBand":
        raise UserError(
            f"{path} reads raw bytes of a file: such virtual rasters are not opened. {_REMEDY}"
        )
    if element.tag == "PixelFunctionCode" or (
        element.tag == "PixelFunctionLanguage" and text != "C"
    ):
        raise UserError(f"{path} runs Python: such virtual rasters are not opened. {_REMEDY}")
    if element.tag not in _ELEMENTS:
        raise _refused(path, f"<{element.tag[:40]}>")
    if kind is not None and kind not in _SUBCLASSES:
        raise _refused(path, f'subClass="{kind[:40]}"')
    for name, value in element.items():
        # To GDAL an attribute is a child, whatever its case.
        if name.lower() in _NOT_AS_ATTRIBUTE and name not in _ATTRIBUTES:
            raise _refused(path, f"the attribute {name}")
        if element.tag == "MDI" and value.strip().lower() in _ITEMS:
            raise _refused(path, f"the item {value}, which opens a further file")


def _refused(path: str, what: str) -> UserError:
    return UserError(
        f"{path} holds {what}, which jaxseg does not read in a virtual raster: it could name files "
        f"anywhere. {_REMEDY}"
    )
