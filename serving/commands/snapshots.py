"""``lethe snapshots``: what the targets were, and the way back."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from serving.commands.options import Json, Key, KeyFile, Url
from serving.commands.outcome import literal, tell

app = typer.Typer(no_args_is_help=True, help="Look at earlier states of the targets and go back to one.")


@app.command("list")
def list_(
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=1000, help="How many changes.")] = 20,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """List the last changes of the targets, newest first, with the snapshots that enforced them."""
    from serving.commands.registry import open_registry

    revisions = open_registry(url, key, key_file).revisions(lines)
    if as_json:
        typer.echo(json.dumps(revisions))
        return
    from rich.console import Console
    from rich.table import Column, Table

    version = Column("snapshot", no_wrap=True)  # to be copied
    table = Table(version, "revision", "time", "by", "change", "targets", "")
    for row in revisions:
        change = f"{row['count']} {row['change']}"
        held = "" if row["targets"] is None else row["targets"]
        active = "active" if row["active"] else ""
        cells = (row["version"] or "", row["revision"], row["time"][:16], row["actor"], change, held, active)
        table.add_row(*map(literal, cells))
    Console().print(table)


@app.command()
def activate(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A snapshot of 'lethe snapshots list'.")],
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Bring back the targets as they were under a snapshot; that is a change like others."""
    from serving.commands.registry import open_registry

    enforced = open_registry(url, key, key_file).activate(version)
    tell(f"targets of snapshot {version} are back", {"activated": version}, enforced, as_json)


@app.command()
def rollback(url: Url = None, key: Key = None, key_file: KeyFile = None, as_json: Json = False) -> None:
    """Undo the last change of the targets; a second time undoes the rollback."""
    from serving.commands.registry import open_registry

    enforced = open_registry(url, key, key_file).rollback()
    tell("the last change is undone", {"rolled_back": True}, enforced, as_json)
