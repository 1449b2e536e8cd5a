"""Automata in a safetensors file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import save_file

from guard.automaton import Automaton, Rule
from guard.normalize import folding
from guard.types import Boundary

_TABLES = tuple(field.name for field in fields(Automaton) if field.name != "rule")


def save_automata(path: Path, automata: Sequence[Automaton]) -> None:
    """Writes the automata, in order."""
    rules = [{"fold": sorted(a.rule.folding), "boundary": a.rule.boundary} for a in automata]
    tables = {
        f"{index}.{name}": table
        for index, automaton in enumerate(automata)
        for name in _TABLES
        if (table := getattr(automaton, name)) is not None
    }
    save_file(tables, path, metadata={"rules": json.dumps(rules)})


def load_automata(path: Path) -> tuple[Automaton, ...]:
    """The automata of a file.

    Raises:
        OSError, SafetensorError, ValueError, KeyError: it cannot be read, or is no such file.
    """
    with safe_open(path, framework="numpy") as file:
        rules = json.loads(file.metadata()["rules"])
        names = set(file.keys())
        return tuple(
            Automaton(
                Rule(folding(rule["fold"]), Boundary(rule["boundary"])),
                **{name: file.get_tensor(key) for name in _TABLES if (key := f"{i}.{name}") in names},
            )
            for i, rule in enumerate(rules)
        )
