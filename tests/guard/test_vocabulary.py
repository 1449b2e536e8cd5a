import hashlib
import json
import struct
from dataclasses import replace
from types import SimpleNamespace

import pytest
import xgrammar
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from guard.errors import VocabularyError
from guard.vocabulary import STEPS, Vocabulary, special_ids
from tests.guard.small_tokenizers import (
    BYTE_TOKENS,
    FAMILIES,
    SPACE_MARK,
    byte_level,
    readable,
    sentencepiece,
)

TEXTS = ["Mira Solen, naïve Émile in 東京", "  two  spaces", "The Orchard! it is", "Orchard!"]
# Characters that no piece has: only families that spell bytes can write them.
BYTE_TEXTS = [
    "12 May 1958\n",
    "a fox 🦊 and 👩‍👩‍👧",
    "def f(x):\n\treturn  {x: 'é'}\r\n",
    "Ελλάδα, עברית, हिन्दी",
    "\0",
]
BYTE_FAMILIES = sorted(set(FAMILIES) - {"unigram"})
# One real decoder for each step that is read token by token.
DECODERS = {
    "ByteLevel": decoders.ByteLevel(),
    "ByteFallback": decoders.ByteFallback(),
    "Metaspace": decoders.Metaspace(replacement="_"),
    "Replace": decoders.Replace(SPACE_MARK, " "),
}


@pytest.fixture(scope="module", params=FAMILIES)
def tokenizer(request):
    return FAMILIES[request.param]()


def without_front_space(joined: bytes, text: str) -> bytes:
    """SentencePiece may put a space in front of the text; its decoder takes it away again."""
    return joined.removeprefix(b" ") if joined.startswith(b" " + text.encode()) else joined


def fast(decoder) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "<end>": 1}, unk_token="a"))
    if decoder is not None:
        tokenizer.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


@pytest.mark.parametrize("text", TEXTS)
def test_bytes_of_the_tokens_are_the_bytes_of_the_text(tokenizer, text):
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False)
    joined = b"".join(vocabulary.tokens[i] for i in ids)
    assert without_front_space(joined, text) == text.encode()


@pytest.mark.parametrize("family", BYTE_FAMILIES)
@pytest.mark.parametrize("text", BYTE_TEXTS)
def test_bytes_of_the_tokens_are_the_bytes_of_characters_without_a_piece(family, text):
    tokenizer = FAMILIES[family]()
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert without_front_space(b"".join(vocabulary.tokens[i] for i in ids), text) == text.encode()


@pytest.mark.parametrize("family", BYTE_FAMILIES)
def test_every_byte_has_a_token(family):
    tokens = set(Vocabulary.from_tokenizer(FAMILIES[family]()).tokens)
    assert all(bytes([byte]) in tokens for byte in range(256))


@given(draw=st.data())
def test_any_sequence_of_tokens_reads_as_the_tokenizer_decodes_it(tokenizer, draw):
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    names = tokenizer.get_vocab()
    byte_ids = [names[token] for token in BYTE_TOKENS if token in names]
    pieces = sorted(set(range(vocabulary.size)) - vocabulary.special - set(byte_ids))
    # Behind a letter, where no decoder takes a space away.
    ids = [names["M"], *draw.draw(readable(pieces, byte_ids))]
    joined = b"".join(vocabulary.tokens[i] for i in ids)
    assert joined.decode(errors="replace") == tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("kind", STEPS)
@given(
    piece=st.one_of(
        st.text(max_size=8), st.text("_aĠĊé▁", max_size=8), st.sampled_from([*BYTE_TOKENS, "<0x0a>"])
    )
)
def test_a_decoder_step_reads_as_the_real_one_decodes(kind, piece):
    state = fast(DECODERS[kind]).backend_tokenizer.decoder.__getstate__()
    step = STEPS[kind](json.loads(state))
    assert "x" + step(piece.encode()).decode(errors="replace") == DECODERS[kind].decode(["x", piece])


def test_bytes_equal_those_of_an_independent_reading(tokenizer):
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    oracle = xgrammar.TokenizerInfo.from_huggingface(tokenizer)
    # It takes pieces without byte fallback for text as it is.
    raw = oracle.vocab_type == xgrammar.VocabType.RAW
    for token_id, expected in enumerate(oracle.decoded_vocab):
        if token_id not in vocabulary.special:
            spaced = expected.replace(SPACE_MARK.encode(), b" ") if raw else expected
            assert vocabulary.tokens[token_id] == spaced, token_id


def test_special_tokens_add_nothing(tokenizer):
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert vocabulary.special >= frozenset(tokenizer.all_special_ids)
    assert vocabulary.special == special_ids(tokenizer)
    assert all(vocabulary.tokens[i] == b"" for i in vocabulary.special)
    assert vocabulary.eos == (tokenizer.eos_token_id,)


