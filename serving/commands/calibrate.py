"""``lethe calibrate``: thresholds with a stated false-positive bound for the registered targets."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.commands.options import Json, Key, KeyFile, Url

if TYPE_CHECKING:
    from guard.calibration import Calibration


def calibrate(
    alpha: Annotated[
        float | None,
        typer.Option(help="Bound of the share of benign prompts flagged; default: LETHE_ALPHA, or 0.01."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="Benign prompts of your own, JSON Lines with 'text'; default: the shipped ones."),
    ] = None,
    targets_file: Annotated[
        Path | None, typer.Option("--targets", help="JSON Lines of targets; default: the registered ones.")
    ] = None,
    url: Url = None,
    key: Key = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Make the thresholds of the prompt classifier from prompts that must not be flagged, and keep them.

    A server makes them by itself when the targets have changed (LETHE_ALPHA), and reads them at its start.
    """
    from rich.console import Console
    from rich.progress import Progress

    from guard.calibrating import calibrate as made_for
    from guard.classifier import Classifier
    from guard.encoder import SentenceEncoder
    from guard.snapshot import compile_snapshot, no_words
    from guard.targets import read_jsonl
    from serving.calibrator import calibration_file
    from serving.commands.registry import open_registry
    from serving.settings import read_settings

    settings = read_settings()
    targets = read_jsonl(targets_file) if targets_file else open_registry(url, key, key_file).targets()
    encoder = SentenceEncoder(settings.encoder)
    share = alpha if alpha is not None else settings.alpha if settings.alpha is not None else 0.01
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("judging benign prompts", total=None)
        classifier = Classifier(compile_snapshot(targets, no_words), encoder)
        benign = _texts(prompts) if prompts else None
        made = made_for(classifier, encoder, share, benign, lambda done: bar.advance(task, done))
    path = calibration_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(path)
    _show(made, as_json)


def _show(made: Calibration, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from guard.calibration import DEFAULT

    if as_json:
        thresholds = {group: threshold.to_json() for group, threshold in made.thresholds.items()}
        typer.echo(json.dumps({"snapshot": made.snapshot, "thresholds": thresholds}))
        return
    table = Table("group", "threshold", "bound", "benign prompts", "of texts")
    for group, threshold in made.thresholds.items():
        name = "all groups" if group == DEFAULT else group
        table.add_row(
            name, f"{threshold.value:.3f}", f"{threshold.alpha:g}", str(threshold.n), threshold.data
        )
    Console().print(table)


def _texts(path: Path) -> list[str]:
    """The prompts of a file. Raises InputError."""
    from guard.errors import InputError

    try:
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        return [str(json.loads(line)["text"]) for line in lines]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text ({type(error).__name__})") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: every line must be a JSON object with a field 'text'") from None
