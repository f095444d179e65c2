"""Vector files: polygons written batch by batch, features read by rectangle.

GeoPackage, FlatGeobuf and GeoJSON by pyogrio (GDAL), GeoParquet by pyarrow. The libraries are those
of the extra `vector`, and are imported where they are used.
"""

import contextlib
import importlib.util
import json
import os
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.files.formats import refuse_endless
from jaxseg.files.raster import is_remote
from jaxseg.system.disk import check_flushed, writing

Geometries = NDArray[np.object_]
"""(N,) shapely geometries."""

_BEGIN = {
    **{".gpkg": b"SQLite format 3", ".fgb": b"fgb", ".shp": b"\x00\x00\x27\x0a"},
    **{".geojson": b"{", ".json": b"{"},
}
"""What files begin with: a text of another format could name any file, or a service."""

_HEAD = 2**20

_COMMAND = b"gdal_streamed_alg"
"""In JSON, a command line of GDAL, which reads any file or address."""

READ = tuple(_BEGIN)
"""Endings of vector files that are read."""

WRITTEN = {".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".geojson": "GeoJSON", ".parquet": "Parquet"}
"""Endings of vector files that are written, and what GDAL calls the formats."""

INDEXED = (".gpkg", ".fgb", ".shp")
"""Formats with a spatial index; of others, a rectangle costs as much as the whole file."""

_PACKAGES = ("shapely", "pyogrio", "pyproj", "pyarrow")


class Batch(NamedTuple):
    """Some features.

    Attributes:
        geometry: (N,) in the CRS of the file.
        fields: Name -> (N,) values; NaN of real numbers and masked ones mean that there is none.
    """

    geometry: Geometries
    fields: Mapping[str, NDArray[Any]]


class Features(NamedTuple):
    """Features of a file.

    Attributes:
        geometry: (N,) in the CRS of the file.
        values: (N,) of the attribute as texts, "" where there is none or none was asked for.
    """

    geometry: Geometries
    values: NDArray[np.object_]


def check_extra() -> None:
    """Makes sure that the libraries of vectors are there.

    Raises:
        UserError: One is not installed.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"Vectors need {', '.join(missing)}, which is not installed: "
            "pip install 'jaxseg[vector]'"
        )


def is_vector(path: str) -> bool:
    """Whether a path names a vector file by its ending."""
    return path.lower().endswith(READ)


def check_written(path: Path, *, placed: bool = True) -> None:
    """Rejects names of files that cannot be written.

    Args:
        path: The file.
        placed: Whether the polygons have a CRS.

    Raises:
        UserError: The ending is not known, the folder is not there, or the format needs a CRS.
    """
    if path.suffix.lower() not in WRITTEN:
        raise UserError(
            f"{path}: polygons are written as {', '.join(WRITTEN)}. Give a name with such an "
            "ending."
        )
    if not path.parent.is_dir():
        raise UserError(
            f"{path}: the folder {path.parent} does not exist. Create it, or correct the name."
        )
    if path.suffix.lower() == ".geojson" and not placed:
        raise UserError(
            f"{path}: GeoJSON is in WGS84, and the map has no CRS. Write .gpkg, .fgb or .parquet."
        )


def write(
    path: Path,
    batches: Iterable[Batch],
    types: Mapping[str, type],
    crs: str | None,
    facts: Mapping[str, str],
) -> None:
    """Writes polygons; the file is there whole or not at all, and one batch is in memory.

    GeoJSON is in WGS84 with seven digits and counterclockwise, as RFC 7946 has it.

    Args:
        path: The file, see `WRITTEN`. What is there is replaced.
        batches: The polygons.
        types: Name of each field -> int, float or str.
        crs: Coordinate reference system as WKT; None = none.
        facts: What the file says of itself, where its format has a place for that.

    Raises:
        UserError: It cannot be written, or a batch cannot be made.
    """
    import pyarrow
    import shapely

    failed: list[Exception] = []
    kinds = {int: pyarrow.int64(), float: pyarrow.float64(), str: pyarrow.string()}
    schema = pyarrow.schema(
        [pyarrow.field("geometry", pyarrow.binary(), metadata=_ARROW)]
        + [pyarrow.field(name, kinds[kind]) for name, kind in types.items()]
    )

    def record(batch: Batch) -> Any:  # noqa: ANN401
        geometry = pyarrow.array(shapely.to_wkb(batch.geometry), pyarrow.binary())
        columns = [_column(batch.fields[name], kinds[types[name]]) for name in types]
        return pyarrow.RecordBatch.from_arrays([geometry, *columns], schema=schema)

    def records() -> Iterator[Any]:
        try:
            yield from map(record, batches)
        except Exception as error:  # the writer would call it an error of its own
            failed.append(error)
            raise

    aside = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:12]}.tmp{path.suffix}")
    try:
        with writing(path):
            if path.suffix.lower() == ".parquet":
                _write_parquet(aside, records(), schema, crs, facts)
            else:
                _write_by_gdal(aside, path, records(), schema, crs, facts)
        check_flushed(path)
        os.replace(aside, path)  # noqa: PTH105
    except Exception as error:
        # Errors of the two libraries have no common base.
        if failed:
            raise failed[0] from None
        if isinstance(error, UserError):
            raise
        raise UserError(f"Cannot write {path}: {str(error).rstrip('.')}.") from error
    finally:
        aside.unlink(missing_ok=True)


_ARROW = {"ARROW:extension:name": "geoarrow.wkb"}


def _column(values: NDArray[Any], kind: Any) -> Any:  # noqa: ANN401
    import pyarrow

    plain, missing = np.ma.getdata(values), np.ma.getmaskarray(values)
    if plain.dtype.kind == "f":
        missing = missing | np.isnan(plain)
    return pyarrow.array(plain, kind, mask=missing)


def _write_by_gdal(
    aside: Path,
    path: Path,
    records: Iterator[Any],
    schema: Any,  # noqa: ANN401
    crs: str | None,
    facts: Mapping[str, str],
) -> None:
    import pyarrow
    import pyogrio

    driver = WRITTEN[path.suffix.lower()]
    options: dict[str, Any] = {"layer_metadata": dict(facts)}
    if driver == "GeoJSON":
        options = {
            "layer_options": {
                "RFC7946": "YES",
                "DESCRIPTION": json.dumps(facts),
            }
        }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # the map has none either
        pyogrio.write_arrow(
            pyarrow.RecordBatchReader.from_batches(schema, records),
            aside,
            layer=path.stem,
            driver=driver,
            geometry_name="geometry",
            geometry_type="Polygon",
            crs=crs,
            **options,
        )


def _write_parquet(
    aside: Path,
    records: Iterator[Any],
    schema: Any,  # noqa: ANN401
    crs: str | None,
    facts: Mapping[str, str],
) -> None:
    """GeoParquet 1.1: WKB, and the CRS as PROJJSON in the metadata of the file."""
    import pyarrow.parquet
    import pyproj

    column = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": None if crs is None else pyproj.CRS.from_wkt(crs).to_json_dict(),
    }
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    schema = schema.with_metadata({**facts, "geo": json.dumps(geo)})
    with pyarrow.parquet.ParquetWriter(aside, schema, compression="zstd") as file:
        for batch in records:
            file.write_batch(batch.replace_schema_metadata(schema.metadata))


def crs_of(path: str) -> str | None:
    """The coordinate reference system of a file, as text; None without one.

    Raises:
        UserError: The file cannot be read.
    """
    with _reading(path):
        import pyogrio

        found: str | None = pyogrio.read_info(path)["crs"]
    return found


def fields_of(path: str) -> tuple[str, ...]:
    """The names of the attributes of a file.

    Raises:
        UserError: The file cannot be read.
    """
    with _reading(path):
        import pyogrio

        return tuple(map(str, pyogrio.read_info(path)["fields"]))


def read(
    path: str, attribute: str, bounds: tuple[float, float, float, float] | None = None
) -> Features:
    """The features that a rectangle meets, in the order of the file, in its own CRS.

    Args:
        path: The file.
        attribute: Its values are read; empty = none.
        bounds: Smallest x and y, largest x and y, in the CRS of the file; None = all.

    Raises:
        UserError: The file cannot be read, or has no such attribute.
    """
    with _reading(path):
        import pyogrio
        import shapely

        columns = [attribute] if attribute else []
        meta, _, wkb, values = pyogrio.raw.read(path, columns=columns, bbox=bounds, force_2d=True)
        geometry = shapely.from_wkb(wkb)
    if attribute and attribute not in meta["fields"]:
        raise UserError(
            f"{path} has no attribute {attribute!r}. It has {', '.join(fields_of(path))}."
        )
    texts = [_text(value) for value in values[0]] if attribute else [""] * len(geometry)
    there = ~(shapely.is_missing(geometry) | shapely.is_empty(geometry))
    return Features(geometry[there], np.array(texts, object)[there])


def _text(value: object) -> str:
    """A value of an attribute; whole numbers have no point, whatever type the format gave them."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Errors of a file that is read become errors that a user understands."""
    check_extra()
    import pyogrio

    if not (is_remote(path) or path.startswith("/vsi") or Path(path).exists()):
        raise UserError(f"{path}: no such file. Check the path.")
    refuse_endless(path)
    if Path(path).is_file():
        with open(path, "rb") as file:  # noqa: PTH123
            begin = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
        fits = begin.startswith(_BEGIN.get(Path(path).suffix.lower(), b""))
        if not fits or _COMMAND in begin:
            raise UserError(
                f"Cannot read {path}: it is not what its ending says. Read are {', '.join(READ)}."
            )
    try:
        yield
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise UserError(f"Cannot read {path}: {str(error).rstrip('.')}.") from error


def told(names: Sequence[str]) -> str:
    """Names of classes as the metadata of a file hold them: JSON."""
    return json.dumps(list(names), ensure_ascii=False)
