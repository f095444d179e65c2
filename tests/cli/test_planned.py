"""The command `jaxseg plan`: its screen fits 80 columns, its refusals come at once."""

import io
import time

import pytest
from fixtures.planned import made
from rich.console import Console

from jaxseg.cli import planned
from jaxseg.cli.main import main
from jaxseg.planning.roofline import Times
from jaxseg.planning.search import Found
from jaxseg.planning.topology import topology


def screen(show: object, found: object) -> str:
    out = io.StringIO()
    show(found, Console(file=out, width=100, highlight=False, markup=False))  # type: ignore[operator]
    return out.getvalue()


def test_a_plan_fits_80_columns_and_calls_itself_a_prediction() -> None:
    said = screen(planned.show, made())
    assert max(map(len, said.splitlines())) <= 80
    for part in (
        "Predictions, not measurements",
        "fits: 5.73 GiB of 15.75 GiB",
        "2.29 TFLOP, 37.6 GB through HBM, 64% of it padding",
        "2 all-reduce (15.5 MB)",
        "bound by HBM",
        "at most 160 a chip, 1,280 in all",
        "jaxseg/models/unet.py:130",
    ):
        assert part in " ".join(said.split()), part


def test_what_does_not_fit_says_by_how_much_and_has_no_rate() -> None:
    said = " ".join(screen(planned.show, made(temporaries=20 * 2**30, fits=False)).split())
    assert "does NOT fit: 20.11 GiB of 15.75 GiB a chip, 4.36 GiB too much" in said
    assert "images/s none" in said


def test_the_memory_of_gpus_is_called_a_lower_bound() -> None:
    said = screen(planned.show, made(topology=topology("h100x8"), collectives=()))
    assert "lower bound" in said
    assert "no collectives" in said


def test_a_search_names_the_flags_of_its_result() -> None:
    slow = made(mesh={"data": 1, "fsdp": 8, "space": 1}, times=Times(0.1, 0.1, 0.2, 0.1))
    best, largest = made(), made(batch=176)
    said = screen(planned.show_search, Found((best, slow), best, largest, 184))
    assert max(map(len, said.splitlines())) <= 80
    assert "--config.mesh.data 8 --config.mesh.fsdp 1 --config.mesh.space 1" in said
    assert "--config.data.batch-size 176; 184 does not fit" in said
    assert "No batch fits it" in screen(planned.show_search, Found((best,), best, None, 8))


@pytest.mark.parametrize(
    ("arguments", "both"),
    [
        (["unet", "--topology", "v5e:3x5"], ("v5e:3x5", "v5e:2x4")),
        (["unet", "--topology", "v5e:2x4", "--config.mesh.fsdp", "3"], ("fsdp=3", "8 chip")),
        (["unet", "--topology", "v5e:4x4"], ("Batch of 8", "16 chip")),
        (["unett", "--topology", "v5e:2x4"], ("unett", "unet")),
        (["unet", "--topology", "v5e:2x4", "--bands", "-1"], ("--bands -1", "positive")),
    ],
)
def test_a_mistake_ends_at_once_with_both_sides(
    arguments: list[str], both: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    with pytest.raises(SystemExit) as stopped:
        main(["plan", *arguments])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    for side in both:
        assert side in said
    assert time.monotonic() - began < 20
