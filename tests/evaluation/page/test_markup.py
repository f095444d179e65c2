"""HTML of which no part comes from somebody else."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from jaxseg.evaluation.page.markup import Html, drawing, joined, photo, table, tag


def test_text_is_escaped_and_html_is_not() -> None:
    inner = tag("b", "<script>")
    assert inner == "<b>&lt;script&gt;</b>"
    assert tag("p", inner, " & ") == "<p><b>&lt;script&gt;</b> &amp; </p>"
    assert joined("<", Html("<hr>")) == "&lt;<hr>"


def test_attributes_are_quoted_named_and_left_out() -> None:
    found = tag(
        "img", alt='"><x', class_="a", aria_label="b", hidden=True, src=None, draggable=False
    )
    assert found == '<img alt="&quot;&gt;&lt;x" class="a" aria-label="b" hidden>'
    assert tag("rect", x=1 / 3, width=4) == '<rect x="0.333333" width="4"></rect>'


def test_a_table_names_its_rows_and_columns() -> None:
    found = table("scores", ["class", "IoU"], [["<a>", "1"]])
    assert '<th scope="col">IoU</th>' in found
    assert '<th scope="row">&lt;a&gt;</th><td>1</td>' in found
    assert 'tabindex="0"' in found


def opened(address: str) -> np.ndarray:
    content = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("colors", [3, 256, 2000])
def test_a_drawing_loses_nothing(colors: int) -> None:
    random = np.random.default_rng(0)
    some = random.integers(0, 256, (colors, 3), np.uint8)
    picture = some[random.integers(0, colors, (70, 90))]
    np.testing.assert_array_equal(opened(drawing(picture)), picture)


def test_a_photo_looks_the_same() -> None:
    rows, columns = np.mgrid[:64, :48]
    picture = np.stack([4 * rows, 5 * columns, 0 * rows + 90], -1).astype(np.uint8)
    found = opened(photo(picture))
    assert np.abs(found.astype(int) - picture).mean() < 4
