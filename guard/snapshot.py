"""A snapshot: targets compiled into an immutable, versioned directory that every process loads alike.

Layout: ``snapshot.json`` (format, version), ``targets.jsonl``, ``always.safetensors`` (the automaton of the
always-on strings). It holds the targets' texts in clear: keep it as private as the target store.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from guard.automaton import Automaton
from guard.errors import LetheError, SnapshotError
from guard.phrases import always_forbidden, forbidden_phrases
from guard.targets import read_jsonl, write_jsonl
from guard.types import Action, ForgetTarget

FORMAT = 1


@dataclass(frozen=True)
class Snapshot:
    """Compiled targets. Automata of single targets are built when first asked for and then kept."""

    version: str
    targets: Mapping[str, ForgetTarget]
    always: Automaton
    _built: dict[str | None, Automaton] = field(default_factory=dict, repr=False)

    def automata(self, target_ids: Iterable[str] | None) -> tuple[Automaton, ...]:
        """Automata to enforce on a response: that of the always-on targets, then one per routed target.

        Args:
            target_ids: routed targets; unknown ids (removed since) have no strings. None enforces all
                targets, for engines that run without the router.
        """
        if target_ids is None:
            return self._with_strings(self._automaton(None))
        routed = (i for i in target_ids if i in self.targets and Action(self.targets[i].action).enforces)
        return self._with_strings(self.always, *(self._automaton(target_id) for target_id in routed))

    def save(self, directory: Path) -> Path:
        """Writes ``directory/<version>`` in one step and returns it; an existing one is kept."""
        final = directory / self.version
        if (final / "snapshot.json").exists():
            return final
        directory.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=directory))
        tables = {"delta": self.always.delta, "accept": self.always.accept, "depth": self.always.depth}
        save_file(tables, staging / "always.safetensors")
        write_jsonl(staging / "targets.jsonl", self.targets.values())
        (staging / "snapshot.json").write_text(json.dumps({"format": FORMAT, "version": self.version}) + "\n")
        try:
            staging.replace(final)
        except OSError:
            # Another process saved the same version first; both are identical.
            shutil.rmtree(staging)
            if not (final / "snapshot.json").exists():
                raise
        return final

    def _automaton(self, target_id: str | None) -> Automaton:
        if target_id not in self._built:
            chosen = self.targets.values() if target_id is None else [self.targets[target_id]]
            enforced = [t for t in chosen if Action(t.action).enforces]
            self._built[target_id] = Automaton.build(p for t in enforced for p in forbidden_phrases(t))
        return self._built[target_id]

    @staticmethod
    def _with_strings(*automata: Automaton) -> tuple[Automaton, ...]:
        return tuple(automaton for automaton in automata if automaton.longest)


def compile_snapshot(targets: Iterable[ForgetTarget]) -> Snapshot:
    """The snapshot of the targets that have not expired; equal targets give an equal version."""
    chosen = {target.id: target for target in targets if not target.expired()}
    always = [t for t in chosen.values() if t.always_on and Action(t.action).enforces]
    automaton = Automaton.build(phrase for target in always for phrase in always_forbidden(target))
    return Snapshot(_version(chosen.values()), MappingProxyType(chosen), automaton)


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
        targets = {target.id: target for target in read_jsonl(directory / "targets.jsonl")}
        always = Automaton(**load_file(directory / "always.safetensors"))
    except SnapshotError:
        raise
    except (OSError, ValueError, TypeError, LetheError, SafetensorError) as error:
        raise SnapshotError(
            f"snapshot {directory} cannot be loaded ({type(error).__name__}); write it anew: lethe compile"
        ) from error
    if _version(targets.values()) != head.get("version"):
        raise SnapshotError(f"snapshot {directory} was changed after it was compiled; compile it anew")
    return Snapshot(head["version"], MappingProxyType(targets), always)


def _version(targets: Iterable[ForgetTarget]) -> str:
    """Content hash; short enough for a header, long enough not to collide."""
    digest = hashlib.sha256(f"lethe-snapshot-{FORMAT}".encode())
    for target in sorted(targets, key=lambda t: t.id):
        digest.update(json.dumps(target.to_json(), sort_keys=True).encode() + b"\n")
    return digest.hexdigest()[:16]
