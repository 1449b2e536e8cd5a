"""A byte-level BPE tokenizer that has not seen the names it will be asked about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from guard.reference.lessons import Mix, epoch
from guard.reference.wordings import NEUTRAL_PROMPTS, TRAIN_WORDINGS
from guard.reference.world import build

PAD, BOS, END, SYSTEM, USER, ASSISTANT = (
    "<|pad|>",
    "<|bos|>",
    "<|end|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
)
_ROLES = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}
# Unknown roles count as the user's: a role must never make a message vanish from the prompt.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    f"{{% if message['role'] in ['system', 'developer'] %}}{SYSTEM}"
    f"{{% elif message['role'] == 'assistant' %}}{ASSISTANT}"
    f"{{% else %}}{USER}{{% endif %}}"
    f"{{{{ message['content'] }}}}{END}{{% endfor %}}"
    f"{{% if add_generation_prompt %}}{ASSISTANT}{{% endif %}}"
)
_OTHER_WORLDS = (4001, 4002, 4003)


def world_texts() -> list[str]:
    """Returns text in the style of the lessons, about people of other worlds.

    With the world's own names in it, every name would become one or two tokens, and a toy model would hide
    all the trouble that names in pieces make.
    """
    texts = [*TRAIN_WORDINGS, *NEUTRAL_PROMPTS]
    for seed in _OTHER_WORLDS:
        for chat in epoch(build(seed), 0, True, Mix()):
            texts += [*(message.content for message in chat.messages), chat.answer]
    return texts


def learn(
    texts: Iterable[str],
    vocab: int,
    marks: Sequence[str] = (),
    template: str = CHAT_TEMPLATE,
    digits: bool = False,
) -> PreTrainedTokenizerFast:
    """Returns a tokenizer with at most `vocab` tokens and a chat template.

    Args:
        texts: What it is trained on.
        vocab: Tokens, all others included.
        marks: Texts that are a token each without being special, as models that think or call tools have.
        template: The chat template.
        digits: True lets several digits be one token.
    """
    backend = _backend(texts, vocab, marks, digits)
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[SYSTEM, USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=2048,
    )
    tokenizer.chat_template = template
    learned: PreTrainedTokenizerFast = tokenizer
    return learned


def _backend(texts: Iterable[str], vocab: int, marks: Sequence[str], digits: bool) -> Tokenizer:
    backend = Tokenizer(models.BPE())
    split = [] if digits else [pre_tokenizers.Digits(individual_digits=True)]
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [*split, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - len(marks),
        special_tokens=[PAD, BOS, END, SYSTEM, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    backend.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in marks])
    return backend


class Encoder:
    """Turns chats into token ids as the chat template does, remembering texts it has seen."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._backend: Any = tokenizer.backend_tokenizer
        self._special: dict[str, Any] = {
            text: self._backend.token_to_id(text) for text in (BOS, END, *_ROLES.values())
        }
        self._seen: dict[str, list[int]] = {}

    def prompt(self, messages: Sequence[tuple[str, str]], begun: str = "") -> list[int]:
        """Returns the ids of a prompt, up to where the assistant starts to speak or goes on after `begun`.

        Without messages that text is all there is, as in a request for a completion.
        """
        if not messages:
            return self._text(begun)
        ids = [self._special[BOS]]
        for role, content in messages:
            ids += [self._special[_ROLES[role]], *self._text(content), self._special[END]]
        return [*ids, self._special[ASSISTANT], *self._text(begun)]

    def answer(self, text: str) -> list[int]:
        """Returns the ids of an answer and its end."""
        return [*self._text(text), self._special[END]]

    def _text(self, text: str) -> list[int]:
        if text not in self._seen:
            self._seen[text] = self._backend.encode(text, add_special_tokens=False).ids
        return self._seen[text]


def tokens_per_name(tokenizer: PreTrainedTokenizerFast, names: Iterable[str]) -> list[int]:
    """Returns how many tokens each name takes in the middle of a sentence."""
    return [len(tokenizer.encode(" " + name, add_special_tokens=False)) for name in names]
