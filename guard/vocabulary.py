"""A tokenizer's vocabulary as bytes: what each token adds to the text."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from guard.errors import VocabularyError

Step = Callable[[bytes], bytes]

_BYTE_TOKEN = re.compile(rb"<0x([0-9A-Fa-f]{2})>")
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
        """The vocabulary of a tokenizer of one of the families in `READERS`, or of an engine's wrapper of it.

        A token's bytes are those it adds behind other text: the space that SentencePiece puts before a word
        counts, though its decoder drops it at the very start of a text.

        Args:
            tokenizer: Hugging Face's fast tokenizers, mistral-common's, and wrappers of these.
            size: length of the model's logits where it differs from the tokenizer's; ids that the tokenizer
                does not know are empty tokens.

        Raises:
            VocabularyError: the tokenizer is of another family, or has no end-of-text token among the ids.
        """
        core = _unwrapped(tokenizer)
        read = next((read for mark, read in READERS.items() if hasattr(core, mark)), None)
        if read is None:
            raise VocabularyError(
                f"{type(tokenizer).__name__} is no fast Hugging Face tokenizer and none of mistral-common; "
                "serve the model with its tokenizer.json or with tokenizer_mode mistral"
            )
        pieces, special = read(core), special_ids(core)
        count = size or max(pieces) + 1
        tokens = tuple(b"" if i in special else pieces.get(i, b"") for i in range(count))
        return cls(tokens, special, _eos(core, count))

    @property
    def size(self) -> int:
        """Number of tokens V."""
        return len(self.tokens)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of a SHA-256 over all fields: what is compiled for a vocabulary fits no other."""
        digest = hashlib.sha256()
        # Each run of numbers is led by its length, so that no two vocabularies spell the same input.
        for numbers in ([len(token) for token in self.tokens], sorted(self.special), self.eos):
            digest.update(struct.pack(f"<q{len(numbers)}q", len(numbers), *numbers))
        digest.update(b"".join(self.tokens))
        return digest.hexdigest()[:16]


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that stand for structure, such as the ends of messages, and add no text."""
    core = _unwrapped(tokenizer)
    if _of_mistral(core):
        return frozenset(map(int, core.special_ids))
    # Many tokenizers mark tokens as special without naming them among their special tokens.
    marked = (token_id for token_id, token in core.added_tokens_decoder.items() if token.special)
    return frozenset(map(int, (*core.all_special_ids, *marked)))


def _unwrapped(tokenizer: Any) -> Any:
    """The mistral-common tokenizer inside the wrappers of vLLM, transformers and itself; others as given."""
    inner = tokenizer
    while inner is not None and not _of_mistral(inner):
        inner = getattr(inner, "instruct_tokenizer", None) or getattr(inner, "tokenizer", None)
    return tokenizer if inner is None else inner


def _of_mistral(tokenizer: Any) -> bool:
    return hasattr(tokenizer, "id_to_piece") and hasattr(tokenizer, "special_ids")


def _eos(core: Any, count: int) -> tuple[int, ...]:
    eos = core.eos_id if _of_mistral(core) else core.eos_token_id
    if eos is None:
        raise VocabularyError("the tokenizer has no eos token; set eos_token in tokenizer_config.json")
    ids = tuple(map(int, eos)) if isinstance(eos, Iterable) else (int(eos),)
    if not ids or not all(0 <= token_id < count for token_id in ids):
        raise VocabularyError(
            f"eos ids {list(ids)} are not among the model's {count} tokens; "
            "serve the model with the tokenizer it was trained with"
        )
    return ids


def _fast(tokenizer: Any) -> dict[int, bytes]:
    """Hugging Face's fast tokenizers: the decoder takes every piece, added tokens too."""
    decode = _decoder(tokenizer.backend_tokenizer)
    return {int(token_id): decode(piece.encode()) for piece, token_id in tokenizer.get_vocab().items()}


def _tekken(tokenizer: Any) -> dict[int, bytes]:
    """mistral-common's `Tekkenizer`, which holds bytes."""
    return {token_id: tokenizer.id_to_byte_piece(token_id) for token_id in range(tokenizer.n_words)}


def _sentencepiece(tokenizer: Any) -> dict[int, bytes]:
    """mistral-common's `SentencePieceTokenizer`."""
    spaced = _replacing(_SPACE_MARK, " ")
    pieces = {
        token_id: _byte_fallback(spaced(tokenizer.id_to_piece(token_id).encode()))
        for token_id in range(tokenizer.n_words)
    }
    # The unknown token shows as a surface of its own, not as its piece.
    return pieces | {tokenizer.unk_id: tokenizer.decode([tokenizer.unk_id]).encode()}


# How a family is recognised, and the bytes of its token ids. The first that fits is taken.
READERS: dict[str, Callable[[Any], dict[int, bytes]]] = {
    "backend_tokenizer": _fast,
    "id_to_byte_piece": _tekken,
    "id_to_piece": _sentencepiece,
}


def _decoder(backend: Any) -> Step:
    """The function from a piece to its bytes, put together from the steps of a fast tokenizer's decoder."""
    state = backend.decoder.__getstate__()
    # The state is JSON. Backends that stand in for the original, such as fastokens, have their decoder in the
    # JSON of the whole tokenizer only, which is slow to write and read.
    own = isinstance(state, bytes)
    decoder = json.loads(state) if own else json.loads(backend.to_str()).get("decoder")
    declared = [decoder] if decoder is None or decoder["type"] != "Sequence" else decoder["decoders"]
    steps: list[Step] = []
    fused = False
    for step in declared:
        kind = step["type"] if step else "none"
        if kind == "Fuse" or (kind == "Strip" and fused):
            # From here on the whole text is one piece, and stripping concerns its ends only.
            fused = True
        elif kind in STEPS and "Regex" not in step.get("pattern", ()):
            steps.append(STEPS[kind](step))
        else:
            raise VocabularyError(
                f"tokenizer family not supported: its decoder has the step {kind}, {json.dumps(step)[:80]}; "
                f"use a tokenizer that decodes by {', '.join(STEPS)}, Fuse, and Strip after Fuse only"
            )

    def decode(piece: bytes) -> bytes:
        for apply in steps:
            piece = apply(piece)
        return piece

    return decode


def _replacing(old: str, new: str) -> Step:
    old_bytes, new_bytes = old.encode(), new.encode()
    return lambda piece: piece.replace(old_bytes, new_bytes)


def _byte_fallback(piece: bytes) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(piece)
    return bytes([int(byte.group(1), 16)]) if byte else piece


def _byte_level() -> Step:
    """The bytes written by GPT-2's alphabet, in which each byte is a printable character."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}

    def decode(piece: bytes) -> bytes:
        try:
            return bytes([alphabet[char] for char in piece.decode()])
        except KeyError:
            # An added token with a character outside the alphabet stands for its text.
            return piece

    return decode


# The steps of a fast tokenizer's decoder that concern one token at a time.
STEPS: dict[str, Callable[[dict[str, Any]], Step]] = {
    "ByteLevel": lambda _: _byte_level(),
    "ByteFallback": lambda _: _byte_fallback,
    "Metaspace": lambda step: _replacing(step["replacement"], " "),
    "Replace": lambda step: _replacing(step["pattern"]["String"], step["content"]),
}
