"""How a command says what it changed."""

from __future__ import annotations

import json
from typing import Any

import typer


def tell(
    sentence: str, what: dict[str, Any], enforced: dict[str, Any], as_json: bool, change: bool = True
) -> None:
    """Prints a sentence or JSON.

    Args:
        sentence: what was done.
        what: the same as JSON.
        enforced: what a registry says of the enforcement.
        as_json: print JSON.
        change: servers have something to follow.
    """
    if as_json:
        typer.echo(json.dumps(what | enforced))
    elif enforced:
        milliseconds = enforced["seconds"] * 1000
        typer.echo(f"{sentence}; enforced after {milliseconds:.0f} ms as snapshot {enforced['snapshot']}")
    elif change:
        typer.echo(f"{sentence}; running servers on this database follow within a few seconds")
    else:
        typer.echo(sentence)


def literal(text: object) -> Any:
    """Text that rich shows as it is: brackets in a name are no markup."""
    from rich.text import Text

    return Text(str(text))
