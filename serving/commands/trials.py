"""``lethe targets preview`` and ``dry-run``: what targets would do, without registering them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands.fields import ActionName, Alias, AlwaysOn, File, Id, Kind, Name, Phrase
from serving.commands.options import Json, Key, KeyFile, Url
from serving.commands.outcome import literal
from serving.commands.source import described

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guard.types import ForgetTarget
    from serving.commands.registry import Registry


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

    targets: Sequence[ForgetTarget] | None = _candidates(
        file,
        id_,
        kind=kind,
        name=name,
        aliases=alias,
        phrases=phrase,
        action=action,
        always_on=always_on or None,
    )
    if targets is None:
        targets = open_registry(url, key, key_file).targets()
    for target in targets:
        shown = previewed(target)
        typer.echo(json.dumps(shown, ensure_ascii=False, indent=None if as_json else 2))


def dry_run(
    id_: Id = None,
    kind: Kind = None,
    name: Name = None,
    alias: Alias = None,
    phrase: Phrase = None,
    action: ActionName = None,
    always_on: AlwaysOn = False,
    file: File = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="JSON Lines as 'lethe check' takes them; default: the server's recent requests."),
    ] = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Count the requests that targets would have touched, and those that registered ones cover already.

    Shows numbers and request ids, never a text. Registers nothing.
    """
    from guard.errors import InputError
    from serving.commands.registry import open_registry

    targets = _candidates(
        file,
        id_,
        kind=kind,
        name=name,
        aliases=alias,
        phrases=phrase,
        action=action,
        always_on=always_on or None,
    )
    if targets is None:
        raise InputError("describe a target, by options or with --file")
    registry = open_registry(url, key, key_file)
    found = registry.dry_run(targets) if prompts is None else _tried(targets, prompts, registry)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found)


def _candidates(file: str | None, id_: str | None, **fields: Any) -> list[ForgetTarget] | None:
    """The targets that options describe; None without any option."""
    if not (file or id_ or any(value is not None for value in fields.values())):
        return None
    return described(file, **fields, id=id_ or (None if file else "preview"))


def _tried(targets: Sequence[ForgetTarget], prompts: Path, registry: Registry) -> dict[str, Any]:
    """A dry run here, on the prompts of a file."""
    from guard.classifier import Classifier
    from guard.encoder import SentenceEncoder
    from guard.pipeline import Pipeline
    from guard.snapshot import compile_snapshot, no_words
    from serving.check import read_rows
    from serving.settings import read_settings
    from serving.traffic import Passage, tried

    rows, settings = read_rows(prompts), read_settings()
    passages = [Passage(row.segments, row.response or "", request_id=str(row.id)) for row in rows]
    encoder, snapshot = SentenceEncoder(settings.encoder), compile_snapshot(registry.targets(), no_words)
    registered = Pipeline(snapshot, Classifier(snapshot, encoder), settings.forms)
    return tried(targets, passages, encoder, registered)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    since = f" since {found['since']}" if found["since"] else ""
    detectors = list(found["targets"][0]["prompts"])
    columns = ("id", "action", "affected", *detectors, "answers", "uncovered")
    table = Table(*columns, caption=f"{found['requests']} requests{since}")
    for row in found["targets"]:
        counts = (row["affected"], *row["prompts"].values(), row["responses"], row["uncovered"])
        table.add_row(*map(literal, (row["id"], row["action"], *counts)))
    Console().print(table)
    for row in found["targets"]:
        said = list(row["notes"])
        if row["covered"]:
            covered = (f"{target_id} ({count})" for target_id, count in row["covered"].items())
            said.append(f"covered by {', '.join(covered)}")
        if row["examples"]:
            said.append(f"latest {', '.join(example['request_id'] for example in row['examples'])}")
        for sentence in said:
            typer.echo(f"{row['id']}: {sentence}")
