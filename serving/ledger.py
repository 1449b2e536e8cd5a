"""The ledger: a signed chain of everything that happened, in which no later change goes unnoticed.

The hash of an entry covers the entry and the hash before it, and a server's key signs each hash. So nobody
without the key can alter, insert, reorder or drop entries; only cutting off the end leaves a valid chain, and
that is told by a head noted elsewhere: in the server's home, in a receipt, in an earlier printout.
No database here: `serving.audit_log` keeps the entries.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from guard.errors import InputError
from serving.signer import Keys, Signer, signed

__all__ = ["BEGAN", "MISSING", "Entry", "Head", "Keys", "Problem", "Signer", "Verification", "link", "verify"]

FORMAT = "lethe-ledger-1"
BEGAN = "ledger.began"  # kind of the first chained entry of a database that held unchained ones already
MISSING = "missing"  # in place of the hash before an entry, if that is not to be found: never verifies
MOST = 1000  # problems told one by one


class Head(NamedTuple):
    """Where a ledger ended at some time: the id and the hash of its last entry, (0, "") when empty."""

    entry: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Head:
        """Reads ``COUNT:HASH``.

        Raises:
            InputError: the text is anything else.
        """
        found = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})?", text.strip())
        if found is None:
            raise InputError(f"{text[:90]!r} is no head of a ledger; give COUNT:HASH as it was printed")
        return cls(int(found[1]), found[2] or "")

    def __str__(self) -> str:
        return f"{self.entry}:{self.hash}"


EMPTY = Head(0, "")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it is stored. Its id is its place in the ledger, from 1 on."""

    id: int
    kind: str
    target_id: str | None
    request_id: str
    time: str
    action: str
    snapshot: str
    document: str
    hash: str = ""  # "": from before the ledger began
    signature: str = ""
    signer: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: at which entry, and what."""

    entry: int
    what: str

    def __str__(self) -> str:
        return f"entry {self.entry} {self.what}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What a walk over a ledger found.

    Attributes:
        count: entries seen.
        before: how many of them are from before the ledger began, hence not protected.
        head: the last entry's id and hash.
        problems: what is wrong, in the order of the entries; the first 1,000.
    """

    count: int
    before: int
    head: Head
    problems: tuple[Problem, ...]

    @property
    def valid(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        problems = [{"entry": problem.entry, "problem": problem.what} for problem in self.problems]
        return {
            "valid": self.valid,
            "entries": self.count,
            "before": self.before,
            "head": str(self.head),
            "problems": problems,
        }


def link(previous: str, entry: Entry) -> str:
    """The hash of an entry that follows the one with hash ``previous``, as 64 hex digits."""
    fields = (
        FORMAT,
        entry.id,
        previous,
        entry.kind,
        entry.target_id,
        entry.request_id,
        entry.time,
        entry.action,
        entry.snapshot,
        entry.document,
    )
    return digest(fields)


def digest(data: Any) -> str:
    """SHA-256 over the canonical JSON of plain values, as 64 hex digits."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def verify(
    entries: Iterable[Entry], keys: Mapping[str, Ed25519PublicKey], heads: Iterable[Head] = ()
) -> Verification:
    """Walks over a whole ledger, from its first entry on.

    Args:
        entries: in the order of their ids; read one after the other.
        keys: whose signatures count.
        heads: where the ledger is known to have ended earlier.
    """
    walk = _Walk(keys)
    wanted = sorted(set(heads))
    for entry in entries:
        walk.take(entry)
        for head in wanted:
            if head.entry == entry.id and head.hash != entry.hash:
                walk.tell(entry.id, f"differs from the head {head}: the ledger was rewritten")
    for head in wanted:
        if head.entry > walk.head.entry:
            walk.tell(
                walk.head.entry, f"is the last one, but the ledger ended at {head}: its end was removed"
            )
    return Verification(walk.count, walk.before, walk.head, tuple(walk.problems[:MOST]))


@dataclass(slots=True)
class _Walk:
    """The state of a verification. After a problem it goes on from what the entry itself says."""

    keys: Mapping[str, Ed25519PublicKey]
    count: int = 0
    before: int = 0
    head: Head = EMPTY
    problems: list[Problem] = field(default_factory=list)

    def take(self, entry: Entry) -> None:
        began = bool(self.head.hash)
        self.count += 1
        if not entry.hash and not began:
            self.before += 1
        elif not entry.hash:
            self.tell(entry.id, "is not chained: it was inserted, or its hash was removed")
        else:
            self._follow(entry, first=not began)
            self._credit(entry)
        # The hash of an unchained entry is not taken over: what follows must not look like a beginning.
        self.head = Head(entry.id, entry.hash or self.head.hash)

    def tell(self, entry: int, what: str) -> None:
        if len(self.problems) < MOST:
            self.problems.append(Problem(entry, what))

    def _follow(self, entry: Entry, first: bool) -> None:
        if first and self.before:
            if entry.kind != BEGAN or _before(entry) != self.before:
                self.tell(entry.id, f"does not tell of {self.before} entries from before the ledger began")
        elif entry.id != self.head.entry + 1:
            self.tell(entry.id, f"follows entry {self.head.entry}: entries in between are missing or moved")
            return  # what it is linked to is not there
        try:
            linked = link(self.head.hash, entry) == entry.hash
        except TypeError:  # SQLite stores any type in any column
            linked = False
        if not linked:
            self.tell(entry.id, "is not the one that was entered here, or is not the next one")

    def _credit(self, entry: Entry) -> None:
        key = self.keys.get(entry.signer)
        if not entry.signature:
            self.tell(entry.id, "is not signed")
        elif key is None:
            self.tell(entry.id, f"is signed by the unknown key {str(entry.signer)[:16]!r}; see --public-key")
        elif not signed(key, entry.hash, entry.signature):
            self.tell(entry.id, "has a wrong signature")


def _before(entry: Entry) -> int | None:
    try:
        return int(json.loads(entry.document)["facts"]["before"])
    except (ValueError, KeyError, TypeError):
        return None
