"""Pages: their blocks, links and tables of results, and a place for every file of the library."""

import re
from pathlib import Path

import pytest
from fixtures import documents
from fixtures.documents import PAGES, PYPROJECT, name
from fixtures.places import ROOT


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_block_is_of_a_kind_that_is_checked(page: Path) -> None:
    for block in documents.blocks(page):
        assert block.language in ("sh", "python", "text"), (
            f"{block.page}, line {block.line}: fence blocks as sh, python or text, so that what "
            f"they hold is tried; this one is {block.language or 'indented'!r}"
        )
        if block.language == "text":
            hidden = [line for line in block.text.splitlines() if documents.PROGRAMS.match(line)]
            assert not hidden, f"{block.page}, line {block.line}: commands belong into sh: {hidden}"


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_a_link_leads_somewhere(page: Path) -> None:
    for path, anchor in documents.links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}"
        if anchor:
            assert anchor in documents.anchors(target), f"{page.name} links to {path}#{anchor}"


def test_the_readme_is_short_and_keeps_the_commands_that_are_run_from_it() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120
    new = "python3 -m venv .venv && .venv/bin/pip install -e "
    assert f"{new}'.[test]' && .venv/bin/pytest" in lines
    assert f"{new}. && .venv/bin/python train.py --config configs/deeplab.py" in lines


def test_every_table_of_results_has_its_command() -> None:
    sections = re.split(r"^##+ ", (ROOT / "docs" / "results.md").read_text(), flags=re.M)[1:]
    for section in sections:
        if "|---" in section:
            has = "python train.py" in section or "python benchmarks/" in section
            refers = "the same command" in section
            assert has or refers, section.splitlines()[0]


def test_every_file_of_the_library_is_on_one_page_of_the_api() -> None:
    pages = (ROOT / "docs" / "api").glob("*.md")
    named = [n for page in pages for n in re.findall(r"^::: (\S+)", page.read_text(), flags=re.M)]
    assert len(set(named)) == len(named)
    files = [file.relative_to(ROOT).with_suffix("") for file in (ROOT / "jaxseg").rglob("*.py")]
    modules = [".".join(file.parts).removesuffix(".__init__") for file in files]
    assert set(named) <= set(modules)
    shown = {n for n in named if n != "jaxseg"}  # the face, without what lies below it
    for module in modules:
        over = {n for n in shown if module == n or module.startswith(f"{n}.")}
        assert len(over) == 1 or module in ("jaxseg", "jaxseg.__main__"), f"{module}: {over}"


def test_citation_and_changelog_are_of_this_version() -> None:
    version = PYPROJECT["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"\b{re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text())
