"""The vocabulary reader on published tokenizers of full size, in each form in which vLLM may hold them."""

import base64
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import xgrammar
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaTokenizer, PreTrainedTokenizerFast

from guard.errors import VocabularyError
from guard.vocabulary import Vocabulary, special_ids
from tests.guard.small_tokenizers import (
    BYTE_TOKENS,
    backend,
    data,
    mistral_sentencepiece,
    of_vllm,
    readable,
    tekken,
)

TEXTS = [
    "Harry Potter lives in Privet Drive.",
    " Harry  Potter   and\tthe end",
    "naïve Émile, Łódź, señor, Straße, ångström",
    "東京で生まれた。北京，서울 मुंबई القاهرة",
    "a fox 🦊, a family 👩‍👩‍👧, a flag 🇨🇭 and 𝔉𝔯𝔞𝔨𝔱𝔲𝔯",
    "first\n\nsecond\r\n\r\n  third\n",
    "def f(x: int) -> dict:\n    return {'x': [x] * 2}  # é\n",
    "</s> [INST] <0x0A> <unk> Ġ \0 \x7f",
    "",
]
WRAPPED = ["tekken_240911.json", "mistral_instruct_tokenizer_240323.model.v3"]
SENTENCEPIECE = ["tokenizer.model.v1", WRAPPED[1], "mistral_instruct_tokenizer_241114.model.v7"]


def with_vllm(test):
    """The import of vLLM takes its time, and its kernels wrapper looks at every name of torch."""
    warning = "ignore:`torch.distributed.reduce_op` is deprecated:FutureWarning"
    return pytest.mark.slow(pytest.mark.filterwarnings(warning)(test))


@dataclass(frozen=True)
class Read:
    """A real tokenizer, what we read from it, its byte tokens, and a token that is a letter."""

    tokenizer: Any
    vocabulary: Vocabulary
    encode: Callable[[str], list[int]]
    decode: Callable[[list[int]], str]
    byte_ids: list[int]
    front: int

    @cached_property
    def pieces(self) -> list[int]:
        """All tokens that add text, except the byte tokens."""
        return sorted(set(range(self.vocabulary.size)) - self.vocabulary.special - set(self.byte_ids))

    @cached_property
    def sequences(self) -> st.SearchStrategy[list[int]]:
        return readable(self.pieces, self.byte_ids)


def read(tokenizer, names, encode, decode) -> Read:
    byte_ids = [names[token] for token in BYTE_TOKENS if token in names]
    return Read(tokenizer, Vocabulary.from_tokenizer(tokenizer), encode, decode, byte_ids, names["M"])


def of_mistral(tokenizer) -> Read:
    names = {piece: i for i, piece in reversed(list(enumerate(tokenizer.vocab())))}
    return read(tokenizer, names, partial(tokenizer.encode, bos=False, eos=False), tokenizer.decode)


def of_hugging_face(tokenizer) -> Read:
    encode = partial(tokenizer.encode, add_special_tokens=False, split_special_tokens=True)
    return read(tokenizer, tokenizer.get_vocab(), encode, partial(tokenizer.decode, skip_special_tokens=True))


@cache
def llama() -> PreTrainedTokenizerFast:
    """The SentencePiece model as transformers makes a fast tokenizer of it."""
    with TemporaryDirectory() as folder:
        shutil.copy(data("tokenizer.model.v1"), Path(folder, "tokenizer.model"))
        return LlamaTokenizer.from_pretrained(folder)


@cache
def byte_level() -> PreTrainedTokenizerFast:
    """The tekken vocabulary as transformers makes a fast byte-level tokenizer of it."""
    with TemporaryDirectory() as folder:
        shutil.copy(data("tekken_240911.json"), Path(folder, "tekken.json"))
        return PreTrainedTokenizerFast.from_pretrained(folder, eos_token="</s>")


REAL = {
    "tekken": lambda: of_mistral(tekken()),
    **{name: lambda name=name: of_mistral(mistral_sentencepiece(name)) for name in SENTENCEPIECE},
    "llama": lambda: of_hugging_face(llama()),
    "byte-level": lambda: of_hugging_face(byte_level()),
}


@pytest.fixture(scope="module", params=REAL)
def real(request):
    return REAL[request.param]()


@pytest.mark.parametrize("text", TEXTS)
def test_bytes_of_the_tokens_are_the_bytes_of_the_text(real, text):
    joined = b"".join(real.vocabulary.tokens[i] for i in real.encode(text))
    # SentencePiece puts a space in front, but in some forms not where the text has one.
    fronts = [b"", b" "] if real.byte_ids else [b""]
    assert joined in [front + text.encode() for front in fronts]


@given(draw=st.data())
def test_any_sequence_of_tokens_reads_as_the_tokenizer_decodes_it(real, draw):
    # Bytes that make no character are shown as one or as several signs, so fallback bytes come as characters.
    ids = [real.front, *draw.draw(real.sequences)]
    joined = b"".join(real.vocabulary.tokens[i] for i in ids)
    assert joined.decode(errors="replace") == real.decode(ids)