def test_size_follows_the_model_where_it_differs(tokenizer):
    count = len(tokenizer)
    assert Vocabulary.from_tokenizer(tokenizer).size == count
    padded = Vocabulary.from_tokenizer(tokenizer, size=count + 7)
    assert padded.tokens[count:] == (b"",) * 7
    assert Vocabulary.from_tokenizer(tokenizer, size=count - 1).tokens == padded.tokens[: count - 1]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", ["<think>", "two words", "É\n x", "é", "▁a▁", "<0x0b>", "Ġx", "東"])
def test_added_tokens_add_what_the_tokenizer_decodes_them_to(family, text):
    tokenizer = FAMILIES[family]()
    tokenizer.add_tokens([AddedToken(text, special=False)])
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    front, added = tokenizer.convert_tokens_to_ids(["M", text])
    read = b"M" + vocabulary.tokens[added]
    assert read.decode(errors="replace") == tokenizer.decode([front, added])


def test_tokens_marked_special_are_special_though_no_name_says_so():
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("<|header|>", special=True)])
    header = tokenizer.convert_tokens_to_ids("<|header|>")
    assert header not in tokenizer.all_special_ids
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert header in vocabulary.special
    assert vocabulary.tokens[header] == b""


def test_fingerprint_is_the_hash_of_all_fields():
    vocabulary = Vocabulary((b"ab", b"", b"c"), frozenset({1}), (1,))
    spelt = struct.pack("<8q", 3, 2, 0, 1, 1, 1, 1, 1) + b"abc"
    assert vocabulary.fingerprint == hashlib.sha256(spelt).hexdigest()[:16]


def test_fingerprint_tells_vocabularies_apart(tokenizer):
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert vocabulary.fingerprint == Vocabulary.from_tokenizer(tokenizer).fingerprint
    others = [
        replace(vocabulary, tokens=(*vocabulary.tokens, b"")),
        replace(vocabulary, tokens=(*vocabulary.tokens[:-1], vocabulary.tokens[-1] + b"!")),
        replace(vocabulary, tokens=vocabulary.tokens[::-1]),
        replace(vocabulary, special=vocabulary.special | {vocabulary.size - 1}),
        replace(vocabulary, eos=(*vocabulary.eos, 0)),
    ]
    assert len({v.fingerprint for v in [vocabulary, *others]}) == len(others) + 1
    shifted = [Vocabulary(tokens, frozenset(), (0,)) for tokens in [(b"ab", b"c"), (b"a", b"bc")]]
    assert shifted[0].fingerprint != shifted[1].fingerprint


@pytest.mark.parametrize(
    ("decoder", "named"),
    [
        (decoders.WordPiece(), "WordPiece"),
        (decoders.BPEDecoder(), "BPEDecoder"),
        (decoders.CTC(), "CTC"),
        (decoders.Sequence([decoders.ByteFallback(), decoders.Strip(" ", 1, 0)]), "Strip"),
        (decoders.Sequence([decoders.Replace(Regex("a+"), " ")]), "Replace"),
        (None, "none"),
    ],
)
def test_a_decoder_of_another_family_is_refused_with_its_name(decoder, named):
    with pytest.raises(VocabularyError, match=f"the step {named}"):
        Vocabulary.from_tokenizer(fast(decoder))


def test_a_tokenizer_of_another_family_is_refused_with_its_name():
    with pytest.raises(VocabularyError, match="ByT5Tokenizer"):
        Vocabulary.from_tokenizer(ByT5Tokenizer())


def test_missing_eos_is_refused():
    tokenizer = byte_level()
    tokenizer.eos_token = None
    with pytest.raises(VocabularyError, match="eos"):
        Vocabulary.from_tokenizer(tokenizer)


def test_eos_outside_the_models_logits_is_refused():
    tokenizer = byte_level()
    with pytest.raises(VocabularyError, match=r"eos ids \[1\] are not among the model's 1 tokens"):
        Vocabulary.from_tokenizer(tokenizer, size=tokenizer.eos_token_id)


@pytest.mark.parametrize("decoder", [None, object()])
def test_a_backend_that_shows_its_decoder_in_its_json_only_is_read_by_that(decoder):
    """Drop-in backends, such as fastokens, have no decoder of the original's kind."""
    tokenizer = sentencepiece()
    expected = Vocabulary.from_tokenizer(tokenizer)
    standin = SimpleNamespace(decoder=decoder, to_str=tokenizer.backend_tokenizer.to_str)
    tokenizer.__class__ = type("Patched", (type(tokenizer),), {"backend_tokenizer": standin})
    assert Vocabulary.from_tokenizer(tokenizer) == expected
