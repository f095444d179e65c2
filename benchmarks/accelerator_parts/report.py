"""The output of `accelerator.py`: a line for each case, one JSON file, one file of tables."""

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerator_parts.cases import Case
from accelerator_parts.tables import LINES, TABLES, nearer, percent, significant, table, tera, title
from accelerator_parts.workers import Facts

NOTHING = "Nothing here was measured on an accelerator: small sizes, to try the program."
COLUMNS = 80


class Report:
    """Gathers results; what is on the disk is whole after every case."""

    def __init__(self, folder: Path, began: float) -> None:
        """Writes nothing yet."""
        self.json, self.markdown = folder / "accelerator.json", folder / "accelerator.md"
        self.about: Facts = {"date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}
        self.notes: list[str] = []
        self.cases: list[Facts] = []
        self._began, self._line = began, ""
        self._is_terminal = sys.stdout.isatty()

    def plan(self, cases: Sequence[Case]) -> None:
        """What is to come, in its order."""
        self.cases = [
            {"part": c.part, "network": c.network, "dtype": c.dtype, "status": "not reached"}
            for c in cases
        ]
        self.write()

    def begin(self, title: str) -> None:
        """Shows what is being done."""
        self._line = f"{time.monotonic() - self._began:5.0f} s  {title:<27}"
        sys.stdout.write(self._line)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Shows how far it is, where a line can be written over."""
        if self._is_terminal:
            sys.stdout.write(f"\r{self._line + ' ' + text + ' ...':<{COLUMNS}.{COLUMNS}}")
            sys.stdout.flush()

    def end(self, text: str) -> None:
        """Shows the result of the case."""
        room = COLUMNS - len(self._line) - 1
        text = text if len(text) <= room else text[: room - 1] + "…"
        again = f"\r{self._line}" if self._is_terminal else ""
        sys.stdout.write(f"{again} {text:<{room if self._is_terminal else 0}}".rstrip() + "\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """A line that is no case."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def record(self, case: Case, found: Facts) -> None:
        """Stores, writes and shows the result of a case."""
        known = {"part": case.part, "network": case.network, "dtype": case.dtype}
        for row in self.cases:
            if all(row[key] == value for key, value in known.items()):
                row |= found
                row |= self._shares(row)
        self.write()
        shown = {"done": lambda: LINES[case.part](found | self._shares(known | found))}
        status = found["status"]
        self.end(shown.get(status, lambda: f"{status}: {found.get('reason')}")())

    def write(self) -> None:
        """Both files, each in one piece."""
        whole = self.about | {"notes": self.notes, "gaps": self._gaps(), "cases": self.cases}
        _replace(self.json, json.dumps(_plain(whole), indent=1) + "\n")
        _replace(self.markdown, "\n".join(self._lines()) + "\n")

    def closing(self) -> str:
        """The last lines of the terminal."""
        lines = [f"Results: {self.markdown} and accelerator.json"]
        if not self.about.get("measured_on_an_accelerator"):
            lines.insert(0, NOTHING)
        lines += [f"Gap: {gap}" for gap in self._gaps()]
        missed = [title(row) for row in self.cases if row["status"] == "not reached"]
        if missed:
            lines.append(f"Not reached: {len(missed)} of {len(self.cases)} cases")
        return "\n".join(lines)

    def _ceilings(self) -> Facts:
        found = [row for row in self.cases if row["part"] == "ceilings"]
        return found[0] if found and found[0]["status"] == "done" else {}

    def _shares(self, row: Facts) -> Facts:
        """Of the two ceilings, where both sides are known."""
        top = self._ceilings()
        if row["part"] not in ("training", "inference") or row["status"] != "done" or not top:
            return {}
        moved = row["bytes_per_second"]
        return {
            "share_of_product": row["flops_per_second"] / top[row["dtype"]],
            "share_of_copy": moved / top["copy"] if moved else None,
        }

    def _gaps(self) -> list[str]:
        """The three cases that come least near to their nearer ceiling."""
        rows = [row for row in self.cases if "share_of_product" in row]
        return [f"{title(row)}: {percent(nearer(row))}" for row in sorted(rows, key=nearer)[:3]]

    def _lines(self) -> list[str]:
        about, device = self.about, self.about.get("device", {})
        lines = []
        if not about.get("measured_on_an_accelerator"):
            lines += [NOTHING, ""]
        versions = ", ".join(f"{k} {v}" for k, v in device.get("versions", {}).items())
        lines += [
            f"- Device: {device.get('kind', 'not known')}, {device.get('devices', 0)} there, 1 "
            f"used; driver: {device.get('driver') or 'none stated'}",
            f"- Versions: Python {device.get('python', '?')}, {versions}",
            f"- Host: {device.get('host', 'not known')}. Date: {about['date']}",
            f"- Command: `{about.get('command', '')}`",
        ]
        if top := self._ceilings():
            lines.append(
                f"- Ceilings: product {tera(top['bfloat16'])} TFLOP/s in bfloat16 and "
                f"{tera(top['float32'])} in float32 at default precision, copy "
                f"{significant(top['copy'] / 1e9)} GB/s read and written"
            )
        if gaps := self._gaps():
            what = "share of the nearer ceiling"
            lines.append(f"- Largest gaps to the ceilings ({what}): {'; '.join(gaps)}")
        lines += [f"- {note}" for note in self.notes]
        lines += [
            f"- {title(r)}: XLA refuses the program as users compile it, and took it with "
            f"{r['compiler_options']}: {r['refused'][0]}"
            for r in self.cases
            if r.get("refused")
        ]
        lines += self._checks()
        for part, (heading, columns) in TABLES.items():
            rows = [r for r in self.cases if r["part"] == part and r["status"] == "done"]
            if rows:
                lines += ["", heading, "", *table(columns, rows)]
        other = [r for r in self.cases if r["status"] not in ("done", "not reached")]
        lines += ["", "Without a result:", ""] * bool(other)
        lines += [f"- {title(r)}: {r['status']}, {r.get('reason')}" for r in other]
        missed = ", ".join(title(r) for r in self.cases if r["status"] == "not reached")
        lines += ["", f"Not reached: {missed}."] * bool(missed)
        return lines

    def _checks(self) -> list[str]:
        rows = []
        for row in self.cases:
            if row["part"] in ("golden", "learn", "resume") and row["status"] == "done":
                more = ""
                if row["part"] == "golden":
                    more = f"; at default precision {row['usual_reference']:.0e}"
                rows.append(f"| {title(row)} | {LINES[row['part']](row)}{more} |")
        wrong = [r for r in self.cases if r["part"] == "training" and r["status"] == "done"]
        wrong = [r for r in wrong if not r["finite"] or r["falling"] is False]
        rows += [f"| {title(r)} | loss not finite or not falling: {r['losses']} |" for r in wrong]
        if not rows:
            return []
        heading = "Correctness (golden: differences of float32 logits, as shares of the largest):"
        return ["", heading, "", "| check | result |", "|---|---|", *rows]


def _plain(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they become words."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(path.name + ".new")
    aside.write_text(text)
    aside.replace(path)
