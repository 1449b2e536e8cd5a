"""Writes guard/background/prompts.jsonl.gz from the templates and lists in scripts/material.

`background.py --check` writes nothing and exits with 1 if the file is out of date. A template names slots as
{slot}; each time it is filled, every slot takes its next value in an order of its own. The order comes from
hashes, so the file is the same under every version of Python.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from guard.background import FILE
from guard.normalize import fold

MATERIAL = Path(__file__).with_name("material")
MOST = 40  # prompts from one template: more would make the corpus look larger than it is
_SLOT = re.compile(r"\{([a-z_]+)\}")

Slots = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Part:
    """Templates of one kind and language, each filled up to ``count`` times."""

    kind: str
    lang: str
    count: int
    templates: tuple[str, ...]


def main(arguments: Sequence[str]) -> int:
    """Exit status: 1 if the file is out of date and only checked, else 0."""
    made = content()
    if FILE.exists() and gzip.decompress(FILE.read_bytes()) == made:
        return 0
    if "--check" in arguments:
        print(f"{FILE.name} is out of date; run scripts/background.py.")
        return 1
    FILE.write_bytes(gzip.compress(made, compresslevel=9, mtime=0))
    print(f"wrote {len(made.splitlines())} prompts, {FILE.stat().st_size} bytes")
    return 0


def content() -> bytes:
    """The corpus as JSON Lines: each prompt once, in an order that mixes all kinds."""
    slots, parts = material()
    rows: dict[str, dict[str, str]] = {}
    for part in parts:
        for template in part.templates:
            for text in filled(template, slots, part.count):
                rows.setdefault(fold(text).text, {"text": text, "kind": part.kind, "lang": part.lang})
    ordered = sorted(rows.values(), key=lambda row: _hash(row["text"]))
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ordered).encode()


def material() -> tuple[Slots, tuple[Part, ...]]:
    """Slots and parts of all files of the folder."""
    slots: dict[str, tuple[str, ...]] = {}
    parts: list[Part] = []
    for path in sorted(MATERIAL.glob("*.toml")):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        for part in data.pop("part", ()):
            lines = [line.replace("\\n", "\n") for line in part.get("lines", "").splitlines() if line]
            templates = (*lines, *(block.strip("\n") for block in part.get("blocks", ())))
            parts.append(Part(part["kind"], part["lang"], min(part["count"], MOST), templates))
        slots["passage"] = tuple(data.pop("passages", slots.get("passage", ())))
        lists = {**data.pop("slots", {}), **data}
        slots |= {name: tuple(values.split(" | ")) for name, values in lists.items()}
    return slots, tuple(parts)


def filled(template: str, slots: Slots, count: int) -> Iterator[str]:
    """Up to ``count`` different texts from a template; one if it names no slot."""
    made: dict[str, None] = {}
    for turn in range(3 * count):
        if len(made) == count:
            break
        made.setdefault(_fill(template, slots, turn, template, set()))
    yield from made


def _fill(text: str, slots: Slots, turn: int, key: str, used: set[str]) -> str:
    """The text with every slot replaced by a value of this turn; values may name slots themselves.

    A value that is in ``used`` already is passed over while there are others: nobody asks for the way from
    Lyon to Lyon.
    """
    parts, end = [], 0
    for place, match in enumerate(_SLOT.finditer(text)):
        own = f"{key}/{match[1]}/{place}"
        values = _order(own, slots[match[1]])
        turned = [values[(turn + step) % len(values)] for step in range(len(values))]
        value = next((value for value in turned if value not in used or "{" in value), turned[0])
        used.add(value)
        parts += [text[end : match.start()], _fill(value, slots, turn, own, used)]
        end = match.end()
    return "".join(parts) + text[end:]


@cache
def _order(key: str, values: tuple[str, ...]) -> list[str]:
    return sorted(values, key=lambda value: _hash(f"{key}/{value}"))


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