def test_every_token_reads_as_the_tokenizer_decodes_it(real):
    order = [*real.pieces]
    random.Random(7).shuffle(order)
    for start in range(0, len(order), 64):
        ids = [real.front, *order[start : start + 64]]
        joined = b"".join(real.vocabulary.tokens[i] for i in ids)
        assert joined.decode(errors="replace") == real.decode(ids)


def test_every_byte_has_a_token_and_byte_tokens_are_that_byte(real):
    tokens = real.vocabulary.tokens
    assert {bytes([byte]) for byte in range(256)} <= set(tokens)
    if real.byte_ids:
        assert [tokens[i] for i in real.byte_ids] == [bytes([byte]) for byte in range(256)]


def test_special_tokens_and_only_they_add_nothing(real):
    vocabulary = real.vocabulary
    assert {i for i, token in enumerate(vocabulary.tokens) if not token} == vocabulary.special
    assert vocabulary.special == special_ids(real.tokenizer)
    assert set(vocabulary.eos) <= vocabulary.special
    assert real.decode(sorted(vocabulary.special)) == ""


def test_vocabulary_takes_the_models_size_where_it_differs(real):
    padded = Vocabulary.from_tokenizer(real.tokenizer, size=real.vocabulary.size + 64)
    assert padded.tokens == real.vocabulary.tokens + (b"",) * 64
    assert padded.fingerprint != real.vocabulary.fingerprint
    with pytest.raises(VocabularyError, match=r"\[2\]"):
        Vocabulary.from_tokenizer(real.tokenizer, size=2)


def test_tekken_tokens_are_the_bytes_in_its_file():
    stored = json.loads(data("tekken_240911.json").read_text())
    vocabulary = Vocabulary.from_tokenizer(tekken())
    config = stored["config"]
    first, size = config["default_num_special_tokens"], config["default_vocab_size"]
    assert vocabulary.size == size == 131072
    assert vocabulary.special == set(range(first))
    expected = [base64.b64decode(entry["token_bytes"]) for entry in stored["vocab"][: size - first]]
    assert list(vocabulary.tokens[first:]) == expected


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_sentencepiece_tokens_equal_those_of_an_independent_reading(name):
    tokenizer = mistral_sentencepiece(name)
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    oracle = xgrammar.TokenizerInfo(tokenizer.vocab(), xgrammar.VocabType.BYTE_FALLBACK).decoded_vocab
    # It reads the unknown token as its piece; the text shows another sign.
    special = vocabulary.special | {tokenizer.unk_id}
    assert vocabulary.tokens[tokenizer.unk_id].decode() == tokenizer.decode([tokenizer.unk_id]) == " ⁇ "
    for token_id, expected in enumerate(oracle):
        assert token_id in special or vocabulary.tokens[token_id] == expected, token_id


@pytest.mark.parametrize("make", [llama, byte_level])
def test_fast_tokens_equal_those_of_an_independent_reading(make):
    tokenizer = make()
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    oracle = xgrammar.TokenizerInfo.from_huggingface(tokenizer).decoded_vocab
    for token_id, expected in enumerate(oracle):
        assert token_id in vocabulary.special or vocabulary.tokens[token_id] == expected, token_id


def test_one_vocabulary_in_two_forms_has_one_fingerprint():
    forms = [byte_level(), tekken()]
    assert len({Vocabulary.from_tokenizer(form).fingerprint for form in forms}) == 1


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_tokenizers_read_as_the_one_inside(name):
    outer = backend(name)
    wrappers = [outer, outer.tokenizer, outer.tokenizer.instruct_tokenizer]
    check_wrappers(wrappers, outer.tokenizer.instruct_tokenizer.tokenizer)


@with_vllm
@pytest.mark.parametrize("name", WRAPPED)
def test_tokenizers_of_vllms_mistral_mode_read_as_the_one_inside(name):
    wrapped = of_vllm(name)
    check_wrappers([wrapped], wrapped.tokenizer)
    assert set(wrapped.all_special_ids) == Vocabulary.from_tokenizer(wrapped).special


@with_vllm
@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("text", TEXTS)
def test_bytes_of_the_tokens_are_the_text_that_vllm_streams(name, text):
    tokenizer = of_vllm(name)
    from vllm.tokenizers.detokenizer_utils import convert_prompt_ids_to_tokens, detokenize_incrementally

    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    prompt, answer = (tokenizer.encode(part, add_special_tokens=False) for part in ["Tell me", text])
    seen, before, after = convert_prompt_ids_to_tokens(tokenizer, prompt, skip_special_tokens=True)
    streamed = ""
    for end in range(len(answer)):
        ids = prompt + answer[: end + 1]
        new, piece, before, after = detokenize_incrementally(tokenizer, ids, seen, before, after, True)
        seen, streamed = seen + new, streamed + piece
    assert streamed == b"".join(vocabulary.tokens[i] for i in answer).decode()


@with_vllm
def test_fast_tokenizers_as_vllm_wraps_them_read_as_the_one_inside():
    hf = pytest.importorskip("vllm.tokenizers.hf", reason="vLLM is an extra")
    check_wrappers([hf.get_cached_tokenizer(llama())], llama())


def check_wrappers(wrappers, inner):
    expected = Vocabulary.from_tokenizer(inner)
    for wrapper in wrappers:
        assert Vocabulary.from_tokenizer(wrapper) == expected
        assert special_ids(wrapper) == expected.special
