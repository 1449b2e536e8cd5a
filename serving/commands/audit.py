"""``lethe audit``: what happened, to the requests and otherwise, and whether the record of it is whole."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.commands.options import Json, Key, KeyFile, Url

app = typer.Typer(no_args_is_help=True, help="Look at the ledger and verify it.")

PublicKey = Annotated[
    list[Path] | None,
    typer.Option(help="File with a public key to trust beside those in the server's home; repeat for more."),
]

PAUSE = 0.5  # seconds between two looks of --follow
PAGE = 500


@app.callback()
def _group() -> None:
    """Look at the ledger and verify it."""


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
    """Show the latest records, one per line, oldest first."""
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


@app.command()
def query(
    kind: Annotated[
        str | None, typer.Option(help="request, or an event's such as target.added or key.revoked.")
    ] = None,
    action: Annotated[str | None, typer.Option(help="What was done with a request, such as refuse.")] = None,
    target_id: Annotated[
        str | None, typer.Option("--target", help="Events about this target, and requests that matched it.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="First moment, as ISO 8601 with time zone.")] = None,
    until: Annotated[str | None, typer.Option(help="The moment after the last.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=1000, help="At most so many.")] = 100,
    after: Annotated[
        int | None, typer.Option(min=0, help="Those after the record with this number; default: the last.")
    ] = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Show the records that answer all conditions, one per line, oldest first."""
    from serving.commands.registry import open_registry

    given = {"kind": kind, "action": action, "target_id": target_id, "since": since, "until": until}
    filters: Any = {name: value for name, value in given.items() if value is not None}
    for record in open_registry(url, key, key_file).audit(lines, after, **filters):
        typer.echo(json.dumps(record) if as_json else _line(record))


@app.command()
def verify(
    head: Annotated[
        str | None,
        typer.Option(
            metavar="COUNT:HASH", help="Where the ledger once ended, from a receipt or a verification."
        ),
    ] = None,
    public_key: PublicKey = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Check that no record was altered, inserted, moved or removed; exit status 1 when one was.

    Without --url the database of the settings is read here, which trusts no server.
    """
    found = _verified(head, public_key or [], url, key, key_file)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for problem in found["problems"]:
            typer.echo(f"entry {problem['entry']} {problem['problem']}")
        if found["before"]:
            typer.echo(f"{found['before']} entries are from before the ledger began and not protected")
        typer.echo(f"{found['entries']} entries, {'intact' if found['valid'] else 'NOT INTACT'}")
        typer.echo(f"head {found['head']}")
    if not found["valid"]:
        raise typer.Exit(1)


@app.command("add-probe")
def add_probe(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="What 'lethe probe --json' printed.")],
    as_json: Json = False,
) -> None:
    """Enter a probe's result into the ledger of the settings: its counts and SHA-256, for receipts."""
    from guard.errors import InputError
    from serving.audit_log import AuditLog
    from serving.database import open_database
    from serving.receipt import COUNTS, record_probe
    from serving.settings import read_settings

    settings = read_settings()
    try:
        data = report.read_bytes()
    except OSError as error:
        raise InputError(f"{report} cannot be read ({error.strerror})") from None
    event = record_probe(AuditLog.of(open_database(settings.database_url), settings), data)
    counts = ", ".join(f"{event.facts[fact]} {fact.replace('_', ' ')}" for fact in COUNTS.values())
    typer.echo(json.dumps(event.to_json()) if as_json else f"probe entered: {counts}")


def _verified(
    head: str | None, public_keys: list[Path], url: str | None, key: str | None, key_file: Path | None
) -> dict[str, Any]:
    from guard.errors import InputError

    if url is not None:
        if public_keys:
            raise InputError("--public-key is for reading the database here; a server uses its own keys")
        from serving.commands.registry import open_registry

        return open_registry(url, key, key_file).verify(head)
    from serving.audit_log import AuditLog
    from serving.database import open_database
    from serving.settings import read_settings
    from serving.verification import verify_log

    settings = read_settings()
    log = AuditLog(open_database(settings.database_url))
    return verify_log(log, settings, head, public_keys).to_json()


def _line(record: dict[str, Any]) -> str:
    if record.get("kind", "request") != "request":
        facts = " ".join(f"{name}={value}" for name, value in record["facts"].items() if value is not None)
        about = record["target_id"] or "-"
        return (
            f"{record['id']:>6}  {record['time']}  {record['kind']}  {about}  by {record['actor']}  {facts}"
        )
    ids = dict.fromkeys(match["target_id"] for match in record["verdict"]["matches"])
    cut = " filtered" if record["filtered"] else ""
    tokens = f"{record['prompt_tokens']}+{record['response_tokens']} tokens"
    return (
        f"{record['id']:>6}  {record['time']}  {record['action']:<8}  {record['route']}  {tokens}  "
        f"{record['seconds'] * 1000:.0f} ms  {','.join(ids) or '-'}{cut}  {record['request_id']}"
    )
