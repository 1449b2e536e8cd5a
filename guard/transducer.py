"""A folding compiled for bytes: UTF-8 in, folded UTF-8 out, in tables that the inner loops read.

A code point finds its output in two steps (page, then block), as Unicode tables are usually stored. Bytes
that are no valid UTF-8 fold to nothing, as with ``bytes.decode(errors="ignore")``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from guard.normalize import Fold, Folding, fold_char, joins, twins

FIRST, LAST, JOINS = 1, 2, 4
"""Flags of a folded byte: it begins a character, ends one, belongs to one across which words go on."""

DROPPED, VERBATIM = 0, 1
"""Outputs of a code point: nothing; itself, as a character across which words do not go on."""

_EXPLICIT = 0x0E00  # below, every character has an entry, because it may join words
# Blocks without a character that any folding changes: CJK, Tangut, private use, and what is not assigned.
_UNCHANGED = ((0x3400, 0xA000), (0xD800, 0xF900), (0x17000, 0x1B000), (0x20000, 0x2F800), (0x2FB00, 0xE0000))
_END = 0xE1000
_CHANGING = {"Zs", "Zl", "Zp", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Cf", "Mn"}

Arrays = tuple[
    npt.NDArray[np.int16],
    npt.NDArray[np.int32],
    npt.NDArray[np.int32],
    npt.NDArray[np.uint8],
    npt.NDArray[np.uint8],
]


@dataclass(frozen=True)
class Transducer:
    """Tables of one folding.

    Attributes:
        kinds: the folding.
        pages: int16 [4352], the block of each 256 code points.
        blocks: int32 [n, 256], the output of each code point.
        start: int32 [m + 1], where each output begins.
        out: uint8 [k], the bytes of all outputs.
        flags: uint8 [k], FIRST, LAST and JOINS of each byte.
    """

    kinds: Folding
    pages: npt.NDArray[np.int16]
    blocks: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    out: npt.NDArray[np.uint8]
    flags: npt.NDArray[np.uint8]

    @property
    def collapses(self) -> bool:
        """True if a run of separators counts as one."""
        return Fold.SEPARATORS in self.kinds and Fold.SPACING not in self.kinds

    @property
    def arrays(self) -> Arrays:
        """The tables in the order in which the inner loops take them."""
        return self.pages, self.blocks, self.start, self.out, self.flags

    def fold(self, data: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Folded bytes of ``data`` and their flags."""
        folded, flags, _ = self.fold_each([data])
        return folded, flags

    def fold_each(
        self, texts: list[bytes]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Folded bytes and flags of all texts in a row, and where each text's begin (int64 [n + 1])."""
        from guard import loops

        raw = np.frombuffer(b"".join(texts), dtype=np.uint8)
        start = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in texts], out=start[1:])
        return loops.fold_each(*self.arrays, self.collapses, raw, start)  # type: ignore[no-any-return]


@cache
def transducer(kinds: Folding) -> Transducer:
    """The transducer of a folding, built once per process."""
    outputs: dict[str, int] = {}
    blocks: dict[bytes, int] = {}
    pages = np.zeros(0x1100, dtype=np.int16)
    rows: dict[int, npt.NDArray[np.int32]] = {}
    for code in _changing():
        char = chr(code)
        folded = fold_char(char, kinds)
        if folded == char and code >= _EXPLICIT:
            continue
        row = rows.setdefault(code >> 8, np.full(256, VERBATIM, dtype=np.int32))
        row[code & 255] = outputs.setdefault(folded, len(outputs) + 2) if folded else DROPPED
    table: list[npt.NDArray[np.int32]] = [np.full(256, VERBATIM, dtype=np.int32)]
    for page, row in rows.items():
        key = row.tobytes()
        if key not in blocks:
            blocks[key] = len(table)
            table.append(row)
        pages[page] = blocks[key]
    out, flags, start = bytearray(), bytearray(), [0, 0, 0]
    for text in outputs:
        for char in text:
            encoded = char.encode()
            kind = JOINS if joins(char) else 0
            out += encoded
            flags += bytes(
                kind | (FIRST if i == 0 else 0) | (LAST if i == len(encoded) - 1 else 0)
                for i in range(len(encoded))
            )
        start.append(len(out))
    return Transducer(
        kinds,
        pages,
        np.stack(table),
        np.array(start, dtype=np.int32),
        np.frombuffer(bytes(out), dtype=np.uint8),
        np.frombuffer(bytes(flags), dtype=np.uint8),
    )


@cache
def _changing() -> tuple[int, ...]:
    """Code points that need an entry: those that some folding may change, and all that may join words."""
    return tuple(_candidates())


def _candidates() -> Iterator[int]:
    known = twins()
    skipped = dict(_UNCHANGED)
    code = 0
    while code < _END:
        if code in skipped:
            code = skipped[code]
            continue
        char = chr(code)
        if (
            code < _EXPLICIT
            or unicodedata.category(char) in _CHANGING
            or char in known
            or unicodedata.normalize("NFKD", char) != char
            or {char.casefold(), char.lower(), char.upper()} != {char}
            or fold_char(char, frozenset({Fold.INVISIBLE})) != char
        ):
            yield code
        code += 1
