"""Records are read at random from files that are there whole, and damage is found."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.files import records

RECORDS = [bytes([number]) * (1000 + number) for number in range(40)]


@pytest.mark.parametrize("compression", ["zstd:-1", "zstd:3", "uncompressed"])
def test_records_come_back_in_any_order_from_any_thread(tmp_path: Path, compression: str) -> None:
    file = tmp_path / "a.array_record"
    records.write(file, RECORDS, compression)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    wanted = np.random.default_rng(0).integers(0, 40, (30, 5)).tolist()
    with ThreadPoolExecutor(4) as pool:
        for numbers, found in zip(
            wanted, pool.map(lambda n: records.read(str(file), n), wanted), strict=True
        ):
            assert found == [RECORDS[number] for number in numbers]
    again = tmp_path / "b.array_record"
    records.write(again, iter(RECORDS), compression)
    assert again.read_bytes() == file.read_bytes()
    expected = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
    assert records.digest(file) == expected


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def failing() -> object:
        yield RECORDS[0]
        raise UserError("The source is gone.")

    with pytest.raises(UserError, match="source is gone"):
        records.write(tmp_path / "a.array_record", failing(), "uncompressed")  # type: ignore[arg-type]
    assert not (tmp_path / "a.array_record").exists()
    with pytest.raises(UserError, match="cannot be written"):
        records.write(tmp_path / "missing" / "a.array_record", RECORDS, "uncompressed")


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.array_record"
    with pytest.raises(UserError, match=r"a.array_record: no such file"):
        records.read(str(file), [0])
    with pytest.raises(UserError, match=r"a.array_record cannot be read"):
        records.digest(file)
    records.write(file, RECORDS, "uncompressed")
    data = bytearray(file.read_bytes())
    data[data.index(RECORDS[7]) + 500] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"a.array_record is damaged at record 7: .*hash mismatch"):
        records.read(str(file), [3, 7, 8])
    assert records.read(str(file), [3, 8]) == [RECORDS[3], RECORDS[8]]
    with pytest.raises(UserError, match=r"record 40: .*out of bound"):
        records.read(str(file), [40])
    short = tmp_path / "short.array_record"
    short.write_bytes(bytes(data[: len(data) // 2]))
    with pytest.raises(UserError, match=r"short.array_record is damaged at record 0"):
        records.read(str(short), [0])
