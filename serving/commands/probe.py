"""``lethe probe``: tells through which surfaces a server lets forbidden text out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.commands.options import Json

if TYPE_CHECKING:
    from serving.probe.options import Options
    from serving.probe.outcome import Row
    from serving.probe.surface import Surface

Names = Annotated[list[str] | None, typer.Option(help="Surface or pattern such as 'stream.*'; repeat.")]


def probe(
    url: Annotated[str | None, typer.Argument(help="Root of a server, e.g. http://localhost:8000")] = None,
    targets: Annotated[Path | None, typer.Option(help="JSON Lines of what must not come out.")] = None,
    controls: Annotated[
        Path | None,
        typer.Option(help="JSON Lines of targets that nobody registered: they prove the attacks."),
    ] = None,
    strangers: Annotated[
        Path | None, typer.Option(help="Names that nobody registered, one a line: can they be told apart?")
    ] = None,
    registered: Annotated[
        Path | None, typer.Option(help="Registered names to tell from strangers; default: of the targets.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Default: the server's first model.")] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="LETHE_PROBE_KEY", help="Sent as bearer token.")
    ] = None,
    body: Annotated[
        str | None, typer.Option(help="JSON object merged into each generating request, e.g. bad_words.")
    ] = None,
    only: Names = None,
    skip: Names = None,
    list_: Annotated[bool, typer.Option("--list", help="List the surfaces and end.")] = False,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder of the tokenizer, if the server has no /tokenize.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Answers drawn by sampling.best.")] = 128,
    timeout: Annotated[float, typer.Option(min=0.1, help="Of each request, seconds.")] = 120.0,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    as_json: Json = False,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a Markdown report here.")] = None,
) -> None:
    """Try to get forbidden text out of any OpenAI-compatible server, and tell where it comes out.

    Exit status: 0 nothing came out, 1 something did or could not be judged, 2 the probe could not run.
    """
    from guard.errors import InputError
    from serving.probe import SURFACES
    from serving.probe.options import Options, parse_body
    from serving.probe.report import as_json as json_of
    from serving.probe.report import as_junit, as_markdown, passed
    from serving.probe.run import chosen

    surfaces = chosen(SURFACES, only or (), skip or ())
    if list_:
        for name, surface in surfaces.items():
            typer.echo(f"{name:28}{surface.title}")
        return
    if url is None or targets is None:
        raise InputError("give the URL of a server and --targets, or --list")
    extra = parse_body(body) if body else {}
    options = Options(
        url.rstrip("/"),
        targets,
        controls,
        strangers,
        registered,
        model,
        api_key,
        extra,
        tokenizer,
        samples,
        timeout,
        seed,
    )
    rows, facts = asyncio.run(_run(options, surfaces, quiet=as_json))
    if junit:
        _write(junit, as_junit(rows, facts))
    if markdown:
        _write(markdown, as_markdown(rows, facts, SURFACES))
    if as_json:
        typer.echo(json_of(rows, facts))
    raise typer.Exit(0 if passed(rows) else 1)


async def _run(
    options: Options, surfaces: Mapping[str, Surface], quiet: bool
) -> tuple[list[Row], dict[str, Any]]:
    """The rows, shown as they come, and the facts of the run."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from serving.probe.options import opened
    from serving.probe.report import as_table
    from serving.probe.run import probe as run

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    shown = Console(stderr=True)
    bar = Progress(*columns, console=shown, transient=True, disable=not sys.stderr.isatty())
    async with opened(options) as (session, asked):
        with bar:
            task = bar.add_task("probing", total=len(surfaces))

            def tell(name: str, row: Row | None) -> None:
                bar.update(task, description=name, advance=0 if row is None else 1)

            rows = await run(session, surfaces, asked, tell)
        facts = {"url": options.url, "model": session.client.model, "seed": options.seed}
        facts |= {"targets": sum(not s.control for s in asked), "controls": sum(s.control for s in asked)}
        facts |= {"strangers": len(session.strangers), "requests": session.client.requests}
    if not quiet:
        Console().print(as_table(rows))
    return rows, facts


def _write(path: Path, text: str) -> None:
    from guard.errors import InputError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from None
