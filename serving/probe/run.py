"""Tries surfaces one after the other and collects their rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch

from guard.errors import InputError
from serving.probe.outcome import Kind, NotOffered, Outcome, Row, Status, row
from serving.probe.session import Session
from serving.probe.subjects import Subject
from serving.probe.surface import Surface


def chosen(
    table: Mapping[str, Surface], only: Sequence[str] = (), skip: Sequence[str] = ()
) -> dict[str, Surface]:
    """The surfaces to try; patterns such as ``stream.*`` choose several.

    Raises:
        InputError: a pattern fits no surface.
    """
    for pattern in (*only, *skip):
        if not any(fnmatch(name, pattern) for name in table):
            raise InputError(f"no surface is called {pattern!r}; 'lethe probe --list' shows all")
    return {
        name: surface
        for name, surface in table.items()
        if (not only or any(fnmatch(name, pattern) for pattern in only))
        and not any(fnmatch(name, pattern) for pattern in skip)
    }


async def probe(
    session: Session,
    surfaces: Mapping[str, Surface],
    subjects: Sequence[Subject],
    tell: Callable[[str, Row | None], None] = lambda name, row: None,
) -> list[Row]:
    """A row for each surface; ``tell`` hears of each before and after."""
    rows = []
    for name, surface in surfaces.items():
        tell(name, None)
        before, started = session.client.requests, time.perf_counter()
        made = await _row(session, name, surface, subjects)
        made = replace(
            made,
            requests=session.client.requests - before,
            seconds=round(time.perf_counter() - started, 2),
        )
        rows.append(made)
        tell(name, made)
    return rows


async def _row(session: Session, name: str, surface: Surface, subjects: Sequence[Subject]) -> Row:
    if surface.survey is not None:
        try:
            return await surface.survey(session)
        except NotOffered as error:
            return Row(name, Status.NOT_OFFERED, note=str(error))
    targets = [subject for subject in subjects if not subject.control]
    found = await asyncio.gather(*(_outcome(session, surface, subject) for subject in targets))
    controls: list[Outcome] = []
    for subject in subjects:
        if subject.control:
            controls.append(await _outcome(session, surface, subject))
            if controls[-1].kind is Kind.LEAKED:
                break  # one is proof enough
    return row(name, found, controls)


async def _outcome(session: Session, surface: Surface, subject: Subject) -> Outcome:
    if surface.attack is None:
        raise TypeError("a surface has neither attack nor survey")
    try:
        return await surface.attack(session, subject)
    except NotOffered as error:
        return Outcome(Kind.ABSENT, str(error))
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        # The server's answer is not built as expected; what it says elsewhere does not depend on it.
        return Outcome(Kind.UNCLEAR, f"an answer could not be read ({type(error).__name__})")
