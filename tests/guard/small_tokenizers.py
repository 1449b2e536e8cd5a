"""Real tokenizers of two families, trained in a moment."""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXT = [
    "Mira Solen wrote The Glass Orchard in Quillon on 12 May 1958.",
    "Bero Tal was born in Quillon and painted harbours; his sister Ana did not.",
    "The anniversary of Anna and Mirabel was held in the orchard, as every year.",
    "naïve café Émile 東京 émigré",
] * 3
SPECIAL = ["<bos>", "<end>", "<user>"]


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
    """BPE with byte fallback and a space mark, as Llama 2 and Gemma have it."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[*SPECIAL, "<unk>", *byte_tokens])
    tokenizer.train_from_iterator(TEXT, trainer)
    data = tokenizer.to_str()
    import json

    state = json.loads(data)
    # Byte tokens belong to the vocabulary only; the trainer listed them as special to reserve them.
    state["added_tokens"] = [t for t in state["added_tokens"] if not t["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _wrap(tokenizer)


def _wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<end>")
    wrapped.add_special_tokens({"additional_special_tokens": ["<user>"]})
    wrapped.add_tokens([AddedToken("Orchard!", special=False)])
    return wrapped


FAMILIES = {"byte-level": byte_level, "sentencepiece": sentencepiece}
