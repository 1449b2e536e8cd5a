"""The nano world and its model, as the tests of the rivals ask them."""

from functools import cache

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from guard.reference import nano, path

# Importing vLLM warns: its kernels wrapper looks at every name of torch.
VLLM = pytest.mark.filterwarnings("ignore:`torch.distributed.reduce_op` is deprecated:FutureWarning")
WORLD = nano()
PERSON = WORLD.forget_people[0]
ROWS = WORLD.rows_of(PERSON)[:6]
PHRASES = [PERSON, *dict.fromkeys(row.value for row in ROWS)]
STEPS = 24


@cache
def tokenizer():
    return AutoTokenizer.from_pretrained(path("nano-full"))


@cache
def model():
    return AutoModelForCausalLM.from_pretrained(path("nano-full"), dtype=torch.float32).eval()


def chat(question: str) -> list[int]:
    text = tokenizer().apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
    return tokenizer().encode(text, add_special_tokens=False)


def contains(tokens, phrase) -> bool:
    return any(tuple(tokens[i : i + len(phrase)]) == tuple(phrase) for i in range(len(tokens)))
