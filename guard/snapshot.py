"""A snapshot: targets compiled into an immutable, versioned set that every process holds alike.

On disk it is a directory: ``snapshot.json`` (format, version, ids), ``targets.jsonl``, ``soft.jsonl`` (words
that targets penalise) and ``always.safetensors`` (the automata of the always-on strings). It holds the
targets' texts in clear: keep it as private as the target store. A small change need not go by disk:
`Snapshot.changed` makes the same version in every process that is told the records that changed.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError

from guard.archive import load_automata, save_automata
from guard.automaton import Automaton, Phrase, Rule, automata_of
from guard.errors import InputError, LetheError, SnapshotError
from guard.phrases import always_forbidden, as_phrases, forbidden_phrases
from guard.types import Boundary, ForgetTarget

FORMAT = 2
_MODULUS = 1 << 256

Soften = Callable[[ForgetTarget], Mapping[str, float]]
"""Words a target penalises, each with its penalty (`guard.semantic_penalty`)."""


def no_words(target: ForgetTarget) -> Mapping[str, float]:
    """No words: for snapshots that judge prompts only, where the model is not known."""
    return {}


@dataclass(frozen=True)
class Record:
    """A target as it is kept and sent: its canonical JSON, and the words it penalises as JSON, if any."""

    line: str
    soft: str = ""

    @classmethod
    def of(cls, target: ForgetTarget, soften: Soften | None = None) -> Record:
        """The record of a target.

        Raises:
            InputError: it has soft penalties, and nobody is there to compute them.
        """
        line = json.dumps(target.to_json(), sort_keys=True, ensure_ascii=False)
        if target.matching.soft is None:
            return cls(line)
        if soften is None:
            raise InputError(
                f"target {target.id!r} has soft penalties, which depend on the model's vocabulary; "
                "name the model (--model), or leave out matching.soft"
            )
        words = {word: None if math.isinf(p) else round(p, 6) for word, p in soften(target).items()}
        return cls(line, json.dumps(words, sort_keys=True, ensure_ascii=False))

    @cached_property
    def target(self) -> ForgetTarget:
        """The target, parsed when first asked for."""
        return ForgetTarget.parse(json.loads(self.line))

    @cached_property
    def enforces(self) -> bool:
        """True if the target's action changes what a client receives."""
        # Canonical JSON: inside a text the quotes would be escaped, so most records need not be parsed.
        return '"action": "observe"' not in self.line

    @cached_property
    def always(self) -> bool:
        """True if the target's strings are kept out of every response."""
        return self.enforces and '"always_on": true' in self.line

    @cached_property
    def words(self) -> Mapping[str, float]:
        """Penalised words; an infinite penalty forbids the word."""
        given = json.loads(self.soft) if self.soft else {}
        return {word: math.inf if penalty is None else penalty for word, penalty in given.items()}

    @cached_property
    def digest(self) -> int:
        """Content hash."""
        return int.from_bytes(hashlib.sha256(f"{self.line}\n{self.soft}".encode()).digest())


class Targets(Mapping[str, ForgetTarget]):
    """The targets of records, by id."""

    def __init__(self, records: Mapping[str, Record]) -> None:
        self._records = records

    def __getitem__(self, target_id: str) -> ForgetTarget:
        return self._records[target_id].target

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


