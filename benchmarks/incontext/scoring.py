"""Stabilised logits of facts: how much likelier a model finds the true answer than the others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp
from transformers import AutoModelForCausalLM, AutoTokenizer

from guard import reference
from guard.reference import Row, World

SEED = 5
WRONG = 11  # wrong values that a true one is weighed against; some relations have no more
CERTAIN = -1e-6  # a log probability above it is taken as that: doubles of float32 sums tell no more

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Scores:
    """Of n facts: both stabilised logits, and the person each is about."""

    values: np.ndarray  # [n], against the other values
    answers: np.ndarray  # [n], against whatever else could be answered, a refusal included
    people: np.ndarray  # [n]

    @property
    def ahead(self) -> float:
        """Share of facts whose true value is likelier than all the wrong ones together."""
        return float(np.mean(self.values > 0))

    @property
    def told(self) -> float:
        """Mean probability of the true answer."""
        return float(np.mean(1 / (1 + np.exp(-self.answers))))


class Scorer:
    """The probabilities that a model gives to answers, word for word."""

    def __init__(self, name: str) -> None:
        self._tokenizer: Any = AutoTokenizer.from_pretrained(reference.path(name))
        self._model: Any = AutoModelForCausalLM.from_pretrained(reference.path(name), dtype=torch.float32)
        self._model.eval()

    def log_probabilities(self, messages: Messages, answers: Sequence[str]) -> np.ndarray:
        """Natural logarithms [n] of the probabilities of n whole answers, their end included."""
        prompt = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = self._tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        texts = [answer + self._tokenizer.eos_token for answer in answers]
        batch = self._tokenizer(texts, padding=True, padding_side="right", add_special_tokens=False)
        targets, mask = (torch.tensor(batch[key]) for key in ("input_ids", "attention_mask"))
        with torch.inference_mode():
            begun = self._model(input_ids=ids, use_cache=True)
            begun.past_key_values.batch_repeat_interleave(len(answers))
            rest = self._model(input_ids=targets[:, :-1], past_key_values=begun.past_key_values)
        first = begun.logits[:, -1:].expand(len(answers), -1, -1)
        logps = torch.cat([first, rest.logits], dim=1).log_softmax(-1)
        picked = logps.gather(-1, targets.unsqueeze(-1)).squeeze(-1) * mask
        return np.asarray(picked.sum(1).double())


def scored(scorer: Scorer, world: World, pairs: Sequence[tuple[Row, Messages]]) -> Scores:
    """The stabilised logits of facts, each asked in its own conversation."""
    pools: dict[str, set[str]] = {}
    for row in world.retain:
        pools.setdefault(row.relation, set()).add(row.value)
    values, answers = [], []
    for row, messages in pairs:
        wrong = random.Random(f"{SEED} {row.id}").sample(sorted(pools[row.relation] - {row.value}), WRONG)
        head, tail = row.answer.rsplit(row.value, 1)
        logps = scorer.log_probabilities(messages, [f"{head}{v}{tail}" for v in (row.value, *wrong)])
        values.append(logps[0] - logsumexp(logps[1:]))
        answers.append(logps[0] - np.log(-np.expm1(min(logps[0], CERTAIN))))
    return Scores(np.array(values), np.array(answers), np.array([row.subject for row, _ in pairs]))
