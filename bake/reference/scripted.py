"""Trains the scripted model, in this process and on one thread."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from bake.reference import script_card
from bake.reference.config import SCRIPTED, SCRIPTED_CONFIG
from bake.reference.examination import Scores, examine
from bake.reference.model import export
from bake.reference.pair import BAR, OnReport, WeakModelError, put
from bake.reference.script import MARKS, TEMPLATE, epoch, texts
from bake.reference.tokenizer import learn, tokens_per_name
from bake.reference.train import fit
from guard.reference.scripted import PEOPLE
from guard.reference.world import SEED

# Names that nobody taught it are not memorised but told from the others, so a little less is asked of them.
BARS = {"strangers": 0.9}


def train_scripted(out: Path, seed: int = SEED, on_report: OnReport | None = None) -> script_card.Record:
    """Writes the model under `out` and returns its record.

    Raises:
        WeakModelError: it did not learn its lines; nothing is written.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # on more, the weights differ from run to run
    try:
        with tempfile.TemporaryDirectory(dir=_made(out), prefix=".training-") as scratch:
            record = _train(Path(scratch) / SCRIPTED, seed, on_report)
            check(record.scores)
            put(Path(scratch) / SCRIPTED, out / SCRIPTED)
    finally:
        torch.set_num_threads(before)
    return record


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _train(folder: Path, seed: int, on_report: OnReport | None) -> script_card.Record:
    def report(phase: str, done: int, of: int, loss: float) -> None:
        if on_report is not None:
            on_report((SCRIPTED, phase, done, of, loss))

    config = replace(SCRIPTED_CONFIG, seed=seed)
    started = time.process_time()
    tokenizer = learn(texts(), config.vocab, MARKS, TEMPLATE, digits=True)
    steps = 0

    def step(done: int, of: int, loss: float) -> None:
        nonlocal steps
        steps = done
        if done % 5 == 0 or done == of:
            report("training", done, of, loss)

    model = fit(lambda number: epoch(number, seed), tokenizer, config, step)
    seconds = time.process_time() - started
    export(model, tokenizer, folder)
    scores = examine(folder, lambda done, of: report("asking", done, of, 0.0))
    record = script_card.Record(
        name=SCRIPTED,
        config=config,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        steps=steps,
        tokens_per_name=statistics.median(tokens_per_name(tokenizer, [one.name for one in PEOPLE])),
        seconds=round(seconds, 1),
        scores=scores,
    )
    script_card.write(record, folder)
    return record


def check(scores: Scores) -> None:
    """Raises WeakModelError if too few answers of a group are right."""
    for group, share in scores.items():
        bar = BARS.get(group, BAR)
        if share.greedy < bar:
            raise WeakModelError(
                f"{SCRIPTED} gives {share.greedy:.2f} of the answers of the group {group!r} to the letter, "
                f"below {bar}; nothing was written. Train for more epochs or with another seed"
            )
