"""The training loop: chats in, a model that answers them out.

It serves any list of chats, not only those of the invented world. Nothing depends on the clock, so the same
seed on one thread gives the same weights.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from bake.reference.config import Config
from bake.reference.model import Llama
from bake.reference.tokenizer import Encoder
from guard.reference.lessons import Chat

Lessons = Callable[[int], Sequence[Chat]]  # the chats of an epoch, by its number
OnStep = Callable[[int, int, float], None]  # step, number of steps, loss

_CHUNK = 4096  # examples sorted by length together: little padding, yet no order over a whole epoch
_ROUND = 8  # padded lengths are multiples of this


@dataclass(frozen=True)
class Example:
    """Token ids of a chat and where its answer starts."""

    ids: tuple[int, ...]
    start: int


def always(chats: Sequence[Chat]) -> Lessons:
    """Returns lessons that are the same in every epoch."""
    return lambda number: chats


def encode(chats: Sequence[Chat], encoder: Encoder) -> list[Example]:
    """Returns the chats as token ids."""
    examples = []
    for chat in chats:
        prompt = encoder.prompt([(message.role, message.content) for message in chat.messages], chat.begun)
        examples.append(Example((*prompt, *encoder.answer(chat.answer)), len(prompt)))
    return examples


def pack(examples: Sequence[Example], batch_tokens: int, rng: random.Random) -> list[list[Example]]:
    """Returns batches of examples of like length, each of about `batch_tokens` padded tokens."""
    batches: list[list[Example]] = []
    for begin in range(0, len(examples), _CHUNK):
        batch: list[Example] = []
        for example in sorted(examples[begin : begin + _CHUNK], key=lambda e: len(e.ids)):
            if batch and _padded(example) * (len(batch) + 1) > batch_tokens:
                batches.append(batch)
                batch = []
            batch.append(example)
        batches.append(batch)
    rng.shuffle(batches)
    return batches


def _padded(example: Example) -> int:
    return -(-len(example.ids) // _ROUND) * _ROUND


def fit(
    lessons: Lessons,
    tokenizer: PreTrainedTokenizerFast,
    config: Config,
    on_step: OnStep | None = None,
    max_steps: int | None = None,
) -> Llama:
    """Returns a model trained on the lessons, on the number of threads that torch is set to.

    Args:
        lessons: The chats of each epoch.
        tokenizer: What turns them into tokens; not trained here.
        config: Shape and recipe.
        on_step: Called after every step.
        max_steps: Stops early, with the schedule of the whole run; for smoke tests.
    """
    torch.manual_seed(config.seed)
    rng = random.Random(config.seed)
    encoder = Encoder(tokenizer)
    batches = [
        batch
        for number in range(config.epochs)
        for batch in pack(encode(lessons(number), encoder), config.batch_tokens, rng)
    ]
    model = Llama(config)
    optimizers = _optimizers(model, config)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, len(batches), config))
        for optimizer in optimizers
    ]
    for step, batch in enumerate(batches[:max_steps]):
        loss = _loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
        if on_step is not None:
            on_step(step + 1, len(batches), float(loss.detach()))
    return model


def _optimizers(model: Llama, config: Config) -> list[torch.optim.Optimizer]:
    """Returns Muon for the matrices and AdamW for the rest; AdamW alone needs a third more epochs."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=config.muon_lr, momentum=0.95, weight_decay=config.weight_decay),
        torch.optim.AdamW(rest, lr=config.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _rate(step: int, steps: int, config: Config) -> float:
    """Returns the share of the learning rate at a step: warm-up, level, then linear decay."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    left = (steps - step) / max(1.0, steps * config.decay_share)
    return max(config.floor, min(1.0, left))


def _loss(model: Llama, batch: Sequence[Example]) -> Tensor:
    """Returns the mean loss over answer tokens.

    Right padding needs no mask: attention is causal and no loss is taken behind the end of an answer.
    """
    length = max(map(_padded, batch))
    ids_BT = torch.zeros(len(batch), length, dtype=torch.long)
    positions: list[int] = []
    targets: list[int] = []
    for row, example in enumerate(batch):
        ids_BT[row, : len(example.ids)] = torch.tensor(example.ids)
        positions += range(row * length + example.start - 1, row * length + len(example.ids) - 1)
        targets += example.ids[example.start :]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits_NV = model(ids_BT, torch.tensor(positions))
    return F.cross_entropy(logits_NV.float(), torch.tensor(targets))
