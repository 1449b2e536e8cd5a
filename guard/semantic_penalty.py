"""How far each word of a vocabulary is from forbidden phrases in meaning: GUARD's soft match as a table.

GUARD (arXiv 2505.13312, controlled beam search, soft match) encodes the last word of every candidate at every
step: penalty = inf if sim >= delta else sim, with sim = max over phrases f of cos(SBERT(w), SBERT(f)). Here
the words of a vocabulary are encoded once, and a target's table is one matrix product.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache as cache_result
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from guard.encoder import Encoder, Vectors
from guard.phrases import forbidden_phrases
from guard.snapshot import Soften
from guard.types import ForgetTarget, Soft
from guard.vocabulary import Vocabulary

_BATCH = 512  # words per call of the encoder: other callers wait for a second at most
_PRODUCT = 4_000_000  # similarities per matrix product: 16 MB
# Hieroglyphs, unknown to encoders. What an encoder cannot read gets this text's vector: with MiniLM 6 % of a
# multilingual vocabulary, alike to a cosine of 1, so that one such phrase would forbid them all.
_UNREADABLE, _ALIKE = "\U00013000", 0.999
_PROBES = ("a", "Paris", "the sea at night")


def _silent(done: int) -> None:
    """Reports no progress."""


@dataclass(frozen=True, eq=False)
class WordVectors:
    """The distinct words of a vocabulary and what an encoder makes of them.

    Attributes:
        words: n words in the form of `word_form`.
        vectors: float32 [n, d], rows of length 1.
    """

    words: tuple[str, ...]
    vectors: Vectors

    @classmethod
    def of(
        cls,
        vocabulary: Vocabulary,
        encoder: Encoder,
        cache: Path | None = None,
        progress: Callable[[int], None] = _silent,
    ) -> WordVectors:
        """Encodes the words of a vocabulary, or loads them where that has been done before.

        Args:
            vocabulary: whose words.
            encoder: by which vectors.
            cache: folder of ``<vocabulary fingerprint>-<encoder id>.safetensors``; None saves nothing. A file
                that is damaged or of other words is written anew.
            progress: called after each batch with the number of words encoded so far, of
                ``len(vocabulary_words(vocabulary))``.
        """
        words = vocabulary_words(vocabulary)
        if cache is None:
            return cls(words, _encode(words, encoder, progress))
        path = cache / f"{vocabulary.fingerprint}-{encoder_id(encoder)}.safetensors"
        vectors = _load(path, words)
        if vectors is None:
            vectors = _encode(words, encoder, progress)
            _save(path, words, vectors)
        return cls(words, vectors)

    @cached_property
    def known(self) -> frozenset[str]:
        """The words as a set."""
        return frozenset(self.words)


def softener(
    vocabulary: Callable[[], Vocabulary],
    encoder: Encoder,
    cache: Path | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Soften:
    """The function from a target to the words it penalises; the vocabulary is encoded when first needed.

    Args:
        vocabulary: called for the model's vocabulary.
        encoder: the sentence encoder.
        cache: as in `WordVectors.of`.
        progress: told words encoded so far and their number.
    """

    @cache_result
    def words() -> WordVectors:
        read = vocabulary()
        total = len(vocabulary_words(read))
        return WordVectors.of(read, encoder, cache, lambda done: progress(done, total))

    def soften(target: ForgetTarget) -> dict[str, float]:
        assert target.matching.soft is not None
        phrases = forbidden_phrases(target)
        # Words of several tokens are known only where somebody names them: the target's own texts do.
        texts = (*phrases, *(text for e in target.examples for text in (e.prompt, e.response)))
        more = [word for text in texts for word in text.split()]
        return soft_words(phrases, words(), encoder, target.matching.soft, more)

    return soften


def soft_words(
    phrases: Sequence[str],
    words: WordVectors,
    encoder: Encoder,
    config: Soft,
    more: Sequence[str] = (),
) -> dict[str, float]:
    """The penalty of every word near a phrase: inf from ``delta`` on, weight * cosine from ``floor`` on.

    Words and phrases that the encoder cannot read at all have none.

    Args:
        phrases: forbidden phrases; a word counts by the nearest one.
        words: the vocabulary's words.
        encoder: the one that ``words`` were made with.
        config: the strength.
        more: further words to score, such as those of several tokens; keys have the form of `word_form`.
    """
    targets = encoder.encode([*phrases, _UNREADABLE])
    readable = targets @ targets[-1] < _ALIKE
    if not readable.any():
        return {}
    readable[-1] = True
    extra = tuple(dict.fromkeys(w for text in more if (w := word_form(text)) and w not in words.known))
    table = _penalties(words.words, words.vectors, targets[readable], config)
    return table | _penalties(extra, _encode(extra, encoder), targets[readable], config)


def word_form(text: str) -> str:
    """The text as a word of the tables: without outer white space, in lower case; "" without letter or digit.

    Lower case as the encoder's own tokenizer makes it. Case folding would also turn "ß" into "ss", which
    MiniLM reads differently.
    """
    return text.strip().lower() if any(char.isalnum() for char in text) else ""


def token_word(token: bytes) -> str:
    """The word that a token is by itself; "" if it has none or ends inside a character."""
    try:
        return word_form(token.decode())
    except UnicodeDecodeError:
        return ""


def vocabulary_words(vocabulary: Vocabulary) -> tuple[str, ...]:
    """The distinct words of a vocabulary's tokens, in the order of their ids."""
    return tuple(dict.fromkeys(word for token in vocabulary.tokens if (word := token_word(token))))


