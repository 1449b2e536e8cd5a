"""Tokenizers of every family, trained in a moment, and the real ones that mistral-common brings along."""

import json
from collections.abc import Callable
from functools import cache
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXT = [
    "Mira Solen wrote The Glass Orchard in Quillon on 12 May 1958.",
    "Bero Tal was born in Quillon and painted harbours; his sister Ana did not.",
    "The anniversary of Anna and Mirabel was held in the orchard, as every year.",
    "naïve café Émile 東京 émigré",
] * 3
SPECIAL = ["<bos>", "<end>", "<user>"]
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
SPACE_MARK = "\u2581"


def byte_level(size: int = 420) -> PreTrainedTokenizerFast:
    """Byte-level BPE, as GPT-2, Llama 3 and Qwen have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXT, trainer)
    return _wrap(tokenizer)


def sentencepiece(size: int = 460) -> PreTrainedTokenizerFast:
    """BPE with byte fallback and a space in front of the text, as Llama 2 has it."""
    tokenizer = _fallback_bpe(size)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    steps = [decoders.Replace(SPACE_MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    return _wrap(tokenizer)


def gemma(size: int = 460) -> PreTrainedTokenizerFast:
    """BPE with byte fallback and no space in front of the text, as Gemma has it."""
    tokenizer = _fallback_bpe(size)
    tokenizer.normalizer = normalizers.Replace(" ", SPACE_MARK)
    steps = [decoders.Replace(SPACE_MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps)
    return _wrap(tokenizer)


def unigram() -> PreTrainedTokenizerFast:
    """Unigram without byte fallback, as T5 and XLM-R have it: other characters are unknown to it."""
    tokenizer = _unigram()
    tokenizer.decoder = decoders.Metaspace()
    return _wrap(tokenizer)


def unigram_fallback() -> PreTrainedTokenizerFast:
    """Unigram with byte fallback."""
    state = json.loads(_unigram().to_str())
    state["model"]["vocab"] += [[token, -20.0] for token in BYTE_TOKENS]
    state["model"]["byte_fallback"] = True
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.decoder = decoders.Sequence([decoders.Metaspace(), decoders.ByteFallback(), decoders.Fuse()])
    return _wrap(tokenizer)


def _fallback_bpe(size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[*SPECIAL, "<unk>", *BYTE_TOKENS])
    tokenizer.train_from_iterator(TEXT, trainer)
    state = json.loads(tokenizer.to_str())
    # Byte tokens belong to the vocabulary only; the trainer listed them as special to reserve them.
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] not in BYTE_TOKENS]
    state["pre_tokenizer"] = None
    return Tokenizer.from_str(json.dumps(state))


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = [*SPECIAL, "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>")
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def _wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<end>")
    wrapped.add_special_tokens({"additional_special_tokens": ["<user>"]})
    wrapped.add_tokens([AddedToken("Orchard!", special=False)])
    return wrapped


FAMILIES: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level": byte_level,
    "sentencepiece": sentencepiece,
    "gemma": gemma,
    "unigram": unigram,
    "unigram-fallback": unigram_fallback,
}


def data(name: str) -> Path:
    """A tokenizer file of mistral-common, which vLLM requires; the test is skipped where it is missing."""
    package = pytest.importorskip("mistral_common", reason="mistral-common comes with vLLM's extras")
    return Path(package.__file__).parent / "data" / name


@cache
def tekken():
    """The tekken vocabulary of 131072 tokens."""
    path = data("tekken_240911.json")
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    return Tekkenizer.from_file(path)


@cache
def mistral_sentencepiece(name: str = "mistral_instruct_tokenizer_240323.model.v3"):
    """A SentencePiece model of 32768 tokens."""
    path = data(name)
    from mistral_common.tokens.tokenizers.sentencepiece import SentencePieceTokenizer

    return SentencePieceTokenizer(path)


@cache
def backend(name):
    """transformers' wrapper of a mistral-common tokenizer."""
    path = data(name)
    from transformers.tokenization_mistral_common import MistralCommonBackend

    return MistralCommonBackend(path, mode="test")


@cache
def of_vllm(name):
    """What vLLM makes of it with tokenizer_mode mistral."""
    mistral = pytest.importorskip("vllm.tokenizers.mistral", reason="vLLM is an extra")
    return mistral.MistralTokenizer(backend(name))


def readable(pieces: list[int], byte_ids: list[int]) -> st.SearchStrategy[list[int]]:
    """Token sequences that spell valid UTF-8: whole pieces, and characters written by their byte tokens."""
    spelt = [st.sampled_from(pieces).map(lambda token_id: [token_id])]
    if byte_ids:
        characters = st.characters(codec="utf-8").map(lambda char: [byte_ids[b] for b in char.encode()])
        spelt.append(characters)
    return st.lists(st.one_of(spelt), max_size=12).map(lambda parts: [*chain.from_iterable(parts)])
