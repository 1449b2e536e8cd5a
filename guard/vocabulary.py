"""A tokenizer's vocabulary as bytes: what each token adds to the text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from guard.errors import VocabularyError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE_MARK = "\u2581"  # SentencePiece writes a space so


@dataclass(frozen=True)
class Vocabulary:
    """The bytes of V tokens.

    Attributes:
        tokens: bytes of each token id; empty for special tokens, which add nothing to the text.
        special: ids of special tokens; in a prompt they separate messages.
        eos: ids that end a response; at least one, so that a fully forbidden row has a way out.
    """

    tokens: tuple[bytes, ...]
    special: frozenset[int]
    eos: tuple[int, ...]

    @classmethod
    def from_tokenizer(cls, tokenizer: Any, size: int | None = None) -> Vocabulary:
        """The vocabulary of a Hugging Face fast tokenizer.

        Args:
            tokenizer: byte-level BPE, or SentencePiece with byte fallback.
            size: length of the model's logits where it differs from the tokenizer's; ids that the tokenizer
                does not know are empty tokens.

        Raises:
            VocabularyError: the tokenizer is of another family or has no end-of-text token.
        """
        decode = _decoder(tokenizer)
        special = special_ids(tokenizer)
        pieces = {token_id: piece for piece, token_id in tokenizer.get_vocab().items()}
        added = {int(token_id): str(token) for token_id, token in tokenizer.added_tokens_decoder.items()}
        count = size or max(pieces) + 1
        tokens = []
        for token_id in range(count):
            if token_id in special or token_id not in pieces:
                tokens.append(b"")
            elif token_id in added:
                # Added tokens stand for their text as it is.
                tokens.append(added[token_id].encode())
            else:
                tokens.append(decode(pieces[token_id]))
        eos = tokenizer.eos_token_id
        if eos is None:
            raise VocabularyError("the tokenizer has no eos token; set eos_token in tokenizer_config.json")
        return cls(tuple(tokens), special, tuple(eos) if isinstance(eos, list) else (int(eos),))

    @property
    def size(self) -> int:
        """Number of tokens V."""
        return len(self.tokens)

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """int64 [V], bytes of each token."""
        return np.array([len(token) for token in self.tokens], dtype=np.int64)

    @cached_property
    def by_length(self) -> npt.NDArray[np.int64]:
        """int64 [V], token ids from the longest to the shortest."""
        return np.argsort(-self.lengths, kind="stable")

    @cached_property
    def columns(self) -> list[npt.NDArray[np.uint8]]:
        """For each position i, byte i of those tokens, longest first, that have one."""
        ordered = [self.tokens[i] for i in self.by_length]
        counts = [int((self.lengths > i).sum()) for i in range(int(self.lengths.max(initial=0)))]
        return [np.array([t[i] for t in ordered[:n]], dtype=np.uint8) for i, n in enumerate(counts)]

    def message_tail(self, prompt_ids: Sequence[int], longest: int) -> bytes:
        """The end of the prompt's last message, which a response directly continues.

        At least ``longest`` bytes and one more, which tells whether a word starts there.
        """
        tail = b""
        for token_id in reversed(prompt_ids):
            if len(tail) > longest or token_id in self.special:
                break
            tail = self.tokens[token_id] + tail
        return tail


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that stand for structure, such as the ends of messages, and add no text."""
    # Many tokenizers mark tokens as special without naming them among their special tokens.
    marked = (token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special)
    return frozenset(map(int, (*tokenizer.all_special_ids, *marked)))


def _decoder(tokenizer: Any) -> Callable[[str], bytes]:
    """The function from a vocabulary piece to its bytes, by the tokenizer's own decoder."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise VocabularyError(f"{type(tokenizer).__name__} is no fast tokenizer; load it with use_fast=True")
    decoder = json.dumps(json.loads(backend.to_str()).get("decoder") or {})
    if '"ByteLevel"' in decoder:
        alphabet = {char: byte for byte, char in _byte_alphabet().items()}
        return lambda piece: bytes(alphabet[char] for char in piece)
    if '"ByteFallback"' in decoder or '"Metaspace"' in decoder:
        return _sentencepiece_bytes
    raise VocabularyError(
        f"decoder {decoder[:80]} is neither byte-level nor SentencePiece; no other family is supported"
    )


def _sentencepiece_bytes(piece: str) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(piece)
    return bytes([int(byte.group(1), 16)]) if byte else piece.replace(_SPACE_MARK, " ").encode()


def _byte_alphabet() -> dict[int, str]:
    """The printable character by which byte-level BPE writes each byte (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
