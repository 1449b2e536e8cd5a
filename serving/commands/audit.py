"""``lethe audit``: what happened to the requests."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from serving.commands.options import Json, Key, KeyFile, Url

app = typer.Typer(no_args_is_help=True, help="Look at the audit trail.")

PAUSE = 0.5  # seconds between two looks of --follow
PAGE = 500


@app.callback()
def _group() -> None:
    """Look at the audit trail."""


@app.command()
def tail(
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=1000, help="How many records.")] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new records until stopped.")
    ] = False,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Show the latest audit records, one per line, oldest first."""
    from serving.commands.registry import open_registry

    registry = open_registry(url, key, key_file)
    records = registry.audit(lines, None)
    last = 0
    while True:
        for record in records:
            typer.echo(json.dumps(record) if as_json else _line(record))
            last = record["id"]
        if not follow:
            return
        if len(records) < PAGE:
            time.sleep(PAUSE)
        records = registry.audit(PAGE, last)


def _line(record: dict[str, Any]) -> str:
    ids = dict.fromkeys(match["target_id"] for match in record["verdict"]["matches"])
    cut = " filtered" if record["filtered"] else ""
    tokens = f"{record['prompt_tokens']}+{record['response_tokens']} tokens"
    return (
        f"{record['id']:>6}  {record['time']}  {record['action']:<8}  {record['route']}  {tokens}  "
        f"{record['seconds'] * 1000:.0f} ms  {','.join(ids) or '-'}{cut}  {record['request_id']}"
    )
