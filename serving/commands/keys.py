"""``lethe keys``: API keys of people and programs."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from serving.commands.options import Json, Key, KeyFile, Url

app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what the key is for.")],
    role: Annotated[
        list[str],
        typer.Option(
            help="read (targets), write (targets), audit (ledger, receipts), keys (API keys), control "
            "(guard arguments of a request); repeat for more."
        ),
    ],
    expires: Annotated[
        str | None, typer.Option(help="End: ISO 8601 with time zone, or days from now as 90d.")
    ] = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Create a key and print its token, which cannot be shown again."""
    from serving.commands.registry import open_registry

    made = open_registry(url, key, key_file).create_key(name, role, _end(expires))
    if as_json:
        typer.echo(json.dumps(made, ensure_ascii=False))
        return
    typer.echo(f"key {made['id']} created; keep its token, it is not shown again", err=True)
    typer.echo(made["token"])


@app.command("list")
def list_(url: Url = None, key: Key = None, key_file: KeyFile = None, as_json: Json = False) -> None:
    """List all keys, the revoked and expired ones too; never their tokens."""
    from serving.commands.registry import open_registry

    keys = open_registry(url, key, key_file).keys()
    if as_json:
        typer.echo(json.dumps(keys, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "name", "roles", "created", "state")
    for row in keys:
        cells = (row["id"], row["name"], " ".join(row["roles"]), row["created"][:16], _state(row))
        table.add_row(*map(Text, cells))
    Console().print(table)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID")],
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """End a key for good; servers follow within a second."""
    from serving.commands.registry import open_registry

    revoked = open_registry(url, key, key_file).revoke_key(key_id)
    typer.echo(json.dumps(revoked, ensure_ascii=False) if as_json else f"key {key_id} revoked")


def _end(given: str | None) -> str | None:
    days = re.fullmatch(r"(\d{1,5})d", given or "")
    if days is None:
        return given
    return (datetime.now(UTC) + timedelta(days=int(days[1]))).isoformat()


def _state(row: dict[str, Any]) -> str:
    if row["revoked"]:
        return f"revoked {row['revoked'][:16]}"
    if not row["expires"]:
        return "valid"
    ended = datetime.fromisoformat(row["expires"]) <= datetime.now(UTC)
    return f"{'expired' if ended else 'expires'} {row['expires'][:16]}"
