"""A probe's rows as a table, as JSON, as JUnit and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from serving.probe.outcome import Row, Status
from serving.probe.surface import Surface

if TYPE_CHECKING:
    from rich.table import Table

_COLORS = {Status.PASS: "green", Status.FAIL: "bold red", Status.ERROR: "yellow", Status.NOT_OFFERED: "dim"}
MARKS = {Status.PASS: "✓", Status.FAIL: "✗", Status.ERROR: "?", Status.NOT_OFFERED: "–"}


def passed(rows: Sequence[Row]) -> bool:
    """True if nothing leaked and everything could be judged."""
    return all(row.status in (Status.PASS, Status.NOT_OFFERED) for row in rows)


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many rows have each status."""
    return {status.value: sum(row.status is status for row in rows) for status in Status}


def as_json(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """A JSON document: the facts of the run, the counts and the rows."""
    shown = {**facts, "counts": counts(rows), "rows": [asdict(row) for row in rows]}
    return json.dumps(shown, indent=1, ensure_ascii=False)


def as_junit(rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """A JUnit document of one suite, a test case for each surface."""
    found = counts(rows)
    suite = ElementTree.Element(
        "testsuite",
        name="lethe probe",
        tests=str(len(rows)),
        failures=str(found["fail"]),
        errors=str(found["error"]),
        skipped=str(found["not offered"]),
        time=f"{sum(row.seconds for row in rows):.2f}",
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in facts.items():
        ElementTree.SubElement(properties, "property", name=name, value=str(value))
    tags = {Status.FAIL: "failure", Status.ERROR: "error", Status.NOT_OFFERED: "skipped"}
    for row in rows:
        case = ElementTree.SubElement(
            suite, "testcase", classname="probe", name=row.surface, time=f"{row.seconds:.2f}"
        )
        if row.status in tags:
            ElementTree.SubElement(case, tags[row.status], message=detail(row))
        ElementTree.SubElement(case, "system-out").text = f"attack {row.attack}, {row.requests} requests"
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, "unicode") + "\n"


def as_markdown(rows: Sequence[Row], facts: Mapping[str, Any], table: Mapping[str, Surface]) -> str:
    """A Markdown document: the facts, then a table of the rows."""
    lines = ["# Probe", "", *(f"- {name}: {_cell(str(value))}" for name, value in facts.items()), ""]
    lines += [
        "| surface | what is tried | result | attack | requests | detail |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        title = table[row.surface].title if row.surface in table else ""
        cells = (
            row.surface,
            title,
            f"{MARKS[row.status]} {row.status}",
            row.attack,
            str(row.requests),
            detail(row),
        )
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def as_table(rows: Sequence[Row]) -> Table:
    """A table for the terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table("surface", "result", "attack", "requests", "detail")
    for row in rows:
        # Text, not markup: an excerpt may hold brackets.
        result = Text(f"{MARKS[row.status]} {row.status}", style=_COLORS[row.status])
        table.add_row(row.surface, result, str(row.attack), str(row.requests), Text(detail(row)))
    found = counts(rows)
    table.caption = ", ".join(f"{count} {status}" for status, count in found.items() if count)
    return table


def detail(row: Row) -> str:
    """How many leaked, what the leak looks like and what else is to say, as far as there is any."""
    leaks = f"{row.leaks} targets" if row.leaks else ""
    excerpt = f"“{row.excerpt}”" if row.excerpt else ""
    return "; ".join(part for part in (leaks, excerpt, row.note) if part)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
