"""Conditional changes: a target's content hash as its ETag, and what If-Match insists on."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

from guard.targets import TargetStore, etag
from guard.types import ForgetTarget

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1000,
        description="the target's ETag as you saw it; if it is another one by now, nothing is changed",
    ),
]


def tag_of(target: ForgetTarget) -> str:
    """The ETag of a target."""
    return f'"{etag(target)}"'


def expected(if_match: str | None, store: TargetStore, target_id: str) -> str | None:
    """The content hash that a change insists on; None if any will do.

    Raises:
        TargetNotFound: there is a choice, and no target.
    """
    tags = [tag.strip() for tag in (if_match or "*").split(",")]
    if "*" in tags:
        return None
    # A weak tag (W/"...") stays as it is: it never counts here, and equals no hash.
    wanted = [tag.strip('"') for tag in tags]
    if len(wanted) == 1:
        return wanted[0]
    current = etag(store.get(target_id))
    return current if current in wanted else wanted[0]
