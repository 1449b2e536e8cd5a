"""Verification of the ledger that the settings name, against everything known of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from serving.head import HEAD_FILE, HeadFile
from serving.ledger import Head, Verification, verify
from serving.signer import trusted

if TYPE_CHECKING:
    from serving.audit_log import AuditLog
    from serving.settings import Settings


def verify_log(
    log: AuditLog, settings: Settings, head: str | None = None, public_keys: Iterable[Path] = ()
) -> Verification:
    """Walks over the whole ledger, about 8,000 entries a second.

    Args:
        log: the ledger.
        settings: name the home, whose public keys are trusted and whose `ledger.head` must be in the ledger.
        head: ``COUNT:HASH`` where the ledger is known to have ended once.
        public_keys: files of further keys, such as those of other servers on the same database.

    Raises:
        InputError: the head is malformed, or there is no public key.
        StoreError: the database failed.
    """
    keys = trusted(settings, public_keys)
    # Read first: the ledger grows meanwhile.
    noted = HeadFile(settings.home / HEAD_FILE).read()
    heads = [Head.parse(head)] if head is not None else []
    return verify(log.entries(), keys, [*heads, noted] if noted else heads)