def encoder_id(encoder: Encoder) -> str:
    """Sixteen hexadecimal digits that tell encoders apart by what they make of a few texts.

    Taken from the signs of the vectors, which rounding on another processor hardly ever turns; if it does,
    the words are encoded once more.
    """
    probes = encoder.encode(_PROBES)
    signs = np.packbits(probes > 0).tobytes()
    return hashlib.blake2b(f"{probes.shape}".encode() + signs, digest_size=8).hexdigest()


def _penalties(words: Sequence[str], vectors: Vectors, targets: Vectors, config: Soft) -> dict[str, float]:
    """Penalties of n words from their vectors [n, d] and those of phrases [p + 1, d], the last unreadable."""
    rows = max(1, _PRODUCT // len(targets))
    table: dict[str, float] = {}
    for start in range(0, len(words), rows):
        cosines = vectors[start : start + rows] @ targets.T
        nearest = cosines[:, :-1].max(axis=1).astype(np.float64)
        for index in np.flatnonzero((nearest >= config.floor) & (cosines[:, -1] < _ALIKE)):
            cosine = float(nearest[index])
            table[words[start + index]] = math.inf if cosine >= config.delta else config.weight * cosine
    return table


def _encode(words: Sequence[str], encoder: Encoder, progress: Callable[[int], None] = _silent) -> Vectors:
    """float32 [n, d], in batches, so that an encoder that serves requests too is never busy for long."""
    batches = []
    for start in range(0, len(words), _BATCH):
        batches.append(encoder.encode(words[start : start + _BATCH]))
        progress(start + len(batches[-1]))
    return np.concatenate(batches) if batches else np.empty((0, 0), dtype=np.float32)


def _load(path: Path, words: Sequence[str]) -> Vectors | None:
    """The saved vectors, or None if there are none for exactly these words."""
    try:
        with safe_open(path, framework="numpy") as file:
            if (file.metadata() or {}).get("words") != _digest(words):
                return None
            return np.asarray(file.get_tensor("vectors"), dtype=np.float32)
    except (OSError, SafetensorError):
        return None


def _save(path: Path, words: Sequence[str], vectors: Vectors) -> None:
    """Writes the file in one step; processes that do so at once write the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".staging-", dir=path.parent) as staging:
        written = Path(staging) / path.name
        save_file({"vectors": vectors}, written, metadata={"words": _digest(words)})
        written.replace(path)


def _digest(words: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()
