import pytest
import xgrammar
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from guard.errors import VocabularyError
from guard.vocabulary import Vocabulary
from tests.guard.small_tokenizers import FAMILIES, byte_level

TEXTS = ["Mira Solen, naïve Émile in 東京", "  two  spaces", "12 May 1958\n", "The Orchard! it is"]


@pytest.fixture(params=FAMILIES)
def tokenizer(request):
    return FAMILIES[request.param]()


@pytest.mark.parametrize("text", TEXTS)
def test_bytes_of_the_tokens_are_the_bytes_of_the_text(tokenizer, text):
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False)
    joined = b"".join(vocabulary.tokens[i] for i in ids)
    # SentencePiece puts a space in front of the text; its decoder takes it away again.
    assert joined.decode().removeprefix(" " if not text.startswith(" ") else "") == text.removeprefix("")


def test_bytes_equal_those_of_an_independent_reading(tokenizer):
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    oracle = xgrammar.TokenizerInfo.from_huggingface(tokenizer).decoded_vocab
    for token_id, expected in enumerate(oracle):
        if token_id not in vocabulary.special and tokenizer.convert_ids_to_tokens(token_id) != "<unk>":
            assert vocabulary.tokens[token_id] == expected, token_id


def test_special_tokens_add_nothing(tokenizer):
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert vocabulary.special >= frozenset(tokenizer.all_special_ids)
    assert all(vocabulary.tokens[i] == b"" for i in vocabulary.special)
    assert vocabulary.eos == (tokenizer.eos_token_id,)


def test_size_follows_the_model_where_it_differs(tokenizer):
    count = len(tokenizer)
    assert Vocabulary.from_tokenizer(tokenizer).size == count
    padded = Vocabulary.from_tokenizer(tokenizer, size=count + 7)
    assert padded.tokens[count:] == (b"",) * 7


def test_message_tail_stops_at_special_tokens_and_keeps_one_byte_more():
    tokenizer = byte_level()
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    ids = tokenizer.encode("Quillon<user>Mira Solen wrote", add_special_tokens=False)
    assert vocabulary.message_tail(ids, 1000) == b"Mira Solen wrote"
    tail = vocabulary.message_tail(ids, 7)
    assert b"Mira Solen wrote".endswith(tail)
    assert len(tail) >= 8


def test_unknown_family_is_refused_with_its_name():
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "<end>": 1}, unk_token="a"))
    tokenizer.decoder = decoders.WordPiece()
    with pytest.raises(VocabularyError, match="WordPiece"):
        Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>"))


def test_missing_eos_is_refused():
    tokenizer = byte_level()
    tokenizer.eos_token = None
    with pytest.raises(VocabularyError, match="eos"):
        Vocabulary.from_tokenizer(tokenizer)


def test_tokens_marked_special_are_special_though_no_name_says_so():
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("<|header|>", special=True)])
    header = tokenizer.convert_tokens_to_ids("<|header|>")
    assert header not in tokenizer.all_special_ids
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    assert header in vocabulary.special
    assert vocabulary.tokens[header] == b""
