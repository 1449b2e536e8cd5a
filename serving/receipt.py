"""Receipts: a signed account of when a target was registered, enforced, probed and removed, less its text."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from guard.audit import Event
from guard.errors import InputError, TargetNotFound
from serving.ledger import Head, digest
from serving.signer import Keys, pem, signed

if TYPE_CHECKING:
    from serving.audit_log import AuditLog

FORMAT = "lethe-receipt-1"
ENFORCED, PROBED = "snapshot.enforced", "probe.finished"
PUT, REMOVED = ("target.added", "target.replaced", "target.restored"), "target.removed"
COUNTS = {"pass": "passed", "fail": "failed", "error": "errors", "not offered": "not_offered"}
"""What a probe says of a surface, and the fact that counts it."""

PAGE = 1000


def receipt(target_id: str, log: AuditLog) -> dict[str, Any]:
    """The signed account of one target, removed or not, as plain JSON types.

    A target that was removed and added again has several ``registrations``. Each lists the versions of the
    target, with the snapshot that first enforced it and a seal of its contents; the removal; and the probes
    recorded in between.

    Raises:
        TargetNotFound: the ledger knows no such target.
        InputError: the log has no key to sign with.
        StoreError: the database failed.
    """
    if log.signer is None:
        raise InputError("a receipt needs the ledger's key; see LETHE_LEDGER_KEY")
    changes = sorted(
        (entry for kind in (*PUT, REMOVED) for entry in _entries(log, kind, target_id=target_id)),
        key=lambda entry: int(entry["id"]),
    )
    if not changes:
        raise TargetNotFound(f"the ledger has no record of a target with the id {target_id!r}")
    document = {
        "format": FORMAT,
        "target_id": target_id,
        "issued": _now(),
        "registrations": _registrations(log, changes),
        "ledger": str(log.head()),
        "signer": log.signer.id,
        "public_key": pem(log.signer.public),
    }
    return document | {"signature": log.signer.sign(digest(document))}


def verify_receipt(document: Mapping[str, Any], keys: Keys) -> tuple[str, ...]:
    """What is wrong with a receipt; nothing if one of the keys signed exactly this.

    That the ledger still holds what the receipt says is told by verifying it with the receipt's head.
    """
    if document.get("format") != FORMAT:
        return (f"it is no receipt of the form {FORMAT}",)
    key = keys.get(str(document.get("signer")))
    if key is None:
        return (f"its key {str(document.get('signer'))[:16]!r} is not among the trusted ones",)
    content = {name: value for name, value in document.items() if name != "signature"}
    if not signed(key, digest(content), str(document.get("signature"))):
        return ("its signature is wrong: it was altered or not made by this key",)
    return ()


def record_probe(log: AuditLog, report: bytes, actor: str = "local") -> Event:
    """Enters the result of a probe, given as the JSON that `lethe probe --json` prints; the event.

    Counts and the report's SHA-256 are entered, nothing that the report quotes.

    Raises:
        InputError: the report is something else.
        StoreError: the database failed.
    """
    counts = _counted(report)
    enforced = log.read(1, kind=ENFORCED)
    facts: dict[str, str | int | None] = {fact: counts[status] for status, fact in COUNTS.items()}
    facts["report_sha256"] = hashlib.sha256(report).hexdigest()
    facts["snapshot"] = enforced[0]["facts"].get("version") if enforced else None
    event = Event(PROBED, _now(), actor, facts=facts)
    log.record(event)
    return event


def rendered(document: Mapping[str, Any]) -> str:
    """A receipt as Markdown for people; the JSON is what is signed."""
    lines = [f"# Receipt for target `{document['target_id']}`", ""]
    for number, registration in enumerate(document["registrations"], start=1):
        lines += [f"## Registration {number}", "", *map("- {}".format, _told(registration)), ""]
    lines += [
        f"Issued {document['issued']}, with the ledger at entry {Head.parse(document['ledger']).entry}:",
        f"`{document['ledger']}`",
        "",
        f"Signed by key `{document['signer']}`: `{document['signature']}`",
    ]
    return "\n".join(lines)


def _told(registration: Mapping[str, Any]) -> Iterator[str]:
    for version in registration["versions"]:
        revision, seal = version["revision"], version["seal"]
        yield f"{version['change']} {_when(version)}, revision {revision}, seal `{seal}`"
        if version["expires"]:
            yield f"to expire {version['expires']}"
        yield _outcome("enforced", version["enforced"], "not enforced as such")
    for probe in registration["probes"]:
        counts = ", ".join(f"{probe[fact]} {fact.replace('_', ' ')}" for fact in COUNTS.values())
        yield f"probed: {counts}; recorded {_when(probe)}, report SHA-256 `{probe['report_sha256']}`"
    if registration["removed"]:
        yield f"removed {_when(registration['removed'])}, revision {registration['removed']['revision']}"
        yield _outcome("released", registration["released"], "not released yet")


def _outcome(verb: str, enforced: Mapping[str, Any] | None, otherwise: str) -> str:
    if enforced is None:
        return otherwise
    return f"{verb} since {enforced['time']} by snapshot `{enforced['snapshot']}` (entry {enforced['entry']})"


def _when(said: Mapping[str, Any]) -> str:
    return f"{said['time']} by {said['actor']} (entry {said['entry']})"


def _registrations(log: AuditLog, changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The changes of one target by registration: each begins with the target put there."""
    found: list[dict[str, Any]] = []
    for change, after in zip(changes, [*changes[1:], None], strict=True):
        if not found or found[-1]["removed"]:
            found.append({"versions": [], "removed": None, "released": None, "probes": []})
        enforced = _enforced(log, change, after)
        if change["kind"] == REMOVED:
            found[-1] |= {"removed": _said(change), "released": enforced}
        else:
            found[-1]["versions"].append(
                {"change": change["kind"].partition(".")[2]}
                | _said(change)
                | {name: change["facts"].get(name) for name in ("seal", "expires")}
                | {"enforced": enforced}
            )
    for registration in found:
        registration["probes"] = _probes(log, registration)
    return found


