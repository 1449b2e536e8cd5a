"""``lethe database``: whether the database has this version's schema, and how it gets it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from serving.commands.options import Json

app = typer.Typer(no_args_is_help=True, help="Look at the database's schema and bring it up to date.")

Database = Annotated[str | None, typer.Option("--database", help="URL; default: that of the settings.")]


@app.callback()
def _group() -> None:
    """Look at the database's schema and bring it up to date."""


@app.command()
def status(database: Database = None, as_json: Json = False) -> None:
    """Show which schema the database has; exit status 1 if it needs an upgrade or a newer version."""
    from serving.database import schema_of
    from serving.migrations.schema import HEAD, Standing, standing

    found = schema_of(_url(database))
    state = standing(found)
    sentences = {
        Standing.EMPTY: "the database is empty; it gets its tables when it is first used",
        Standing.OLDER: f"schema {found}, this version reads {HEAD}; run 'lethe database upgrade'",
        Standing.CURRENT: f"schema {found}, as this version reads it",
        Standing.UNKNOWN: f"schema {found}, this version knows up to {HEAD}; use the version that made it",
    }
    shown = {"schema": found, "newest": HEAD, "state": state.value}
    typer.echo(json.dumps(shown) if as_json else sentences[state])
    raise typer.Exit(int(state in {Standing.OLDER, Standing.UNKNOWN}))


@app.command()
def upgrade(database: Database = None, as_json: Json = False) -> None:
    """Bring the database to this version's schema; back it up first, and stop servers of older versions.

    All or nothing: an upgrade that fails or is killed leaves the database as it was.
    """
    from serving.database import upgrade_database
    from serving.migrations.schema import HEAD

    before = upgrade_database(_url(database))
    if as_json:
        typer.echo(json.dumps({"before": before, "schema": HEAD}))
    elif before == HEAD:
        typer.echo(f"schema {HEAD} already, nothing to do")
    else:
        typer.echo(f"upgraded from {f'schema {before}' if before else 'nothing'} to schema {HEAD}")


def _url(given: str | None) -> str:
    from serving.settings import read_settings

    return given or read_settings().database_url
