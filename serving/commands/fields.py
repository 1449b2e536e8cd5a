"""Options that describe a target, as several commands take them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

# Written out, and compared with the table in a test: importing the table would slow down every `--help`.
ENCODINGS = (
    "base64, hex, rot13, reversed, spaced, initials, percent, entities, escapes, decimal, binary, morse, "
    "nato, leet"
)

Id = Annotated[str | None, typer.Option("--id", help="Identifier: letters, digits and . _ : -")]
Kind = Annotated[str | None, typer.Option(help="entity, qa, text or topic; default entity.")]
Name = Annotated[str | None, typer.Option(help="What the target is called.")]
Alias = Annotated[list[str] | None, typer.Option(help="Another name; repeat for more.")]
Phrase = Annotated[list[str] | None, typer.Option(help="A string to keep out of responses; repeat for more.")]
ActionName = Annotated[
    str | None, typer.Option("--action", help="observe, rewrite, restrict, steer or refuse; default refuse.")
]
AlwaysOn = Annotated[bool, typer.Option("--always-on", help="Keep its strings out of every response.")]
MaybeAlwaysOn = Annotated[
    bool | None,
    typer.Option("--always-on/--not-always-on", help="Keep its strings out of every response, or not."),
]
BoundaryName = Annotated[
    str | None,
    typer.Option("--boundary", help="Where its strings count: none, left (default) or both ends of a word."),
]
Beta = Annotated[
    float | None, typer.Option(help="Share of a string from which it is forbidden; default 1, the whole.")
]
EncodingName = Annotated[
    list[str] | None, typer.Option("--encoding", help=f"Forbid this form too: {ENCODINGS}; repeat for more.")
]
Reason = Annotated[str | None, typer.Option(help="Why, for the record.")]
Owner = Annotated[str | None, typer.Option(help="Who is responsible, for the record.")]
ExpiresAt = Annotated[str | None, typer.Option(help="End, as ISO 8601 with time zone.")]
File = Annotated[
    str | None, typer.Option("--file", "-f", help="JSON with any field; '-' reads standard input.")
]


def matching(boundary: str | None, beta: float | None, encodings: list[str] | None) -> dict[str, Any] | None:
    """The field ``matching`` of what is given; None of nothing."""
    given = {"boundary": boundary, "beta": beta, "encodings": encodings}
    return {name: value for name, value in given.items() if value is not None} or None
