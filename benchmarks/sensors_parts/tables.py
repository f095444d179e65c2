"""The tables of `benchmarks/sensors.py`, and which runs each of them needs."""

from collections.abc import Collection, Mapping, Sequence

import experiment
import numpy as np

from jaxseg.datasets.landscape import CLASSES, Landscape
from jaxseg.datasets.landscape.surfaces import Modality

PARTS = ("sensors", "designs")

Results = Mapping[str, Sequence[experiment.Numbers]]

NETWORKS = {"unet": "U-Net", "deeplab": "DeepLabV3", "pspnet": "PSPNet"}
SENSORS: dict[Modality, str] = {
    "optical": "optical",
    "sar": "SAR",
    "polsar": "PolSAR",
    "hyperspectral": "hyperspectral",
}
REFERENCE = "unet_optical"

TITLES = {
    f"{network}_{sensor}": f"{title}, {of}"
    for network, title in NETWORKS.items()
    for sensor, of in SENSORS.items()
} | {
    "small_unet_sar": "U-Net of 3 features, SAR",
    "multiscale_sar": "multi-scale SAR network",
    "chws_unet_plain": "CHWS-UNet without attention, SAR",
    "chws_unet_sar": "CHWS-UNet, SAR",
    "complex_unet_polsar": "complex U-Net, PolSAR",
    "refined_pspnet_polsar": "refined PSPNet, PolSAR",
    "refined_edges_polsar": "refined PSPNet with its edge-aware loss, PolSAR",
    "resc_net_plain": "ReSC-Net without attention",
    "resc_net": "ReSC-Net",
}

DESIGNS = (
    ("multiscale_sar", "small_unet_sar"),
    ("multiscale_sar", "unet_sar"),
    ("chws_unet_sar", "chws_unet_plain"),
    ("complex_unet_polsar", "unet_polsar"),
    ("refined_pspnet_polsar", "pspnet_polsar"),
    ("refined_edges_polsar", "pspnet_polsar"),
    ("resc_net", "resc_net_plain"),
    ("resc_net", "unet_hyperspectral"),
)
"""A network made for its sensor, and a plain one on the same sensor."""


def wanted(parts: Collection[str]) -> set[str]:
    """The runs that some tables need."""
    names: set[str] = set()
    if "sensors" in parts:
        names |= {f"{network}_{sensor}" for network in NETWORKS for sensor in SENSORS}
    if "designs" in parts:
        names |= {name for pair in DESIGNS for name in pair} | {REFERENCE}
    return names


def text(
    results: Results, pilots: Mapping[str, Mapping[float, float]], parts: Collection[str]
) -> str:
    """All tables in Markdown."""
    blocks = []
    if "sensors" in parts:
        blocks += [sensors(results), costs(results), classes(results)]
    if "designs" in parts:
        blocks += [designs(results)]
    note = "`?`: the interval contains zero, or there is one seed: nothing is known."
    return "\n\n".join([*blocks, note, budget(results, pilots)]) + "\n"


def sensors(results: Results) -> str:
    """Test mIoU: a row per network, a column per sensor."""
    rows = [
        [title, *(experiment.spread(mious(results[f"{name}_{sensor}"])) for sensor in SENSORS)]
        for name, title in NETWORKS.items()
    ]
    limits = [f"{Landscape(sensor).per_pixel_ceiling:.3f}" for sensor in SENSORS]
    rows.append(["limit of single pixels", *limits])
    return table(["test mIoU", *SENSORS.values()], rows)


def costs(results: Results) -> str:
    """Paired differences from the optical sensor: a row per network."""
    others = [sensor for sensor in SENSORS if sensor != "optical"]
    rows = []
    for name, title in NETWORKS.items():
        optical = mious(results[f"{name}_optical"])
        found = [mious(results[f"{name}_{sensor}"]) for sensor in others]
        rows.append([title, *(difference(values, optical) for values in found)])
    return table(["from optical, 95 %", *(SENSORS[sensor] for sensor in others)], rows)


def classes(results: Results) -> str:
    """Test IoU of each class by U-Net: optical, and paired differences from it."""
    rows = []
    for name in CLASSES:
        of = {
            sensor: [found[f"iou/{name}"] for found in results[f"unet_{sensor}"]]
            for sensor in SENSORS
        }
        others = [
            difference(of[sensor], of["optical"]) for sensor in SENSORS if sensor != "optical"
        ]
        rows.append([name, experiment.spread(of["optical"]), *others])
    return table(["IoU of U-Net", *SENSORS.values()], rows)


def designs(results: Results) -> str:
    """A row per design: against a plain network on its sensor, and against U-Net on optical."""
    optical = mious(results[REFERENCE])
    rows = []
    for name, plain in DESIGNS:
        old, new = mious(results[plain]), mious(results[name])
        sizes = [f"{results[each][0]['parameters'] / 1000:.0f} k" for each in (plain, name)]
        rows.append([TITLES[name], TITLES[plain], " → ".join(sizes)])
        rows[-1] += [experiment.spread(old), experiment.spread(new), difference(new, old)]
        rows[-1].append(difference(new, optical))
    heads = ["network", "against", "parameters", "test mIoU of that", "of the network"]
    return table([*heads, "difference, 95 %", f"from «{TITLES[REFERENCE]}», 95 %"], rows, left=2)


def budget(results: Results, pilots: Mapping[str, Mapping[float, float]]) -> str:
    """A row per run: its size, its time, and validation mIoU of the pilot by rate."""
    rates = next(iter(pilots.values()))
    rows = []
    for name, found in results.items():
        seconds = np.mean([numbers["cpu_s"] for numbers in found])
        best = max(pilots[name], key=pilots[name].__getitem__)
        tried = [f"{miou:.3f}" for miou in pilots[name].values()]
        size = f"{found[0]['parameters'] / 1000:.0f} k"
        rows.append([TITLES[name], size, f"{seconds:.0f}", *tried, f"{best:g}"])
    heads = [f"validation mIoU of the pilot at {rate:g}" for rate in rates]
    return table(["run", "parameters", "CPU s", *heads, "rate"], rows)


def mious(found: Sequence[experiment.Numbers]) -> list[float]:
    """The test mIoU of each seed."""
    return [numbers["miou"] for numbers in found]


def difference(values: Sequence[float], reference: Sequence[float]) -> str:
    """The paired difference with its interval, marked where nothing is known."""
    found = experiment.paired(values, reference)
    return f"{found}{'' if found.known else ' ?'}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Markdown: `left` columns of text, then numbers."""
    lines = [
        f"| {' | '.join(heads)} |",
        "|" + "---|" * left + "---:|" * (len(heads) - left),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines)
