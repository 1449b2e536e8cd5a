"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option(
        envvar="LETHE_URL", help="A running server; without it the database of the settings is used."
    ),
]
Key = Annotated[
    str | None, typer.Option(help="Admin key of the server; other users of the machine can see it.")
]
KeyFile = Annotated[Path | None, typer.Option(help="File with the admin key; default: the server's home.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
