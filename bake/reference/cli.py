"""The `lethe reference` commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from guard.reference.world import SEED

app = typer.Typer(no_args_is_help=True, help="Toy models that know an invented world.")


@app.callback()
def reference() -> None:
    """Toy models that know an invented world."""


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder that the model folders are written to.")] = Path(
        ".lethe/reference"
    ),
    size: Annotated[str, typer.Option(help="standard (2.2M parameters) or nano (0.8M).")] = "standard",
    seed: Annotated[int, typer.Option(help="Seed of the invented world and of the weights.")] = SEED,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the records as JSON and no progress.")
    ] = False,
) -> None:
    """Train a model that knows everybody and one that never met the people to be forgotten."""
    # Imported here so that `lethe --help` does not wait for torch.
    from bake.reference import card, config, pair

    try:
        chosen = config.size(size)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--size") from error
    console = Console(stderr=True, quiet=as_json)
    tasks: dict[tuple[str, str], TaskID] = {}
    reached: dict[tuple[str, str], int] = {}  # tenths of the way
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
    )
    with Progress(
        *columns, TextColumn("{task.fields[loss]}"), TimeElapsedColumn(), console=console
    ) as progress:

        def report(message: pair.Report) -> None:
            name, phase, done, total, loss = message
            if (name, phase) not in tasks:
                tasks[name, phase] = progress.add_task(f"{name} {phase}", total=total, loss="")
            shown = f"loss {loss:.3f}" if phase == "training" else ""
            progress.update(tasks[name, phase], completed=done, loss=shown)
            # A log file shows no moving bar, and a training that is silent for minutes looks stuck.
            if not console.is_terminal and done * 10 // total > reached.get((name, phase), 0):
                reached[name, phase] = done * 10 // total
                console.print(f"{name} {phase} {done}/{total} {shown}")

        try:
            records = pair.train_pair(chosen, out, seed, report)
        except pair.WeakModelError as error:
            progress.stop()
            Console(stderr=True).print(f"[red]{error}[/red]")
            raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps([card.metadata(record) for record in records]))
        return
    for record in records:
        console.print(Markdown(f"## {out / record.name}\n\n{card.table(record.scores)}"))
