"""What data and networks are where nobody says otherwise; see the tables of runs and of losses."""

import dataclasses
from typing import Any

import flax.linen as nn
import pytest

from jaxseg import models
from jaxseg.datasets import (
    VOC,
    ArrayScene,
    Folder,
    HeldOut,
    IndianPines,
    LabelledPolsar,
    Landscape,
    OxfordPets,
    Packed,
    SalinasA,
    Styled,
    WithoutDoubts,
)
from jaxseg.datasets.folder import Vectors
from jaxseg.datasets.mislabelled import Mislabelled
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.datasets.stages import Stage
from jaxseg.models import (
    AttentionUNet,
    CHWSUNet,
    ComplexUNet,
    DeepLabV3,
    DeepLabV3Plus,
    DomainPrompted,
    GridAttentionUNet,
    LecturePSPNet,
    LinkNet,
    MultiscaleSAR,
    OriginalUNet,
    PrithviLinear,
    PrithviUNet,
    PSPNet,
    RefinedPSPNet,
    ReSCNet,
    ResNetUNet,
    TwoNetworks,
    UNet,
    UNet3Plus,
    UNetPlusPlus,
)

BY_FILE = "as the files say"
NETWORKS = (
    *(AttentionUNet, CHWSUNet, ComplexUNet, DeepLabV3, DeepLabV3Plus, DomainPrompted),
    GridAttentionUNet,
    *(LecturePSPNet, LinkNet, MultiscaleSAR, OriginalUNet, PSPNet, RefinedPSPNet, ReSCNet),
    *(PrithviLinear, PrithviUNet, ResNetUNet, TwoNetworks, UNet, UNet3Plus, UNetPlusPlus),
)
RESNETS = (ResNetUNet, UNetPlusPlus)
ATROUS = (DeepLabV3, DeepLabV3Plus)
KINDS = ("image", "mask", "instance", "validity")
BLOCKS = {"kind": "blocks", "seed": 0}

