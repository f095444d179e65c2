"""The text of a program becomes arrays whose bytes, with padding, are worked by hand."""

import pytest
from fixtures.places import PROGRAMS

from jaxseg.planning import hlo
from jaxseg.planning.hlo import Shape

PROGRAM = (PROGRAMS / "loop.txt").read_text()


@pytest.mark.parametrize(
    ("shape", "numbers", "padded"),
    [
        # 32 channels fill a quarter of 128 lanes, 2 images a quarter of 8 sublanes.
        (Shape("bf16", (2, 4, 4, 32), (3, 0, 2, 1), (8, 128)), 2048, 4 * 4 * 8 * 128 * 2),
        # Whole tiles: nothing is added.
        (Shape("f32", (8, 256), (1, 0), (8, 128)), 8192, 8192),
        # 100 of 128 lanes.
        (Shape("f32", (100,), (0,), (128,)), 400, 512),
        # A vector in a tile of two axes takes the whole tile.
        (Shape("f32", (16,), (0,), (8, 128)), 64, 4096),
        # No tiles, as on a GPU.
        (Shape("f32", (3, 5), (1, 0)), 60, 60),
        # Scalars and tokens.
        (Shape("pred", ()), 1, 1),
        (Shape("token", ()), 0, 0),
        (Shape("s4", (6,), (0,)), 3, 3),
    ],
)
def test_the_bytes_of_an_array_are_those_of_whole_tiles(
    shape: Shape, numbers: float, padded: float
) -> None:
    assert (shape.numbers, shape.bytes) == (numbers, padded)


def test_a_program_is_read_into_computations_and_instructions() -> None:
    program = hlo.parsed(PROGRAM)
    main = program.computations[program.entry]
    assert program.entry == "main.1"
    assert list(main) == ["a", "b", "loop", "out"]
    assert main["a"].shapes == (Shape("bf16", (2, 4, 4, 32), (3, 0, 2, 1), (8, 128)),)
    assert main["a"].number == 0
    assert main["b"].shapes[0].on_chip
    out = main["out"]
    assert (out.op, out.operands, out.called, out.root) == ("fusion", ("a", "b"), ("body",), True)
    assert (out.scope, out.frame) == ("jit(f)/jvp(UNet)/head/add", 7)
    assert len(main["loop"].shapes) == 2


def test_a_loop_multiplies_what_it_runs() -> None:
    assert hlo.parsed(PROGRAM).runs() == {"main.1": 1, "body": 5}


def test_a_text_without_a_program_is_rejected() -> None:
    with pytest.raises(ValueError, match="ENTRY"):
        hlo.parsed("HloModule nothing\n")
