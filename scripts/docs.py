"""Writes the generated pages of docs/ from the code they describe: commands, settings, metrics, errors.

`docs.py --check` writes nothing and exits with 1 if a page is out of date.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from guard import errors
from serving.cli import app
from serving.metrics import METRICS
from serving.settings import CONFIG_FILE, CONFIG_VARIABLE, Settings

FOLDER = Path(__file__).resolve().parent.parent / "docs"
COMMON = ("--help", "--install-completion", "--show-completion")  # options not worth a row
NOTE = "<!-- Written by `make docs`; edit the code instead. -->\n\n"


def main(arguments: Sequence[str]) -> int:
    """Exit status: 1 if pages are out of date and only checked, else 0."""
    stale = {name: text for name, text in pages().items() if read(name) != text}
    if "--check" in arguments:
        for name in stale:
            print(f"docs/{name} is out of date; run `make docs`.")
        return int(bool(stale))
    FOLDER.mkdir(exist_ok=True)
    for name, text in stale.items():
        (FOLDER / name).write_text(text)
        print(f"wrote docs/{name}")
    return 0


def read(name: str) -> str | None:
    """Text of a page as it lies in the folder, None if it is missing."""
    path = FOLDER / name
    return path.read_text() if path.exists() else None


def pages() -> dict[str, str]:
    """Text of every generated page by file name."""
    return {
        name: NOTE + text.rstrip() + "\n"
        for name, text in (
            ("cli.md", "# Commands\n\n" + "\n".join(commands())),
            ("settings.md", settings()),
            ("metrics.md", metrics()),
            ("errors.md", tree()),
        )
    }


def commands() -> Iterator[str]:
    """One section per command, in the order of the help."""
    root = typer.main.get_command(app)
    context = root.make_context("lethe", [], resilient_parsing=True)
    yield from section(root, context, depth=2)


def section(command: Any, context: Any, depth: int) -> Iterator[str]:
    """Heading, usage, help and options of one command, then its subcommands."""
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"{'#' * depth} {context.command_path}\n"
    yield f"{inspect.cleandoc(command.help or '')}\n\n```\n{' '.join(usage.split())}\n```\n"
    rows = [param.get_help_record(context) for param in command.get_params(context)]
    rows = [row for row in rows if row and not row[0].startswith(COMMON)]
    if rows:
        yield table(("option", "meaning"), [(f"`{left}`", " ".join(right.split())) for left, right in rows])
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        _, child, _ = command.resolve_command(context, [name])
        inner = child.make_context(name, [], parent=context, resilient_parsing=True)
        yield from section(child, inner, depth + 1)


def settings() -> str:
    """The table of deployment settings."""
    rows = [
        (f"`LETHE_{name.upper()}`", "" if field.default is None else f"`{field.default}`", field.description)
        for name, field in Settings.model_fields.items()
    ]
    return (
        "# Settings\n\n"
        f"Environment variables win over the file `{CONFIG_FILE}` (another one: `{CONFIG_VARIABLE}=PATH`),\n"
        "which names the same settings in lower case and without the prefix.\n\n"
        + table(("variable", "default", "meaning"), rows)
    )


def metrics() -> str:
    """The table of metrics, named as `/metrics` shows them."""
    rows = []
    for metric in METRICS:
        (family,) = metric.describe()
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(metric._labelnames)  # the library has no public name for them
        rows.append((f"`{name}`", family.type, labels, family.documentation))
    return "# Metrics\n\nNo label carries a target's text.\n\n" + table(
        ("metric", "type", "labels", "meaning"), rows
    )


def tree() -> str:
    """The table of errors."""
    rows = [
        (f"`{name}`", ", ".join(f"`{base.__name__}`" for base in kind.__bases__), kind.__doc__)
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__
    ]
    return "# Errors\n\nNo message carries a target's text or a prompt.\n\n" + table(
        ("error", "also a", "raised when"), rows
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str | None]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [[" ".join((cell or "").split()).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
