"""The batched step and the compilation by themselves, without an engine."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import mistral_common
import numpy as np
import torch
from mistral_common.tokens.tokenizers.sentencepiece import SentencePieceTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer
from rich.progress import Progress
from transformers import AutoTokenizer

from benchmarks.decoding.names import full_names
from guard import ForgetTarget, reference
from guard.normalize import PHRASES
from guard.restriction import Enforcer, Row
from guard.snapshot import compile_snapshot
from guard.table import Lexicon
from guard.tables import Tables
from guard.transducer import transducer
from guard.vocabulary import Vocabulary

DATA = Path(mistral_common.__file__).parent / "data"
REPEATS = 300
SIX = ("base64", "hex", "rot13", "reversed", "spaced", "initials")
"""Encodings of the compiled figure; all 14 would need 1.3 GB for 10,000 names."""


def vocabularies() -> dict[str, Vocabulary]:
    """Real vocabularies by size: the reference model's, a SentencePiece one, Tekken."""
    reference_tokenizer = AutoTokenizer.from_pretrained(reference.path("full"))
    pieces = SentencePieceTokenizer(DATA / "mistral_instruct_tokenizer_240323.model.v3")
    tekken = Tekkenizer.from_file(DATA / "tekken_240911.json")
    found = [Vocabulary.from_tokenizer(t) for t in (reference_tokenizer, pieces, tekken)]
    return {f"{vocabulary.size:,}": vocabulary for vocabulary in found}


def measure(progress: Progress) -> dict[str, Any]:
    """Every figure of the step and of the compilation."""
    every = vocabularies()
    large = every[max(every, key=lambda size: int(size.replace(",", "")))]
    names = full_names(100_000)
    task = progress.add_task("step and compilation", total=19)

    def done(value: Any) -> Any:
        progress.advance(task)
        return value

    counts, rows = (10, 100, 1000, 10_000, 100_000), (1, 8, 32, 64, 128, 256)
    return {
        "vocabulary": large.size,
        "compile": {f"{n:,}": done(compilation(large, names[:n])) for n in (10_000, 100_000)},
        "by_phrases": {f"{n:,}": done(step(large, names[:n], 64)) for n in counts},
        "by_rows": {str(n): done(step(large, names[:10_000], n)) for n in rows},
        "by_vocabulary": {size: done(step(v, names[:10_000], 64)) for size, v in every.items()},
        "idle": done(step(large, [], 64)),
        "with_encodings": done(
            {
                "step": step(large, names[:10_000], 64, SIX),
                "compile": compilation(large, names[:10_000], SIX),
            }
        ),
    }


def compilation(
    vocabulary: Vocabulary, names: Sequence[str], encodings: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Seconds and memory to compile phrases for a vocabulary that is folded already."""
    lexicon = _seconds(lambda: Lexicon.of(vocabulary, PHRASES))
    warm = Tables(vocabulary, _snapshot(names[:10], encodings))
    targets = _targets(names, encodings)
    began = time.perf_counter()
    snapshot = compile_snapshot(targets)
    built = time.perf_counter()
    warm.prepare(snapshot)
    ended = time.perf_counter()
    tables = [warm._table(automaton) for automaton in snapshot.always]
    return {
        "seconds": round(ended - began, 3),
        "automaton_seconds": round(built - began, 3),
        "table_seconds": round(ended - built, 3),
        "megabytes": round(sum(table.nbytes for table in tables) / 1e6, 2),
        "nodes": sum(table.automaton.nodes for table in tables),
        "ranges": sum(len(table.low) for table in tables),
        "folding_the_vocabulary_seconds": round(lexicon, 3),
        "folding_table_megabytes": round(sum(a.nbytes for a in transducer(PHRASES).arrays) / 1e6, 2),
    }


def step(
    vocabulary: Vocabulary, names: Sequence[str], rows: int, encodings: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Microseconds of one step in which every row has a phrase under way and reads one token.

    ``hot`` repeats the step; ``cold`` empties the processor's caches before each, as a forward pass does.
    """
    enforcer = Enforcer(Tables(vocabulary, _snapshot(names, encodings)))
    draw = random.Random(5)
    by_text = {token: i for i, token in enumerate(vocabulary.tokens) if token}
    outputs = [
        _spell(f"I know {draw.choice(names)}"[:-2] if names else "I know", by_text) for _ in range(rows)
    ]
    for index, ids in enumerate(outputs):
        enforcer.open(index, Row((), (), None, ids))
    logits = torch.randn(rows, vocabulary.size)
    enforcer.step(logits)
    live = sum(
        lanes._nodes[index, 0] > 1 for index in range(rows) for lanes in enforcer.rows[index].lanes[:1]
    )
    banned = int(torch.isneginf(logits).sum())
    sweep = np.zeros(6_000_000)
    hot, cold = [], []
    for repeat in range(REPEATS):
        for times, clean in ((hot, False), (cold, True)):
            for row in enforcer.rows.values():
                row.consumed -= 1  # its last token is new once more
            if clean and repeat < REPEATS // 3:
                sweep += 1.0
            elif clean:
                continue
            began = time.perf_counter()
            enforcer.step(logits)
            times.append(1e6 * (time.perf_counter() - began))
    return {
        "hot_us": round(median(hot), 1),
        "hot_us_90th": round(float(np.percentile(hot, 90)), 1),
        "cold_us": round(median(cold), 1),
        "rows": rows,
        "live_rows": int(live),
        "banned_tokens": banned,
    }


def _snapshot(names: Sequence[str], encodings: tuple[str, ...] = ()) -> Any:
    return compile_snapshot(_targets(names, encodings))


def _targets(names: Sequence[str], encodings: tuple[str, ...]) -> list[ForgetTarget]:
    """One always-on target for every hundred names."""
    return [
        ForgetTarget.parse(
            {
                "id": f"n{start}", "kind": "text", "phrases": names[start : start + 100],
                "always_on": True, "action": "restrict", "matching": {"encodings": encodings},
            }
        )
        for start in range(0, len(names), 100)
    ]  # fmt: skip


def _spell(text: str, by_text: dict[bytes, int]) -> list[int]:
    """Token ids that spell a text, the longest token first."""
    data, ids = text.encode(), []
    while data:
        length = next(n for n in range(min(len(data), 24), 0, -1) if data[:n] in by_text)
        ids.append(by_text[data[:length]])
        data = data[length:]
    return ids


def _seconds(work: Callable[[], object]) -> float:
    """The best of three."""
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)
