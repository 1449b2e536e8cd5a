"""The `lethe reference` commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn

from guard.reference.world import SEED

if TYPE_CHECKING:
    from bake.reference.pair import OnReport, Report

app = typer.Typer(no_args_is_help=True, help="Toy models that know an invented world.")


@app.callback()
def reference() -> None:
    """Toy models that know an invented world."""


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder that the model folders are written to.")] = Path(
        ".lethe/reference"
    ),
    size: Annotated[
        str,
        typer.Option(
            help="standard (2.2M parameters), nano (0.8M) or scripted (1M, to be probed for leaks)."
        ),
    ] = "standard",
    seed: Annotated[int, typer.Option(help="Seed of the invented world and of the weights.")] = SEED,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the records as JSON and no progress.")
    ] = False,
) -> None:
    """Train a model that knows everybody and one that never met the people to be forgotten.

    The size "scripted" is one model, which says on request what a probe for leaks looks for.
    """
    # Imported here so that `lethe --help` does not wait for torch.
    from bake.reference.pair import WeakModelError

    console = Console(stderr=True, quiet=as_json)
    with Progress(*_columns(), console=console) as progress:
        try:
            trained = _trained(size, out, seed, _reporter(progress, console))
        except WeakModelError as error:
            progress.stop()
            Console(stderr=True).print(f"[red]{error}[/red]")
            raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps([metadata for _, metadata, _ in trained]))
        return
    for name, _, table in trained:
        console.print(Markdown(f"## {out / name}\n\n{table}"))


def _columns() -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
    )


def _trained(size: str, out: Path, seed: int, report: OnReport) -> list[tuple[str, dict[str, Any], str]]:
    """Name, metadata and table of scores of each model of a size, trained."""
    from bake.reference import card, config, pair, script_card, scripted

    if size == config.SCRIPTED:
        record = scripted.train_scripted(out, seed, report)
        return [(record.name, script_card.metadata(record), script_card.table(record.scores))]
    try:
        chosen = config.size(size)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--size") from error
    records = pair.train_pair(chosen, out, seed, report)
    return [(record.name, card.metadata(record), card.table(record.scores)) for record in records]


def _reporter(progress: Progress, console: Console) -> OnReport:
    tasks: dict[tuple[str, str], TaskID] = {}
    reached: dict[tuple[str, str], int] = {}  # tenths of the way

    def report(message: Report) -> None:
        name, phase, done, total, loss = message
        if (name, phase) not in tasks:
            tasks[name, phase] = progress.add_task(f"{name} {phase}", total=total, loss="")
        shown = f"loss {loss:.3f}" if phase == "training" else ""
        progress.update(tasks[name, phase], completed=done, loss=shown)
        # A log file shows no moving bar, and a training that is silent for minutes looks stuck.
        if not console.is_terminal and done * 10 // total > reached.get((name, phase), 0):
            reached[name, phase] = done * 10 // total
            console.print(f"{name} {phase} {done}/{total} {shown}")

    return report
