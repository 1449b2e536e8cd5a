"""Vectors of example prompts without encoding them all: really encoded ones, and mixtures of them with noise.

A question about a person in some words lies at the middle of all questions in these words plus a part that is
the name's. Made vectors take the middle and mix the parts of three names, turned at random, plus noise. The
first vectors are the really encoded ones, shuffled.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.scaling.people import FRAMES, name

Vectors = npt.NDArray[np.float32]
NAMES = 200  # per frame
NOISE = 0.2  # length of the noise; that of the whole is 1
REWORDED = 200
_BLOCK = 50_000


def encoded() -> tuple[Vectors, Vectors]:
    """Really encoded questions, float32 [frames, names, 384], and 200 of them in other words, [200, 384]."""
    from guard.encoder import SentenceEncoder

    encoder = SentenceEncoder()
    texts = [frame.format(name=name(number)) for frame in FRAMES for number in range(NAMES)]
    found = encoder.encode(texts).reshape(len(FRAMES), NAMES, -1)
    asked = [texts[row] for row in _shuffled()[:REWORDED]]
    return found, encoder.encode([f"please tell me: {text.rstrip('?.').lower()}" for text in asked])


def made(real: Vectors, count: int, seed: int = 1) -> Vectors:
    """The first ``count`` vectors, float32 [count, 384], each of length 1."""
    draw = np.random.default_rng(seed)
    width = real.shape[-1]
    vectors = np.empty((count, width), dtype=np.float32)
    first = real.reshape(-1, width)[_shuffled()][:count]
    vectors[: len(first)] = first
    for start in range(len(first), count, _BLOCK):
        size = min(_BLOCK, count - start)
        vectors[start : start + size] = mixed(real, size, draw)
    return vectors


def mixed(real: Vectors, count: int, draw: np.random.Generator) -> Vectors:
    """Vectors that are not encoded."""
    middles = real.mean(axis=1)
    parts = real - middles[:, None]
    frames = draw.integers(len(real), size=count)
    shares = draw.normal(size=(3, count)).astype(np.float32)
    shares /= np.linalg.norm(shares, axis=0)
    vectors = middles[frames]
    for share in shares:
        vectors += share[:, None] * parts[frames, draw.integers(real.shape[1], size=count)]
    noise = draw.standard_normal(vectors.shape, dtype=np.float32)
    vectors += noise * (NOISE / np.sqrt(vectors.shape[1]))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def nearest(vectors: Vectors, queries: Vectors, count: int) -> npt.NDArray[np.int64]:
    """Rows of the nearest vectors, nearest first, by comparing with all: int64 [queries, count]."""
    best = np.empty((len(queries), 0), dtype=np.float32)
    rows = np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, len(vectors), _BLOCK):
        cosines = queries @ vectors[start : start + _BLOCK].T
        here = np.broadcast_to(np.arange(start, start + cosines.shape[1]), cosines.shape)
        best, rows = np.concatenate([best, cosines], axis=1), np.concatenate([rows, here], axis=1)
        order = np.argsort(-best, axis=1)[:, :count]
        best, rows = np.take_along_axis(best, order, 1), np.take_along_axis(rows, order, 1)
    return rows


def _shuffled() -> npt.NDArray[np.int64]:
    return np.random.default_rng(0).permutation(len(FRAMES) * NAMES)
