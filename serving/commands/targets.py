"""``lethe targets``: register, look at and remove forget targets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.commands.options import Json, Key, KeyFile, Url
from serving.commands.source import described, read_text, source_of

app = typer.Typer(no_args_is_help=True, help="Register, look at and remove forget targets.")

Id = Annotated[str | None, typer.Option("--id", help="Identifier: letters, digits and . _ : -")]
Kind = Annotated[str | None, typer.Option(help="entity, qa, text or topic; default entity.")]
Name = Annotated[str | None, typer.Option(help="What the target is called.")]
Alias = Annotated[list[str] | None, typer.Option(help="Another name; repeat for more.")]
Phrase = Annotated[list[str] | None, typer.Option(help="A string to keep out of responses; repeat for more.")]
ActionName = Annotated[
    str | None, typer.Option("--action", help="observe, rewrite, restrict, steer or refuse; default refuse.")
]
AlwaysOn = Annotated[bool, typer.Option("--always-on", help="Keep its strings out of every response.")]
BoundaryName = Annotated[
    str | None,
    typer.Option("--boundary", help="Where its strings count: none, left (default) or both ends of a word."),
]
Beta = Annotated[
    float | None, typer.Option(help="Share of a string from which it is forbidden; default 1, the whole.")
]
EncodingName = Annotated[
    list[str] | None,
    typer.Option(
        "--encoding", help="Forbid this form too: base64, hex, rot13, reversed, spaced, initials; repeat."
    ),
]
Reason = Annotated[str | None, typer.Option(help="Why, for the record.")]
Owner = Annotated[str | None, typer.Option(help="Who is responsible, for the record.")]
ExpiresAt = Annotated[str | None, typer.Option(help="End, as ISO 8601 with time zone.")]
File = Annotated[
    str | None, typer.Option("--file", "-f", help="JSON with any field; '-' reads standard input.")
]


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

    matching = {"boundary": boundary, "beta": beta, "encodings": encoding}
    found = described(
        file,
        id=id_,
        kind=kind,
        name=name,
        aliases=alias,
        phrases=phrase,
        action=action,
        always_on=always_on or None,
        matching={name: value for name, value in matching.items() if value is not None} or None,
        reason=reason,
        owner=owner,
        expires_at=expires_at,
    )
    if len(found) != 1:
        raise InputError(f"{file} holds {len(found)} targets; use 'lethe targets import' for several")
    target = found[0]
    registry = open_registry(url, key, key_file)
    enforced = registry.replace(target) if replace else registry.add(target)
    _tell(f"target {target.id} {'replaced' if replace else 'added'}", {"id": target.id}, enforced, as_json)


@app.command("import")
def import_(
    path: Annotated[str, typer.Argument(metavar="FILE", help="JSON Lines; '-' reads standard input.")],
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Register the targets of a JSON Lines file, all or none."""
    from guard.targets import parse_jsonl
    from serving.commands.registry import open_registry

    targets = parse_jsonl(read_text(path), source_of(path))
    enforced = open_registry(url, key, key_file).add(*targets)
    _tell(f"{len(targets)} targets added", {"imported": len(targets)}, enforced, as_json)


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
        table.add_row(*(_literal(cell) for cell in cells))
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
    _tell(f"target {target_id} removed", {"id": target_id, "deleted": True}, enforced, as_json)


@app.command()
def export(
    path: Annotated[Path | None, typer.Argument(metavar="FILE", help="Default: standard output.")] = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Write all targets as JSON Lines, which 'import' reads."""
    from guard.errors import InputError
    from guard.targets import write_jsonl
    from serving.commands.registry import open_registry

    targets = open_registry(url, key, key_file).targets()
    if path is None:
        for target in targets:
            typer.echo(json.dumps(target.to_json(), ensure_ascii=False))
        return
    try:
        write_jsonl(path, targets)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from None
    _tell(
        f"{len(targets)} targets written to {path}",
        {"exported": len(targets), "file": str(path)},
        {},
        as_json,
        False,
    )


@app.command()
def preview(
    id_: Id = None,
    kind: Kind = None,
    name: Name = None,
    alias: Alias = None,
    phrase: Phrase = None,
    action: ActionName = None,
    always_on: AlwaysOn = False,
    file: File = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Show what targets would forbid: those described here or, without any option, the registered ones."""
    from serving.commands.registry import open_registry
    from serving.preview import preview as previewed

    fields: dict[str, Any] = {"kind": kind, "name": name, "aliases": alias, "phrases": phrase}
    fields |= {"action": action, "always_on": always_on or None}
    if file or id_ or any(value is not None for value in fields.values()):
        targets = described(file, **fields, id=id_ or (None if file else "preview"))
    else:
        targets = list(open_registry(url, key, key_file).targets())
    for target in targets:
        shown = previewed(target)
        typer.echo(json.dumps(shown, ensure_ascii=False, indent=None if as_json else 2))


def _literal(text: str) -> Any:
    """Text that rich shows as it is: brackets in a name are no markup."""
    from rich.text import Text

    return Text(text)


def _tell(
    sentence: str, what: dict[str, Any], enforced: dict[str, Any], as_json: bool, change: bool = True
) -> None:
    if as_json:
        typer.echo(json.dumps(what | enforced))
    elif enforced:
        milliseconds = enforced["seconds"] * 1000
        typer.echo(f"{sentence}; enforced after {milliseconds:.0f} ms as snapshot {enforced['snapshot']}")
    elif change:
        typer.echo(f"{sentence}; running servers on this database follow within a few seconds")
    else:
        typer.echo(sentence)
