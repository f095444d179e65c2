"""Formatting of results: one line each on the terminal, and one row of a Markdown table."""

import math
from collections.abc import Callable

from accelerator_parts.sizes import SIZES
from accelerator_parts.workers import Facts

Columns = dict[str, Callable[[Facts], str]]
"""Headings, and what stands below them."""


def _rates_line(row: Facts) -> str:
    near = f", {percent(nearer(row))} of a ceiling" if "share_of_product" in row else ""
    return f"{significant(row['images_per_second'])} images/s at batch {row['batch']}{near}"


def _golden_line(row: Facts) -> str:
    word = "within" if row["within"] else "BEYOND"
    cpu = f"CPU {row['precise_cpu']:.0e}, " if "precise_cpu" in row else ""
    return f"{word} {row['tolerance']:.0e}: {cpu}reference {row['precise_reference']:.0e}"


def _learn_line(row: Facts) -> str:
    words = ("finite" if row["finite"] else "NOT FINITE", "falling" if row["falling"] else "RISING")
    return f"{' and '.join(words)}, {row['losses'][0]:.3f} to {row['losses'][-1]:.3f}"


def _pytorch_line(row: Facts) -> str:
    said = [f"{ratio:.2f} of PyTorch {name}" for name, ratio in row["ratios"].items()]
    return ", ".join(said)


def _pipeline_line(row: Facts) -> str:
    pairs = [f"{significant(s['together'])} of {significant(s['alone'])}" for s in _sources(row)]
    return f"{', '.join(pairs)} windows/s"


def _resume_line(row: Facts) -> str:
    said = []
    for way, found in row["ways"].items():
        if "lost" in found:
            said.append(f"{way}: {found['lost']}")
            continue
        differs = f"{found['unequal']} numbers differ, by {found['largest']:.0e}"
        said.append(f"{differs if found['unequal'] else 'bit-equal'}, {way}")
    return "; ".join(said)


LINES: dict[str, Callable[[Facts], str]] = {
    "ceilings": lambda row: (
        f"{tera(row['bfloat16'])} and {tera(row['float32'])} TFLOP/s, "
        f"{significant(row['copy'] / 1e9)} GB/s"
    ),
    "training": _rates_line,
    "inference": _rates_line,
    "golden": _golden_line,
    "learn": _learn_line,
    "PyTorch": _pytorch_line,
    "pipeline": _pipeline_line,
    "resume": _resume_line,
}
"""How a part's result reads in one line."""


def _rates_columns() -> dict[str, Callable[[Facts], str]]:
    return {
        "network": lambda row: f"{SIZES[row['network']].title}, {row['dtype']}",
        "px": lambda row: str(row["size"]),
        "batch": lambda row: str(row["batch"]),
        "images/s": lambda row: significant(row["images_per_second"]),
        "ms": lambda row: significant(1e3 * row["step_seconds"]),
        "GiB": lambda row: f"{row['memory']['total'] / 2**30:.2f}" if row["memory"] else "",
        "TFLOP/s": lambda row: _of(tera(row["flops_per_second"]), row.get("share_of_product")),
        "GB/s": lambda row: (
            _of(significant(row["bytes_per_second"] / 1e9), row.get("share_of_copy"))
            if row["bytes_per_second"]
            else ""
        ),
        "compile s": lambda row: f"{row['lower_seconds'] + row['compile_seconds']:.0f}",
    }


TABLES: dict[str, tuple[str, dict[str, Callable[[Facts], str]]]] = {
    "training": (
        "Training, the library's own step at the largest batch that fits (in brackets shares of "
        "the ceilings; GiB is the program's memory; the net of 2015 mirrors 388 px to 572):",
        _rates_columns(),
    ),
    "PyTorch": (
        "Training against PyTorch, bfloat16, the same plain step (ms; ratios above 1: slower than "
        "PyTorch):",
        {
            "network": lambda row: SIZES[row["network"]].title,
            "batch": lambda row: str(row["batch"]),
            "jaxseg": lambda row: significant(1e3 * row["medians"]["jaxseg"]),
            "PyTorch": lambda row: significant(1e3 * row["medians"]["eager"]),
            "ratio": lambda row: f"{row['ratios']['eager']:.2f}",
            "torch.compile": lambda row: (
                significant(1e3 * row["medians"]["compiled"]) if "compiled" in row["ratios"] else ""
            ),
            "ratio to it": lambda row: (
                f"{row['ratios']['compiled']:.2f}" if "compiled" in row["ratios"] else ""
            ),
        },
    ),
    "pipeline": (
        "Input pipeline, windows per second, alone, and images per second together with a U-Net's "
        "step in bfloat16:",
        {
            "source": lambda row: " / ".join(row["sources"]),
            "window": lambda row: f"{row['crop']} px, {row['batch']} at once",
            "alone": lambda row: _each(row, lambda found: significant(found["alone"])),
            "step alone": lambda row: significant(row["step_alone"]),
            "together": lambda row: _each(row, lambda found: significant(found["together"])),
            "waiting": lambda row: _each(row, lambda found: percent(found["waiting"])),
        },
    ),
    "inference": (
        "Inference: radiometry, network and largest logit, as evaluation does it:",
        _rates_columns(),
    ),
}
"""Title, and columns from a row, of each part that has a table."""


def table(columns: Columns, rows: list[Facts]) -> list[str]:
    """Lines of Markdown."""
    lines = [f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
    for row in rows:
        lines.append(f"| {' | '.join(cell(row) for cell in columns.values())} |")
    return lines


def _compiled(row: Facts, what: str, factor: float) -> str:
    return significant(factor * row[what]["compiled"]) if "compiled" in row[what] else ""


def _each(row: Facts, text: Callable[[Facts], str]) -> str:
    return " / ".join(text(found) for found in _sources(row))


def _sources(row: Facts) -> list[Facts]:
    return list(row["sources"].values())


def title(row: Facts) -> str:
    """What a case is called."""
    return " ".join(filter(None, (row["part"], row["network"], row["dtype"])))


def nearer(row: Facts) -> float:
    """The share of the ceiling that is nearer."""
    return max(row["share_of_product"], row["share_of_copy"] or 0.0)


def percent(share: float | None) -> str:
    """Without decimals; blank where there is none."""
    return "" if share is None else f"{100 * share:.0f} %"


def _of(text: str, share: float | None) -> str:
    return text if share is None else f"{text} ({percent(share)})"


def tera(rate: float) -> str:
    """In 10^12."""
    return significant(rate / 1e12)


def significant(value: float) -> str:
    """Three digits, without an exponent."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{digits}f}"
