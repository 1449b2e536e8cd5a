"""An encoder whose vectors are kept on disk: every text is encoded once, whatever is measured."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.routes.data import ROOT
from guard.encoder import Encoder, Vectors

KEPT = ROOT / ".lethe" / "benchmarks"


class KeptVectors:
    """See `guard.encoder.Encoder`. The file holds hashes of texts, no texts.

    Attributes:
        encoded: texts that had to be encoded.
    """

    def __init__(self, encoder: Encoder, path: Path) -> None:
        """Reads the vectors that are there; they have to be of the same encoder."""
        self.encoded = 0
        self._path = path
        self._encoder = encoder
        self._known: dict[bytes, npt.NDArray[np.float32]] = {}
        if path.is_file():
            with np.load(path) as kept:
                keys, vectors = kept["keys"], kept["vectors"]
            self._known = {key.tobytes(): vector for key, vector in zip(keys, vectors, strict=True)}

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See Encoder."""
        keys = [_key(text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if missing:
            self._known.update(zip(missing, self._encoder.encode(list(missing.values())), strict=True))
            self.encoded += len(missing)
        return np.stack([self._known[key] for key in keys]) if keys else np.empty((0, 0), dtype=np.float32)

    def save(self) -> None:
        """Writes the file, if there is anything new."""
        if not self.encoded:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        keys = np.frombuffer(b"".join(self._known), dtype=np.uint8).reshape(len(self._known), -1)
        staging = self._path.with_name(f"staging-{self._path.name}")
        np.savez(staging, keys=keys, vectors=np.stack(list(self._known.values())))
        staging.replace(self._path)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
