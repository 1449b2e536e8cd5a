"""``lethe receipt``: the signed account of one target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.commands.audit import PublicKey
from serving.commands.options import Json, Key, KeyFile, Url


def receipt(
    target_id: Annotated[
        str | None, typer.Argument(metavar="[TARGET]", help="Id of a target, also of a removed one.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", help="A receipt as JSON, to be checked against keys and the ledger instead."),
    ] = None,
    public_key: PublicKey = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Show when a target was registered, enforced, probed and removed: signed, and without its text.

    The JSON form is what is signed. A check exits with status 1 when the receipt is not genuine.
    """
    from guard.errors import InputError

    if (target_id is None) == (check is None):
        raise InputError("give the id of a target, or a receipt with --check")
    if check is not None:
        _check(check, public_key or [], as_json)
        return
    from serving.commands.registry import open_registry
    from serving.receipt import rendered

    document = open_registry(url, key, key_file).receipt(str(target_id))
    typer.echo(json.dumps(document, indent=2) if as_json else rendered(document))


def _check(path: Path, public_keys: list[Path], as_json: bool) -> None:
    from serving.receipt import verify_receipt
    from serving.settings import read_settings
    from serving.signer import trusted

    document = _read(path)
    problems = verify_receipt(document, trusted(read_settings(), public_keys))
    if as_json:
        typer.echo(json.dumps({"valid": not problems, "problems": problems}))
    elif problems:
        typer.echo(f"{path} is not genuine: {problems[0]}")
    else:
        typer.echo(f"{path} is genuine; 'lethe audit verify --head {document['ledger']}' checks the ledger")
    if problems:
        raise typer.Exit(1)


def _read(path: Path) -> dict[str, Any]:
    from guard.errors import InputError

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({type(error).__name__})") from None
    if not isinstance(document, dict):
        raise InputError(f"{path} is no receipt; give what 'lethe receipt TARGET --json' printed")
    return document
