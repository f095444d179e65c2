"""HTML in which every text is escaped, pictures are inside, and nothing is fetched.

Names of classes and files come from strangers: what is put between tags is escaped unless it was
made here. The browser is told to load nothing (Content-Security-Policy), and to run no other script
and apply no other style than those of this page, which it knows by their digests.
"""

import base64
import hashlib
import html
import io
from collections.abc import Sequence
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EMPTY = ("img", "input", "meta")
"""Elements without content, which are not closed."""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *content: str, **attributes: str | float | bool | None) -> Html:
    """An element; content is escaped unless it is `Html`.

    Args:
        name: Of the element.
        content: What stands in it.
        attributes: `for_` is for, `aria_label` aria-label, True an attribute without a value; those
            that are None or False are left out.
    """
    given = ""
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        said = key.rstrip("_").replace("_", "-")
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        given += f" {said}" if value is True else f' {said}="{html.escape(text)}"'
    if name in EMPTY:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(*content)}</{name}>")


def joined(*parts: str) -> Html:
    """Parts one after another, each escaped unless it is `Html`."""
    return Html("".join(p if isinstance(p, Html) else html.escape(p) for p in parts))


def table(
    caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]], **attributes: str
) -> Html:
    """A table whose first column names the rows; wide ones scroll by themselves.

    Args:
        caption: What it shows.
        headings: One for each column.
        rows: Cells; the first one of a row is its heading.
        attributes: Of the table.
    """
    head = tag("tr", *(tag("th", heading, scope="col") for heading in headings))
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:]))
        for row in rows
    ]
    whole = tag(
        "table",
        tag("caption", caption),
        tag("thead", head),
        tag("tbody", *body),
        **attributes,
    )
    return scrolled(whole, caption)


def scrolled(content: Html, label: str) -> Html:
    """Content that scrolls sideways where the page is narrower, by keyboard, too."""
    return tag("div", content, class_="wide", tabindex="0", role="region", aria_label=label)


def section(name: str, heading: str, *content: str) -> Html:
    """A part of the page with a heading that links lead to."""
    return tag("section", tag("h2", heading, id=f"{name}-heading"), *content, id=name)


def said(text: str) -> Html:
    """A sentence that explains."""
    return tag("p", text, class_="soft")


def photo(picture: NDArray[np.uint8]) -> str:
    """(H, W, 3) as the address of a WebP that is in the page."""
    return _address(picture, "webp", quality=82, method=4)


def drawing(picture: NDArray[np.uint8]) -> str:
    """(H, W, 3) of few colours as the address of a PNG without loss, which is in the page."""
    return _address(picture, "png", optimize=True)


def _address(picture: NDArray[np.uint8], form: str, **how: int | bool) -> str:
    image, content = Image.fromarray(picture), io.BytesIO()
    if form == "png" and image.getcolors(256) is not None:
        image = image.quantize(256, dither=Image.Dither.NONE)
    image.save(content, form, **how)
    return f"data:image/{form};base64,{base64.b64encode(content.getvalue()).decode()}"


def document(title: str, body: Html) -> str:
    """The whole page, with its style and script.

    Args:
        title: In the browser's tab.
        body: What it shows.
    """
    style, script = (
        resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
        for name in ("page.css", "page.js")
    )
    allowed = f"img-src data:; style-src {_digest(style)}; script-src {_digest(script)}"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(style)),
    )
    whole = tag("html", head, tag("body", body, tag("script", Html(script))), lang="en")
    return f"<!doctype html>\n{whole}\n"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