DEFAULTS: list[tuple[Any, str, object, str]] = [
    # -- data -------------------------------------------------------------------------------------
    *((Folder, name, "", "none is named") for name in ("masks", "instances", "validity", "lists")),
    *((Folder, f"{kind}_suffix", "", "equal stems") for kind in KINDS),
    *((Folder, f"{kind}_prefix", "", "equal stems") for kind in KINDS),
    (Folder, "separate_touching", False, "masks as they are"),
    (Folder, "ids", (), "0, 1, 2, ..."),
    (Folder, "mask_colors", (), "masks hold ids"),
    (Folder, "ignore_ids", (), "every value is a class, or an error"),
    (Folder, "ignore_colors", (), "likewise"),
    (Folder, "mask_nodata", "ignore", "no data is no class"),
    (Folder, "resample_masks", False, "another grid is more often a mistake"),
    (Folder, "vectors", Vectors(), "see below"),
    (Vectors, "attribute", "", "features of one class"),
    (Vectors, "values", (), "the names of the classes"),
    (Vectors, "ignore_values", (), "every value is a class, or an error"),
    (Vectors, "uncovered", "first_class", "people draw what they look for"),
    (Vectors, "all_touched", False, "a pixel is what its centre is, as GDAL draws"),
    (Vectors, "buffer", 0.0, "polygons need none, and a width is not guessed"),
    (Vectors, "area", "", "all of the image is labelled"),
    (Folder, "map_colors", (), "mask_colors, else distinct hues"),
    (Folder, "band_numbers", (), "all but opacity"),
    (Folder, "band_names", (), BY_FILE),
    (Folder, "wavelengths", (), BY_FILE),
    (Folder, "added", None, BY_FILE),
    (Folder, "unit", "", BY_FILE),
    (Folder, "convert", "", "numbers as they are"),
    (Folder, "multiply", 1.0, "numbers as they are"),
    (Folder, "nodata", None, BY_FILE),
    (Folder, "nodata_where", "any_band", "a pixel without one band is not measured"),
    (Folder, "split_by", "files", "no scene in two splits"),
    (Folder, "fractions", (0.7, 0.15, 0.15), "most of it trains"),
    (Folder, "block", 512, "twice the crop of Data"),
    (Folder, "guard", 16, "neighbours are alike within some pixels"),
    (Folder, "split_seed", 0, "as every seed"),
    (Landscape, "modality", "optical", "what people know"),
    (Landscape, "tiles", (0, 0, 0), "what the numbers of docs/ were measured on"),
    (Landscape, "seed", 0, "likewise"),
    (Landscape, "looks", 4, "speckle as in multilooked products"),
    (Landscape, "data_dir", "", "TFDS' own folder"),
    (Landscape, "seasons", False, "what the numbers of docs/ were measured on"),
    (OxfordPets, "validation_percent", 10, "the set comes without a validation split"),
    (OxfordPets, "data_dir", "", "TFDS' own folder"),
    (VOC, "year", "2012", "what papers report"),
    (VOC, "augmented", False, "the official split"),
    (VOC, "data_dir", "", "TFDS' own folder"),
    (IndianPines, "path", "", "the scene of the package tensorly"),
    (IndianPines, "split", SceneSplit(**BLOCKS, fractions=(0.4, 0.1, 0.5), block=12, guard=4), "="),
    (SalinasA, "path", "salinas_a", "the folder's usual name"),
    (SalinasA, "split", SceneSplit(**BLOCKS, fractions=(0.4, 0.1, 0.5), block=12, guard=4), "="),
    (
        LabelledPolsar,
        "split",
        SceneSplit(**BLOCKS, fractions=(0.5, 0.1, 0.4), block=48, guard=8),
        "=",
    ),
    (LabelledPolsar, "ignore_ids", (0,), "0 is unlabelled in the sets of the field"),
    (LabelledPolsar, "gsd", None, BY_FILE),
    (LabelledPolsar, "labels_name", "", "the only array of two axes"),
    (ArrayScene, "labels", "", "one file often holds both"),
    (ArrayScene, "image_name", "", "the only array of three axes"),
    (ArrayScene, "labels_name", "", "the only array of two axes"),
    (ArrayScene, "image_axes", "rows-columns-bands", "as NumPy and MATLAB store pictures"),
    (ArrayScene, "label_axes", "rows-columns", "likewise"),
    (ArrayScene, "ids", (), "as they are: 0, 1, 2, ..."),
    (ArrayScene, "ignore_ids", (), "0 is a class in some sets: said by the user, or jaxseg new"),
    (ArrayScene, "same_ids", (), "one value for each class"),
    (ArrayScene, "map_colors", (), "distinct hues"),
    (ArrayScene, "band_names", (), "arrays have none"),
    (ArrayScene, "wavelengths", (), "not known"),
    (ArrayScene, "wavelengths_name", "", "not known"),
    (ArrayScene, "unit", "", "not known"),
    (ArrayScene, "gsd", None, "not known"),
    (ArrayScene, "nodata", None, "arrays have no tag"),
    (ArrayScene, "nodata_where", "any_band", "as of Folder"),
    (ArrayScene, "split", SceneSplit(**BLOCKS, fractions=(0.4, 0.1, 0.5), block=12, guard=4), "="),
    (SceneSplit, "kind", "blocks", "neighbouring pixels in two splits are a leak"),
    (SceneSplit, "fractions", (0.4, 0.1, 0.5), "half of a small scene is tested"),
    (SceneSplit, "block", 12, "some blocks of every class in scenes of 100 rows"),
    (SceneSplit, "guard", 4, "pixels between splits that belong to none"),
    (SceneSplit, "seed", 0, "a run repeats itself unless asked"),
    (Packed, "original", None, "found when a run starts"),
    (Stage, "old", (), "the first stage"),
    (Stage, "background", "other", "our choice"),
    (Mislabelled, "share", 0.4, "as much as papers of the field try"),
    (Mislabelled, "confusable", (), "any other class"),
    (Mislabelled, "shift", 0, "one kind of error at a time"),
    (Mislabelled, "erode", 0, "likewise"),
    (Mislabelled, "seed", 0, "a run repeats itself unless asked"),
    (HeldOut, "part", 0, "the first"),
    (HeldOut, "parts", 2, "two runs look at all labels"),
    (WithoutDoubts, "folders", (), "said by the user"),
    # -- networks ---------------------------------------------------------------------------------
    *((network, "dtype", "float32", "asks for nothing of the device") for network in NETWORKS),
    *((network, "remat", False, "memory suffices, as a rule") for network in NETWORKS),
    *((network, "attention", "none", "the plain network") for network in RESNETS),
    *((network, "backbone", "resnet34", "segmentation_models.pytorch") for network in RESNETS),
    *((network, "features", (256, 128, 64, 32, 16), "likewise") for network in RESNETS),
    *((network, "deep_supervision", False, "one loss") for network in (UNetPlusPlus, UNet3Plus)),
    *((network, "backbone", "resnet50", "torchvision, mmsegmentation") for network in ATROUS),
    *((network, "atrous_rates", None, "by the output stride") for network in ATROUS),
    *((network, "multi_grid", (1, 1, 1), "torchvision") for network in ATROUS),
    *((network, "first_rate", "before", "torchvision") for network in ATROUS),
    *((network, "features", 256, "Chen et al. 2017") for network in ATROUS),
    *((network, "align_corners", False, "torchvision") for network in ATROUS),
    *((network, "freeze_batch_norm", False, "everything learns") for network in ATROUS),
    (DeepLabV3, "output_stride", 8, "torchvision"),
    (DeepLabV3, "aux_head", False, "one loss"),
    (DeepLabV3, "dropout", 0.5, "torchvision"),
    (DeepLabV3, "width", 64, "He et al. 2016"),
    (DeepLabV3, "image_pooling", True, "Chen et al. 2017"),
    (DeepLabV3Plus, "output_stride", 16, "Chen et al. 2018"),
    (DeepLabV3Plus, "separable", False, "VainF"),
    (DeepLabV3Plus, "pyramid_conv", False, "VainF"),
    (DeepLabV3Plus, "decoder_convs", 1, "VainF"),
    (DeepLabV3Plus, "low_first", True, "VainF"),
    (DeepLabV3Plus, "dropout", 0.1, "VainF"),
    (PSPNet, "backbone", "resnet50", "Zhao et al. 2017"),
    (PSPNet, "bins", (1, 2, 3, 6), "Zhao et al. 2017"),
    (PSPNet, "aux_head", True, "Zhao et al. 2017"),
    (PSPNet, "dropout", 0.1, "Zhao et al. 2017"),
    (PSPNet, "width", 64, "He et al. 2016"),
    (LecturePSPNet, "backbone", "resnet18", "Lextal/pspnet-pytorch"),
    (LecturePSPNet, "bins", (1, 2, 3, 6), "Zhao et al. 2017"),
    (LecturePSPNet, "pyramid_dropout", 0.3, "Lextal/pspnet-pytorch"),
    (LecturePSPNet, "dropout", 0.15, "Lextal/pspnet-pytorch"),
    (RefinedPSPNet, "backbone", "resnet50", "as PSPNet"),
    (RefinedPSPNet, "output_stride", 8, "as PSPNet"),
    (RefinedPSPNet, "features", 256, "as DeepLabV3+'s decoder"),
    (RefinedPSPNet, "aux_head", False, "one loss"),
    (RefinedPSPNet, "dropout", 0.1, "as PSPNet"),
    (RefinedPSPNet, "width", 64, "He et al. 2016"),
    (PrithviLinear, "backbone", "prithvi_eo_v2_tiny", "the smallest with published weights"),
    (PrithviUNet, "backbone", "prithvi_eo_v2_tiny", "the smallest with published weights"),
    (PrithviUNet, "features", (512, 256, 128, 64), "the examples of terratorch"),
    (LinkNet, "backbone", "resnet18", "Chaurasia, Culurciello 2017"),
    (LinkNet, "form", "pytorch", "the port that people use"),
    (UNet, "features", 32, "brain-segmentation-pytorch"),
    (UNet, "skips", True, "a U-Net"),
    (OriginalUNet, "features", 64, "Ronneberger et al. 2015"),
    (OriginalUNet, "context", "mirror", "Ronneberger et al. 2015"),
    (OriginalUNet, "dropout", 0.5, "their Caffe network"),
    (UNet3Plus, "features", 64, "Huang et al. 2020"),
    (AttentionUNet, "features", 64, "LeeJunHyun/Image_Segmentation"),
    (AttentionUNet, "gates", True, "an Attention U-Net"),
    (GridAttentionUNet, "features", 16, "Oktay et al. 2018: 64 by a factor of 4"),
    (GridAttentionUNet, "gates", 2, "Oktay et al. 2018"),
    (CHWSUNet, "features", 64, "the authors' code"),
    (CHWSUNet, "attention", "chws", "the authors' code"),
    (CHWSUNet, "axis", "permute", "the authors' code"),
    (ComplexUNet, "pairs", 0, "as many as the image has"),
    (ComplexUNet, "features", 16, "as many real numbers as a U-Net of 32"),
    (ComplexUNet, "activation", "crelu", "Trabelsi et al. 2018"),
    (MultiscaleSAR, "features", (32, 64, 64), "our choice"),
    (MultiscaleSAR, "kernel_sizes", (3, 5, 7), "three scales"),
    (MultiscaleSAR, "hidden", 128, "our choice"),
    (MultiscaleSAR, "atoms", 32, "our choice"),
    (MultiscaleSAR, "sparse_weight", 0.1, "our choice"),
    (MultiscaleSAR, "sparsity", 1.0, "our choice"),
    (ReSCNet, "features", 64, "our choice"),
    (ReSCNet, "modules", 3, "our choice"),
    (ReSCNet, "patch", 9, "our choice"),
    (ReSCNet, "reduction", 8, "our choice"),
    (ReSCNet, "dropout", 0.5, "our choice"),
    (ReSCNet, "attention", True, "Fu et al. 2024"),
    (TwoNetworks, "network", UNet(num_classes=0), "two of the plain network"),
    (TwoNetworks, "answer", "mean", "two err less than one"),
    (TwoNetworks, "split", 0, "both see all bands"),
    (DomainPrompted, "network", UNet(num_classes=0), "the plain network"),
    (DomainPrompted, "domains", 2, "the fewest"),
    (DomainPrompted, "prompt", 16, "our choice"),
    (DomainPrompted, "tokens", 4, "our choice; the paper of tokens of every block tries 1 to 200"),
    (DomainPrompted, "masked", 0.5, "prompts and simulator learn from as many windows"),
    (Styled, "wilted", 0.0, "gain and offset alone"),
]


@pytest.mark.parametrize(
    ("owner", "name", "value", "reason"),
    DEFAULTS,
    ids=[f"{owner.__name__}.{name}" for owner, name, _, _ in DEFAULTS],
)
def test_a_default_is_what_users_were_told(
    owner: Any, name: str, value: object, reason: str
) -> None:
    found = {field.name: field.default for field in dataclasses.fields(owner)}[name]
    assert found == value, f"{value}: {reason}"
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "owner", dict.fromkeys(owner for owner, *_ in DEFAULTS), ids=lambda owner: owner.__name__
)
def test_every_default_is_in_the_table(owner: Any) -> None:
    fields = (field for field in dataclasses.fields(owner) if field.name not in ("parent", "name"))
    given = {field.name for field in fields if field.default is not dataclasses.MISSING}
    assert {name for other, name, *_ in DEFAULTS if other is owner} == given


def test_every_network_is_in_the_table() -> None:
    public = {name for name in models.__all__ if issubclass(getattr(models, name), nn.Module)}
    assert {network.__name__ for network in NETWORKS} == public