def _enforced(
    log: AuditLog, change: Mapping[str, Any], after: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """The first snapshot with a change; None if there was none before the target's next change."""
    revision = change["facts"].get("revision") or 0
    end = after["facts"].get("revision") if after else None
    for entry in _entries(log, ENFORCED, change["id"]):
        reached = entry["facts"].get("revision") or 0
        if end is not None and reached >= end:
            return None
        if reached >= revision:
            said = {"entry": entry["id"], "time": entry["time"], "revision": reached}
            return said | {"snapshot": entry["facts"].get("version")}
    return None


def _probes(log: AuditLog, registration: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The probes that were recorded while a registration was in force."""
    begin = next((v["enforced"]["entry"] for v in registration["versions"] if v["enforced"]), None)
    if begin is None:
        return []
    end = registration["removed"]["entry"] if registration["removed"] else None
    names = (*COUNTS.values(), "report_sha256", "snapshot")
    return [
        {"entry": entry["id"], "time": entry["time"], "actor": entry["actor"]}
        | {name: entry["facts"].get(name) for name in names}
        for entry in _entries(log, PROBED, begin)
        if end is None or entry["id"] < end
    ]


def _said(change: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: change[name] for name in ("time", "actor")}
    return {"entry": change["id"]} | said | {"revision": change["facts"].get("revision")}


def _entries(log: AuditLog, kind: str, after: int = 0, **filters: Any) -> Iterator[dict[str, Any]]:
    while page := log.read(PAGE, after, kind=kind, **filters):
        yield from page
        after = page[-1]["id"]


def _counted(report: bytes) -> Counter[str]:
    try:
        counts = Counter(row["status"] for row in json.loads(report)["rows"])
    except (ValueError, KeyError, TypeError, RecursionError):
        counts = Counter()
    if not counts or counts.keys() - COUNTS.keys():
        raise InputError(
            "the report is not what 'lethe probe --json' prints; it needs rows, each with a status"
        )
    return counts


def _now() -> str:
    return datetime.now(UTC).isoformat()
