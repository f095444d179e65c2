"""What README.md, CONTRIBUTING.md and docs/ hold besides prose: blocks, commands, links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

PROGRAMS = re.compile(
    r"(\S+=\S+ +)*(\. |\S*/)?"
    r"(python\S*|pip|jaxseg|pytest|mkdocs|ruff|mypy|lint-imports|bash|git|cd)\b"
)
"""How a line of a shell begins."""


class Block(NamedTuple):
    """One block of code: the page's name, its line there, the language after ```, the text."""

    page: str
    line: int
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, and the indented ones, whose language is empty."""
    found, lines = [], page.read_text().splitlines()
    name, number = str(page.relative_to(ROOT)), 0
    while number < len(lines):
        fence = re.match(r" *(```+|~~~+) *(.*)", lines[number])
        start = number
        if fence:
            number += 1
            while number < len(lines) and not lines[number].strip().startswith(fence[1]):
                number += 1
            found.append(Block(name, start + 1, fence[2], "\n".join(lines[start + 1 : number])))
        elif lines[number].startswith(("    ", "\t")) and not lines[number - 1].strip():
            while number < len(lines) and lines[number].startswith(("    ", "\t")):
                number += 1
            found.append(Block(name, start + 1, "", "\n".join(lines[start:number])))
        number += 1
    return found


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^( *)(```+|~~~+).*?^\1\2 *$", "", page.read_text(), flags=re.M | re.S)


def commands(block: Block) -> list[tuple[str, ...]]:
    """The words of every command in a block of `sh`, without comments and settings before it.

    Raises:
        ValueError: There is more than commands and `&&`: a pipe, a loop, a file that is written.
    """
    found: list[tuple[str, ...]] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, "&&"]:
            if word != "&&":
                command.append(word)
            elif command:
                found.append(_bare(command))
                command = []
        if any(re.fullmatch(r"[|;<>&()]+", word) for one in found for word in one):
            raise ValueError(f"{block.page}, line {block.line}: {line} is not a plain command")
    return found


def inline_commands(page: Path) -> list[tuple[str, ...]]:
    """The commands between backticks in prose and tables."""
    spans = re.findall(r"`([^`]+)`", prose(page))
    return [_bare(shlex.split(span)) for span in spans if PROGRAMS.match(span) and " " in span]


def links(page: Path) -> Iterator[tuple[str, str]]:
    """The file and the anchor of every relative link of a page."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(page: Path) -> set[str]:
    """What a link may name in a page: its headings in the site's spelling."""
    headings = re.findall(r"^#+ +(.*?) *$", prose(page), flags=re.M)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", h).strip().lower()) for h in headings}


def _bare(words: list[str]) -> tuple[str, ...]:
    """Without settings such as NAME=value before it, and without the folder of the program."""
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    return (words[0].removeprefix(".venv/bin/"), *words[1:])
