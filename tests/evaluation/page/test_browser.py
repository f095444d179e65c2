"""The page in a real browser: seen, clicked, swiped, in light and in dark, on a phone too."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fixtures import browser, stored_run
from fixtures.browser import Page
from fixtures.stored_run import STEP, STRANGE
from PIL import Image

from jaxseg.evaluation.page import write as page
from jaxseg.evaluation.page.markup import Html, document

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.program() is None, reason="no Chromium: apt-get install chromium"),
]

WIDTHS, SCHEMES = (1400, 420), ("light", "dark")

Show = Callable[..., Page]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    run = stored_run.write_run(folder / "fields", STRANGE)
    where = stored_run.write_map(folder / "map.tif", 500, 300, STRANGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page.checkpoint, "chosen", lambda *_: (stored_run.config(STRANGE), STEP))
        page.write(run, folder / "page.html", scene_map=where)
    return folder / "page.html"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser.browsing(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def show(file: Path, opened: Page) -> Iterator[Show]:
    """Shows the page, which asks for nothing but itself and has nothing to complain about."""
    opened.requests.clear()
    opened.errors.clear()

    def shown(width: int = 1400, scheme: str = "light") -> Page:
        opened.open(file, width, scheme=scheme)
        return opened

    yield shown
    assert set(opened.requests) == {file.as_uri()}
    assert opened.errors == []


def at(page: Page) -> float:
    """Where the border of the first window is, in percent."""
    shown: str = page.run("document.querySelector('.swipe').style.getPropertyValue('--at')")
    return float(shown.removesuffix("%") or 50)


def seen(page: Page) -> list[str]:
    """The pictures of the first window that are seen, the upper one first."""
    script = """Array.from(document.querySelectorAll(".swipe")[0].querySelectorAll("img"))
        .filter(one => getComputedStyle(one).visibility === "visible")
        .sort((a, b) => (+getComputedStyle(b).zIndex || 0) - (+getComputedStyle(a).zIndex || 0))
        .map(one => one.className)"""
    return [name for name in page.run(script) if name]


@pytest.mark.parametrize(("width", "scheme"), list(itertools.product(WIDTHS, SCHEMES)))
def test_the_page_fits_the_window_and_can_be_read(
    show: Show, tmp_path: Path, width: int, scheme: str
) -> None:
    opened = show(width, scheme)
    wide, inside = opened.run("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inside == width
    opened.picture(tmp_path / "page.png")
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("L"))
    assert pixels.shape == (900, width)
    paper = np.median(pixels)
    assert paper > 240 if scheme == "light" else paper < 40
    assert np.abs(pixels - paper).max() > 180  # letters
    small = """Array.from(document.querySelectorAll("body *"), one =>
        one.textContent.trim() && one.getClientRects().length && !one.children.length &&
        !one.matches("script, style, title, svg *") ? parseFloat(getComputedStyle(one).fontSize)
        : 99).reduce((a, b) => Math.min(a, b))"""
    assert opened.run(small) >= 12


def test_all_text_has_contrast_in_both_schemes(show: Show) -> None:
    """At least 4.5:1, level AA of WCAG 2.2."""
    script = """(() => {
        const probe = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
        const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        const over = colors => {
            probe.clearRect(0, 0, 1, 1);
            for (const color of colors) { probe.fillStyle = color; probe.fillRect(0, 0, 1, 1); }
            const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
            return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
        };
        let worst = [21, ""];
        for (const one of document.querySelectorAll("h1, h2, p, a, td, th, dt, dd, button, pre,"
                + "caption, figcaption, summary, label, svg text")) {
            if (!one.getClientRects().length || !one.textContent.trim()) continue;
            const behind = [];
            for (let up = one; up; up = up.parentElement)
                behind.unshift(getComputedStyle(up).backgroundColor);
            const style = getComputedStyle(one);
            const ink = one.closest("svg") ? style.fill : style.color;
            const pair = [over(behind), over([...behind, ink])].sort((a, b) => b - a);
            const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
            if (ratio < worst[0]) worst = [ratio, one.outerHTML.slice(0, 200)];
        }
        return worst;
    })()"""
    for scheme in SCHEMES:
        opened = show(1400, scheme)
        ratio, where = opened.run(script)
        assert 4.5 <= ratio < 21, (scheme, where)


def test_the_button_switches_the_theme(show: Show) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    for scheme, other in (SCHEMES, SCHEMES[::-1]):
        opened = show(1400, scheme)
        first, told = opened.run(paper), opened.run("document.querySelector('#theme').textContent")
        assert told == other.capitalize()
        opened.click(*opened.middle("#theme"))
        assert opened.run(paper) != first
        opened.click(*opened.middle("#theme"))
        assert opened.run(paper) == first


def test_the_border_follows_the_mouse(show: Show) -> None:
    opened = show()
    x, y = opened.middle(".swipe")
    assert at(opened) == 50
    wide = opened.run("document.querySelector('.swipe').clientWidth")
    opened.drag([(x, y), (x + wide / 8, y), (x + wide / 4, y)])
    assert at(opened) == pytest.approx(75, abs=1)
    opened.click(x - wide / 4, y)
    assert at(opened) == pytest.approx(25, abs=1)
    # The upper picture ends at the border.
    clip = opened.run("getComputedStyle(document.querySelector('.swipe .image')).clipPath")
    assert "inset" in clip
    line = opened.run("""document.querySelector('.swipe span').getBoundingClientRect().x
        - document.querySelector('.swipe').getBoundingClientRect().x""")
    assert line == pytest.approx(wide / 4, abs=3)


def test_the_border_follows_a_finger(show: Show) -> None:
    opened = show(420)
    x, y = opened.middle(".swipe")
    wide = opened.run("document.querySelector('.swipe').clientWidth")
    opened.touch([(x, y), (x - wide / 8, y), (x - wide / 4, y)])
    assert at(opened) == pytest.approx(25, abs=1)


def test_the_border_follows_the_keyboard(show: Show) -> None:
    opened = show()
    opened.run("document.querySelector('.tile input').focus()")
    for _ in range(3):
        opened.key("ArrowRight", 39)
    assert at(opened) == 53
    opened.key("Home", 36)
    assert at(opened) == 0


def test_two_of_three_pictures_are_compared(show: Show) -> None:
    opened = show()
    assert seen(opened) == ["image", "map"]
    for pair in ("image-reference", "reference-map", "image-map"):
        opened.click(*opened.middle(f"[value='{pair}']"))
        assert seen(opened) == pair.split("-")


def test_the_whole_page_is_reached_by_the_keyboard(show: Show) -> None:
    opened = show(420)
    reached = []
    for _ in range(60):
        opened.key("Tab", 9)
        reached.append(opened.run("document.activeElement.localName"))
    assert {"a", "button", "div", "input", "summary", "pre"} <= set(reached)


def test_the_bar_of_the_map_is_as_long_as_it_says(show: Show) -> None:
    opened = show()
    bar, picture = opened.run("""[".scale", ".sheet img"].map(name =>
        document.querySelector(name).getBoundingClientRect().width)""")
    told = opened.run("document.querySelector('.sheet p').textContent")
    assert told == "500 m"  # of 300 pixels of 10 m
    assert bar / picture == pytest.approx(50 / 300, rel=0.02)
    shape = opened.run("""(one => [one.width / one.height, one.naturalWidth / one.naturalHeight])(
        document.querySelector(".sheet img"))""")
    assert shape[0] == pytest.approx(shape[1], rel=0.01)


def test_what_comes_into_the_page_all_the_same_is_stopped(opened: Page, tmp_path: Path) -> None:
    opened.requests.clear()
    opened.errors.clear()
    foreign = """<script>document.title = "run"</script><img src="http://localhost:9/x.png">
        <p style="color: red" onclick="document.title = 'run'">text</p>"""
    file = tmp_path / "foreign.html"
    file.write_text(document("mine", Html(foreign)))
    opened.open(file, 420)
    opened.click(*opened.middle("p"))
    assert opened.run("document.title") == "mine"
    assert opened.run("getComputedStyle(document.querySelector('p')).color") != "rgb(255, 0, 0)"
    assert len([line for line in opened.errors if "Content Security Policy" in line]) >= 4
    # So the other tests would see it if the page asked for something.
    assert "http://localhost:9/x.png" in opened.requests
