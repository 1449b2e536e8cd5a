"""``lethe targets``: register, look at, change and remove forget targets."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from serving.commands import transfer, trials
from serving.commands.fields import (
    ActionName,
    Alias,
    AlwaysOn,
    Beta,
    BoundaryName,
    EncodingName,
    ExpiresAt,
    File,
    Id,
    Kind,
    MaybeAlwaysOn,
    Name,
    Owner,
    Phrase,
    Reason,
    matching,
)
from serving.commands.options import Json, Key, KeyFile, Url
from serving.commands.outcome import literal, tell
from serving.commands.source import described, given_patch

app = typer.Typer(no_args_is_help=True, help="Register, look at, change and remove forget targets.")


@app.command()
def add(
    id_: Id = None,
    kind: Kind = None,
    name: Name = None,
    alias: Alias = None,
    phrase: Phrase = None,
    action: ActionName = None,
    always_on: AlwaysOn = False,
    boundary: BoundaryName = None,
    beta: Beta = None,
    encoding: EncodingName = None,
    reason: Reason = None,
    owner: Owner = None,
    expires_at: ExpiresAt = None,
    file: File = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of the target with this id.")
    ] = False,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Register one target, from options, from a JSON object or from both (options win)."""
    from guard.errors import InputError
    from serving.commands.registry import open_registry

    found = described(
        file,
        id=id_,
        kind=kind,
        name=name,
        aliases=alias,
        phrases=phrase,
        action=action,
        always_on=always_on or None,
        matching=matching(boundary, beta, encoding),
        reason=reason,
        owner=owner,
        expires_at=expires_at,
    )
    if len(found) != 1:
        raise InputError(f"{file} holds {len(found)} targets; use 'lethe targets import' for several")
    target = found[0]
    registry = open_registry(url, key, key_file)
    enforced = registry.replace(target) if replace else registry.add(target)
    tell(f"target {target.id} {'replaced' if replace else 'added'}", {"id": target.id}, enforced, as_json)


@app.command()
def patch(
    target_id: Annotated[str, typer.Argument(metavar="ID")],
    kind: Kind = None,
    name: Name = None,
    alias: Alias = None,
    phrase: Phrase = None,
    action: ActionName = None,
    always_on: MaybeAlwaysOn = None,
    boundary: BoundaryName = None,
    beta: Beta = None,
    encoding: EncodingName = None,
    reason: Reason = None,
    owner: Owner = None,
    expires_at: ExpiresAt = None,
    file: File = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Change some fields of a target and leave the others.

    The file is a JSON merge patch: null sets a field back to its default, lists are replaced whole. Options
    win over it.
    """
    from serving.commands.registry import open_registry

    fields = given_patch(
        file,
        kind=kind,
        name=name,
        aliases=alias,
        phrases=phrase,
        action=action,
        always_on=always_on,
        matching=matching(boundary, beta, encoding),
        reason=reason,
        owner=owner,
        expires_at=expires_at,
    )
    enforced = open_registry(url, key, key_file).patch(target_id, fields)
    tell(f"target {target_id} changed", {"id": target_id}, enforced, as_json)


@app.command("list")
def list_(url: Url = None, key: Key = None, key_file: KeyFile = None, as_json: Json = False) -> None:
    """List the registered targets in the order of their registration."""
    from serving.commands.registry import open_registry

    targets = open_registry(url, key, key_file).targets()
    if as_json:
        typer.echo(json.dumps([target.to_json() for target in targets], ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "kind", "name", "action", "always on", "expires")
    for t in targets:
        expires = t.expires_at.isoformat(timespec="minutes") if t.expires_at else ""
        cells = (t.id, t.kind, t.name or "", t.action, "yes" if t.always_on else "", expires)
        table.add_row(*map(literal, cells))
    Console().print(table)


@app.command()
def show(
    target_id: Annotated[str, typer.Argument(metavar="ID")],
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Show one target."""
    from serving.commands.registry import open_registry

    target = open_registry(url, key, key_file).get(target_id)
    typer.echo(json.dumps(target.to_json(), ensure_ascii=False, indent=None if as_json else 2))


@app.command()
def remove(
    target_id: Annotated[str, typer.Argument(metavar="ID")],
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Remove one target."""
    from serving.commands.registry import open_registry

    enforced = open_registry(url, key, key_file).remove(target_id)
    tell(f"target {target_id} removed", {"id": target_id, "deleted": True}, enforced, as_json)


app.command("import")(transfer.import_)
app.command()(transfer.export)
app.command()(trials.preview)
app.command("dry-run")(trials.dry_run)
