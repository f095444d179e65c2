"""PolSARpro folders for tests: what the readers expect, written from arrays."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jaxseg.datasets.landscape.sensors import wishart
from jaxseg.files.polsarpro import FILES, Kind

HEADER = """ENVI
description = {{
PolSARpro File Imported to ENVI}}
samples = {columns}
lines   = {rows}
bands   = 1
header offset = 0
data type = {code}
interleave = bsq
byte order = {order}
band names = {{
{name} }}
"""

CONFIG = "Nrow\n{}\n---------\nNcol\n{}\n---------\nPolarCase\nmonostatic\n"


def write_polsarpro(
    folder: Path, kind: Kind, planes: NDArray[np.generic], *, big_endian: bool = False
) -> Path:
    """Writes (H, W, N) planes in the order of `FILES`, with config.txt and headers."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, columns = planes.shape[:2]
    (folder / "config.txt").write_text(CONFIG.format(rows, columns))
    order = ">" if big_endian else "<"
    stored, code = ("c8", 6) if kind == "S2" else ("f4", 4)
    for number, name in enumerate(FILES[kind]):
        file = folder / f"{name}.bin"
        file.write_bytes(planes[..., number].astype(order + stored).tobytes())
        text = HEADER.format(
            columns=columns, rows=rows, code=code, order=int(big_endian), name=file.name
        )
        (folder / f"{name}.bin.hdr").write_text(text)
    return folder


def scattering(rows: int, columns: int, seed: int = 0) -> NDArray[np.complex64]:
    """(H, W, 4) single looks S_hh, S_hv, S_vh, S_vv of circular Gaussians, HH and VV alike."""
    random = np.random.default_rng(seed)
    parts = random.standard_normal((2, rows, columns, 4)).astype(np.float32)
    s = (parts[0] + 1j * parts[1]).astype(np.complex64)
    s[..., 3] = 0.8 * s[..., 0] + 0.4 * s[..., 3]
    return s


def labelled(folder: Path, *, side: int = 48, looks: int = 4, classes: int = 3) -> Path:
    """A T3 folder of fields of three mechanisms and label.png, ids 1 to 3, 0 on the borders."""
    random = np.random.default_rng(0)
    rows, columns = np.indices((side, side)) // 8
    ids = (rows * 5 + columns * 3 + rows * columns) % classes
    power = np.array([[0.2, 0.01, 0.01], [0.02, 0.15, 0.03], [0.02, 0.01, 0.1]], np.float32)[ids]
    write_polsarpro(folder / "T3", "T3", wishart(power, looks, random))
    label = (ids + 1).astype(np.uint8)
    label[::8] = 0
    Image.fromarray(label).save(folder / "label.png")
    return folder