@dataclass(frozen=True)
class Snapshot:
    """Compiled targets. Automata of single targets are built when first asked for and then kept.

    Attributes:
        records: every target, by id.
        base: automata of the always-on targets that were there at the last full compilation.
        base_ids: those targets.
        recent: automata of the always-on targets that came later.
        recent_ids: those targets.
        total: sum of the records' digests, which makes the version of a small change cheap.
    """

    records: Mapping[str, Record]
    base: tuple[Automaton, ...]
    base_ids: frozenset[str]
    recent: tuple[Automaton, ...]
    recent_ids: frozenset[str]
    total: int
    _built: dict[str | None, tuple[Automaton, ...]] = field(default_factory=dict, repr=False)

    @cached_property
    def version(self) -> str:
        """Content hash; short enough for a header, long enough not to collide. The order does not count."""
        return hashlib.sha256(f"lethe-snapshot-{FORMAT}-{self.total % _MODULUS}".encode()).hexdigest()[:16]

    @property
    def targets(self) -> Mapping[str, ForgetTarget]:
        """The targets, by id."""
        return Targets(self.records)

    @property
    def always(self) -> tuple[Automaton, ...]:
        """Automata to enforce on every response."""
        return self.base + self.recent

    def automata(self, target_ids: Iterable[str] | None) -> tuple[Automaton, ...]:
        """Automata to enforce on a response: those of the always-on targets, then those of routed ones.

        Args:
            target_ids: routed targets; unknown ids (removed since) have no strings. None enforces all
                targets, for engines that run without the router.
        """
        if target_ids is None:
            return self._routed(None)
        routed = (i for i in target_ids if i in self.records and self.records[i].enforces)
        return (*self.always, *(automaton for i in routed for automaton in self._routed(i)))

    def changed(self, put: Mapping[str, Record], removed: Collection[str] = ()) -> Snapshot:
        """The snapshot after a change; what it forbids is that of compiling all its targets anew.

        Cheap unless an always-on target of ``base`` goes or changes: then everything is compiled.
        """
        gone = {i: self.records[i] for i in (*put, *removed) if i in self.records}
        records = {**self.records, **put}
        for target_id in removed:
            records.pop(target_id, None)
        total = self.total - sum(r.digest for r in gone.values()) + sum(r.digest for r in put.values())
        if self.rebuilds(gone):
            return _compiled(records, total)
        added = _always_on(put)
        ids = (self.recent_ids - gone.keys()) | added
        touched = added or self.recent_ids & gone.keys()
        recent = _forbidding(records[i] for i in sorted(ids)) if touched else self.recent
        built: dict[str | None, tuple[Automaton, ...]] = {
            i: found for i, found in self._built.items() if i is not None and i not in gone
        }
        return Snapshot(records, self.base, self.base_ids, recent, ids, total, built)

    def on(self, other: Snapshot) -> Snapshot:
        """This snapshot with what another one has compiled already; cheap if few targets differ."""
        known = other.records
        put = {i: record for i, record in self.records.items() if known.get(i) != record}
        return other.changed(put, [i for i in known if i not in self.records])

    def rebuilds(self, target_ids: Collection[str]) -> bool:
        """True if a change of these targets compiles everything anew."""
        return not self.base_ids.isdisjoint(target_ids)

    def compacted(self) -> Snapshot:
        """The same targets with all always-on strings in ``base``."""
        return _compiled(self.records, self.total)

    def save(self, directory: Path) -> Path:
        """Writes ``directory/<version>`` in one step and returns it; an existing one is kept."""
        final = directory / self.version
        if (final / "snapshot.json").exists():
            return final
        whole = self.compacted() if self.recent else self
        directory.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=directory))
        save_automata(staging / "always.safetensors", whole.base)
        _write_lines(staging / "targets.jsonl", (record.line for record in self.records.values()))
        _write_lines(staging / "soft.jsonl", (record.soft for record in self.records.values()))
        head = {"format": FORMAT, "version": self.version, "ids": list(self.records)}
        (staging / "snapshot.json").write_text(json.dumps(head) + "\n")
        try:
            staging.replace(final)
        except OSError:
            # Another process saved the same version first; both are identical.
            shutil.rmtree(staging)
            if not (final / "snapshot.json").exists():
                raise
        return final

    def _routed(self, target_id: str | None) -> tuple[Automaton, ...]:
        if target_id not in self._built:
            records = self.records.values() if target_id is None else [self.records[target_id]]
            self._built[target_id] = _forbidding(records, routed=True)
        return self._built[target_id]


def compile_snapshot(targets: Iterable[ForgetTarget], soften: Soften | None = None) -> Snapshot:
    """The snapshot of the targets that have not expired; equal targets give an equal version.

    Raises:
        InputError: a target has soft penalties, and ``soften`` is not given.
    """
    records = {target.id: Record.of(target, soften) for target in targets if not target.expired()}
    return _compiled(records, sum(record.digest for record in records.values()))


def load_snapshot(directory: Path | str) -> Snapshot:
    """The snapshot saved in a directory.

    Raises:
        SnapshotError: the directory is missing, damaged or of another format.
    """
    directory = Path(directory)
    try:
        head = json.loads((directory / "snapshot.json").read_text())
        if head.get("format") != FORMAT:
            given = head.get("format")
            raise SnapshotError(f"snapshot {directory} has format {given!r}, not {FORMAT}; compile it anew")
        lines = _read_lines(directory / "targets.jsonl")
        softs = _read_lines(directory / "soft.jsonl")
        pairs = zip(head["ids"], lines, softs, strict=True)
        records = {target_id: Record(line, soft) for target_id, line, soft in pairs}
        base = load_automata(directory / "always.safetensors")
    except SnapshotError:
        raise
    except (OSError, ValueError, TypeError, KeyError, LetheError, SafetensorError) as error:
        raise SnapshotError(
            f"snapshot {directory} cannot be loaded ({type(error).__name__}); write it anew: lethe compile"
        ) from error
    total = sum(record.digest for record in records.values())
    snapshot = Snapshot(records, base, _always_on(records), (), frozenset(), total)
    if snapshot.version != head.get("version"):
        raise SnapshotError(f"snapshot {directory} was changed after it was compiled; compile it anew")
    return snapshot


def _compiled(records: Mapping[str, Record], total: int) -> Snapshot:
    always = _always_on(records)
    base = _forbidding(records[i] for i in records if i in always)
    return Snapshot(records, base, always, (), frozenset(), total)


def _forbidding(records: Iterable[Record], routed: bool = False) -> tuple[Automaton, ...]:
    """Automata of what the records' targets forbid, then of the words they penalise."""
    phrases: list[Phrase] = []
    words: dict[Rule, dict[str, float]] = {}
    for record in records:
        if not record.enforces:
            continue
        target = record.target
        phrases += as_phrases(target, forbidden_phrases(target) if routed else always_forbidden(target))
        if record.soft:
            known = words.setdefault(Rule(target.matching.folding, Boundary.LEFT), {})
            known |= {word: max(p, known.get(word, 0.0)) for word, p in record.words.items()}
    hard = (automaton for automaton in automata_of(phrases) if automaton.longest)
    return (*hard, *(Automaton.soft(found, rule) for rule, found in words.items()))


def _always_on(records: Mapping[str, Record]) -> frozenset[str]:
    return frozenset(target_id for target_id, record in records.items() if record.always)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]
