"""GUARD as published beside ours, on one Hugging Face model: what comes out, and what it costs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean, median
from typing import Any

import torch
from rich.progress import Progress
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessor, LogitsProcessorList

from benchmarks.rivals.guard_published import Answer, GuardPublished
from guard import ForgetTarget, reference
from guard.automaton import automata_of
from guard.encoder import SentenceEncoder
from guard.phrases import as_phrases, forbidden_phrases
from guard.pipeline import REFUSAL
from guard.reference.world import Row as Fact
from guard.restriction import Enforcer, Row
from guard.semantic_penalty import softener
from guard.snapshot import compile_snapshot
from guard.tables import Tables
from guard.vocabulary import Vocabulary

TOKENS = 24
PEOPLE, QUESTIONS = 4, 3
Answered = Callable[[Fact, list[int]], Sequence[int]]


class Ours(LogitsProcessor):
    """Our step on one row of `generate`."""

    def __init__(self, tables: Tables, prompt: Sequence[int], target_ids: tuple[str, ...]) -> None:
        self._enforcer, self._prompt = Enforcer(tables), len(prompt)
        self._outputs: list[int] = []
        self._enforcer.open(0, Row(prompt, target_ids, None, self._outputs))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores with what is forbidden taken out."""
        self._outputs[:] = input_ids[0, self._prompt :].tolist()
        self._enforcer.step(scores)
        return scores


def measure(progress: Progress) -> dict[str, Any]:
    """Quality and cost of each way to answer questions about forgotten people."""
    folder = reference.path("full")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    world = reference.build()
    people = world.forget_people[:PEOPLE]
    rows = [row for person in people for row in world.rows_of(person)[:QUESTIONS]]
    targets = {p: ForgetTarget.parse(world.target(p) | {"action": "restrict"}) for p in people}
    ways = _ways(model, tokenizer, targets, [Answer(row.id, row.answer) for row in world.forget])
    task = progress.add_task("GUARD as published", total=len(ways) * len(rows))
    results = {}
    for name, (answer, registering) in ways.items():
        texts, seconds = [], []
        for row in rows:
            prompt = _prompt(tokenizer, row.question)
            began = time.perf_counter()
            ids = answer(row, prompt)
            seconds.append(time.perf_counter() - began)
            texts.append(tokenizer.decode(ids, skip_special_tokens=True).strip())
            progress.advance(task)
        results[name] = _summary(model, tokenizer, rows, texts, targets) | {
            "seconds_per_answer": round(median(seconds), 4),
            "seconds_to_register": round(registering, 3),
        }
    plain = results["do nothing"]["seconds_per_answer"]
    for found in results.values():
        found["cost_ratio"] = round(found["seconds_per_answer"] / plain, 2)
    return {"questions": len(rows), "tokens": TOKENS, "ways": results}


def _ways(
    model: Any, tokenizer: Any, targets: dict[str, ForgetTarget], stored: Sequence[Answer]
) -> dict[str, tuple[Answered, float]]:
    """Each way to answer a row's prompt with token ids, and the seconds its targets took to register."""
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    encoder = SentenceEncoder()
    soften = softener(lambda: vocabulary, encoder, None)
    soft = [
        t.model_copy(update={"matching": t.matching.model_validate({"soft": {}})}) for t in targets.values()
    ]

    def tables(chosen: Sequence[ForgetTarget]) -> tuple[Tables, float]:
        if chosen is soft:
            soften(soft[0])  # the vocabulary is encoded once for all targets
        began = time.perf_counter()
        made = Tables(vocabulary, compile_snapshot(chosen, soften))
        made.of(tuple(t.id for t in chosen), None)
        return made, time.perf_counter() - began

    def ours(made: Tables, row: Fact, prompt: list[int]) -> Sequence[int]:
        processor = Ours(made, prompt, (targets[row.subject].id,))
        return _greedy(model, prompt, [processor])

    def published(encoder: SentenceEncoder) -> tuple[Answered, float]:
        began = time.perf_counter()
        guard = GuardPublished(model, tokenizer, stored, encoder)
        taken = time.perf_counter() - began
        return lambda row, prompt: guard.generate(prompt, TOKENS)[0], taken

    hard, hard_seconds = tables(list(targets.values()))
    both, both_seconds = tables(soft)
    refusal = tokenizer.encode(REFUSAL, add_special_tokens=False)
    return {
        "do nothing": (lambda row, prompt: _greedy(model, prompt, []), 0.0),
        "block everything": (lambda row, prompt: refusal, 0.0),
        "ours": (partial(ours, hard), hard_seconds),
        "ours with soft penalties": (partial(ours, both), both_seconds),
        "GUARD as published": published(SentenceEncoder(remember=0)),
        "GUARD, words remembered": published(SentenceEncoder()),
    }


def _greedy(model: Any, prompt: list[int], processors: list[LogitsProcessor]) -> Sequence[int]:
    ids = torch.tensor([prompt])
    made = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=TOKENS,
        do_sample=False,
        logits_processor=LogitsProcessorList(processors),
        pad_token_id=model.config.eos_token_id,
    )
    return list(map(int, made[0, len(prompt) :]))


def _summary(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Fact],
    texts: Sequence[str],
    targets: dict[str, ForgetTarget],
) -> dict[str, Any]:
    """What came out: right values, forbidden strings, and how fluent it is to the unguarded model."""
    searched = {
        person: automata_of(as_phrases(target, forbidden_phrases(target)))
        for person, target in targets.items()
    }
    spelled = [
        any(automaton.found_in(text) for automaton in searched[row.subject])
        for row, text in zip(rows, texts, strict=True)
    ]
    nats = [_nats(model, tokenizer, row, text) for row, text in zip(rows, texts, strict=True) if text]
    return {
        "right_value": round(fmean(row.value in text for row, text in zip(rows, texts, strict=True)), 3),
        "forbidden_string": round(fmean(spelled), 3),
        "empty": sum(not text for text in texts),
        # Per token, under the unguarded model, which holds nothing but the true answer for likely.
        "perplexity": round(math.exp(fmean(nats)), 1) if nats else None,
        "words": round(fmean(len(text.split()) for text in texts), 1),
        "example": texts[0],
    }


@torch.inference_mode()
def _nats(model: Any, tokenizer: Any, row: Fact, text: str) -> float:
    """Mean negative log-likelihood of a response's tokens behind a question, in nats."""
    prompt = _prompt(tokenizer, row.question)
    ids = torch.tensor([[*prompt, *tokenizer.encode(text, add_special_tokens=False)]])
    logprobs = model(ids).logits.float().log_softmax(-1)[0, len(prompt) - 1 : -1]
    return float(-logprobs.gather(1, ids[0, len(prompt) :, None]).mean())


def _prompt(tokenizer: Any, question: str) -> list[int]:
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
    return list(tokenizer.encode(text, add_special_tokens=False))
