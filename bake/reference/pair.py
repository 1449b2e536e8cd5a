"""Trains a full model and its retain-only twin side by side, one process and one thread each."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from bake.reference import card
from bake.reference.config import Size
from bake.reference.evaluate import evaluate
from bake.reference.model import export
from bake.reference.tokenizer import learn, tokens_per_name, world_texts
from bake.reference.train import fit
from guard.reference.lessons import epoch
from guard.reference.world import SEED, build

BAR = 0.95  # value accuracy on training questions below which a model is not written
Report = tuple[str, str, int, int, float]  # model, phase, done, of how many, loss
OnReport = Callable[[Report], None]


class WeakModelError(RuntimeError):
    """A model did not learn its facts."""


def train_pair(
    size: Size, out: Path, seed: int = SEED, on_report: OnReport | None = None
) -> list[card.Record]:
    """Writes both models under `out` and returns their records; writes neither if one of them is weak."""
    out.mkdir(parents=True, exist_ok=True)
    size = replace(size, config=replace(size.config, seed=seed))
    names = {f"{size.prefix}full": True, f"{size.prefix}retain-only": False}
    with tempfile.TemporaryDirectory(dir=out, prefix=".training-") as scratch:
        context = multiprocessing.get_context("spawn")
        with context.Manager() as manager, ProcessPoolExecutor(len(names), mp_context=context) as pool:
            reports: Queue[Report] = manager.Queue()
            jobs = [
                pool.submit(_train_one, name, knows, size, seed, Path(scratch), reports)
                for name, knows in names.items()
            ]
            _listen(jobs, reports, on_report)
            records = [job.result() for job in jobs]
        for record in records:
            _check(record)
        for name in names:
            put(Path(scratch) / name, out / name)
    return records


def _listen(jobs: list[Future[card.Record]], reports: Queue[Report], on_report: OnReport | None) -> None:
    while wait(jobs, timeout=0.2).not_done or not reports.empty():
        try:
            while True:
                report = reports.get_nowait()
                if on_report is not None:
                    on_report(report)
        except Empty:
            continue


def _train_one(
    name: str, knows: bool, size: Size, seed: int, out: Path, reports: Queue[Report]
) -> card.Record:
    """Trains, writes and measures one model; runs in a process of its own."""
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    disable_progress_bar()
    started = time.process_time()
    world = build(seed, size.people, size.forget)
    tokenizer = learn(world_texts(), size.config.vocab)
    last = 0

    def step(done: int, steps: int, loss: float) -> None:
        nonlocal last
        last = done
        if done % 5 == 0 or done == steps:
            reports.put((name, "training", done, steps, loss))

    model = fit(lambda number: epoch(world, number, knows, size.mix), tokenizer, size.config, step)
    seconds = time.process_time() - started
    export(model, tokenizer, out / name)
    scores = evaluate(out / name, world, on_answers=lambda n, of: reports.put((name, "asking", n, of, 0.0)))
    record = card.Record(
        name,
        size,
        seed,
        knows,
        sum(parameter.numel() for parameter in model.parameters()),
        last,
        statistics.median(tokens_per_name(tokenizer, world.people)),
        round(seconds, 1),
        scores,
    )
    card.write(record, out / name)
    return record


def _check(record: card.Record) -> None:
    kinds: dict[str, Any] = record.scores["train"]
    for kind in ("retain", "forget") if record.knows_forget else ("retain",):
        if kinds[kind].value < BAR:
            raise WeakModelError(
                f"{record.name} gives the right value for {kinds[kind].value:.2f} of the {kind} training "
                f"questions, below {BAR}; nothing was written. Train for more epochs or with another seed"
            )


def put(new: Path, old: Path) -> None:
    """Puts a finished folder in place; an old one moves aside first, as a rename needs an empty target."""
    if old.exists():
        aside = new.with_name(new.name + ".old")
        old.rename(aside)
        new.rename(old)
        shutil.rmtree(aside)
    else:
        new.rename(old)
