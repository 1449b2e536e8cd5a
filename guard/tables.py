"""The compiled tables of the snapshot in force, over one vocabulary."""

from __future__ import annotations

from guard.automaton import Automaton
from guard.normalize import PHRASES, Folding
from guard.snapshot import Snapshot
from guard.table import Lexicon, Table
from guard.vocabulary import Vocabulary


class Tables:
    """Compiles each automaton once, and keeps those that every response needs from snapshot to snapshot."""

    def __init__(self, vocabulary: Vocabulary, snapshot: Snapshot) -> None:
        self.vocabulary = vocabulary
        self._lexicons: dict[Folding, Lexicon] = {}
        self._compiled: dict[int, Table] = {}
        self._prepared: tuple[Automaton, ...] = ()
        # What the first always-on target would otherwise wait for: the vocabulary read, the loops compiled.
        self._table(Automaton.build(["warm-up"]))
        self.prepare(snapshot)
        self.install(snapshot)

    def prepare(self, snapshot: Snapshot) -> None:
        """Compiles what a snapshot keeps out of every response, and keeps it; safe beside running steps."""
        self._prepared = snapshot.always
        for automaton in snapshot.always:
            self._table(automaton)

    def at_hand(self, snapshot: Snapshot) -> bool:
        """True if `install` has only phrases to compile, and need not read the vocabulary in a new way."""
        return all(automaton.rule.folding in self._lexicons for automaton in snapshot.always)

    def install(self, snapshot: Snapshot) -> None:
        """Takes the snapshot as the one in force; what is not prepared is compiled now."""
        for automaton in snapshot.always:
            self._table(automaton)
        self.snapshot = snapshot
        kept = {id(automaton) for automaton in (*snapshot.always, *self._prepared)}
        # In place: the next snapshot may be in preparation beside this.
        for key in list(self._compiled):
            if key not in kept:
                del self._compiled[key]

    def of(self, target_ids: tuple[str, ...] | None, probe: int | None) -> list[Table]:
        """Tables that watch a request.

        Args:
            target_ids: routed targets, beside the always-on ones; None stands for every target.
            probe: a token to forbid instead of any string, for the server's self-check.
        """
        if probe is not None:
            return [Table.of_token(probe, self.lexicon(PHRASES))]
        return [self._table(automaton) for automaton in self.snapshot.automata(target_ids)]

    def lexicon(self, folding: Folding) -> Lexicon:
        """The vocabulary as a folding reads it."""
        if folding not in self._lexicons:
            self._lexicons[folding] = Lexicon.of(self.vocabulary, folding)
        return self._lexicons[folding]

    def always(self, table: Table) -> bool:
        """True if the table watches every request."""
        return any(table.automaton is automaton for automaton in self.snapshot.always)

    def _table(self, automaton: Automaton) -> Table:
        key = id(automaton)  # the table keeps its automaton alive
        table = self._compiled.get(key)
        if table is None:
            table = Table.compile(automaton, self.lexicon(automaton.rule.folding))
            self._compiled[key] = table
        return table
