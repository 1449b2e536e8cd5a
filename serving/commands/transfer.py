"""``lethe targets import`` and ``export``: all targets at once, as JSON Lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from serving.commands.options import Json, Key, KeyFile, Url
from serving.commands.outcome import tell
from serving.commands.source import read_text, source_of


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
    tell(f"{len(targets)} targets added", {"imported": len(targets)}, enforced, as_json)


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
    what = {"exported": len(targets), "file": str(path)}
    tell(f"{len(targets)} targets written to {path}", what, {}, as_json, change=False)
