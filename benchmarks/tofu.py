"""TOFU through the whole guarded server: how much of the forget set comes out, and what else changes.

A small model is trained on real TOFU text until it repeats it, served by stock vLLM and by the guarded
server, and asked questions it was trained on. The forget authors are registered through the admin API.

    python benchmarks/tofu.py            # writes benchmarks/results/tofu_slice.json and .png

The data's folder is taken from LETHE_DATA (default: ../shared/data); without it the script says so and stops.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rouge_score.rouge_scorer import RougeScorer

from bake.reference.config import Config
from bake.reference.model import export
from bake.reference.tokenizer import learn
from bake.reference.train import always, fit
from guard import ForgetTarget
from guard.phrases import extract
from guard.pipeline import REFUSAL
from guard.reference.lessons import Chat, Message
from serving.launch import EAGER, PLAIN_ENVIRONMENT, Server, guarded_command, plain_command, running

DATA = Path(os.environ.get("LETHE_DATA", "../shared/data")) / "tofu"
RESULTS = Path(__file__).parent / "results"
MODELS = Path(".lethe") / "benchmarks"
MODEL = "tofu-slice"
FORGET, RETAIN_AUTHORS = "forget05", 30
CONFIG = Config(vocab=4096, hidden=256, heads=4, ffn=688, epochs=25)
ACTIONS = ("refuse", "restrict")
ANSWER_TOKENS = 160

console = Console()


@dataclass(frozen=True)
class Row:
    """A question, the answer the model was trained to give, and where it belongs."""

    author: int
    question: str
    answer: str
    forget: bool

    @property
    def values(self) -> list[str]:
        """What the answer tells beyond the question: names, titles, dates and numbers."""
        return [v for v in extract(self.answer) if v.lower() not in self.question.lower()]


def main() -> int:
    """Trains, serves, asks, writes the results; 1 if a promise is broken."""
    if not DATA.is_dir():
        console.print(f"{DATA} is not there, so nothing was run; set LETHE_DATA to the data folder")
        return 0
    started = time.perf_counter()
    rows = read_rows()
    folder, trained = model_folder(rows)
    targets = author_targets(rows)
    # Every forget row is asked, and every second retain row: a run stays within a quarter of an hour.
    rows = [row for index, row in enumerate(rows) if row.forget or index % 2]
    answers, seconds = ask_with_and_without(folder, rows, targets)
    report = {
        "benchmark": "TOFU slice: a toy model trained on TOFU text, not a published checkpoint",
        "command": "make bench-tofu",
        "forget_set": FORGET,
        "n_forget": sum(row.forget for row in rows),
        "n_retain": sum(not row.forget for row in rows),
        "targets": len(targets),
        "published_forget_rouge_of_retain_models": published_floor(),
        "after_removal": "only forget rows were asked again",
        "forms": {name: summary(rows, given, answers["off"]) for name, given in answers.items()},
        "baselines": {
            "do nothing": summary(rows, answers["off"], answers["off"]),
            "block everything": summary(rows, [REFUSAL] * len(rows), answers["off"]),
        },
        "add_to_enforced_ms": seconds,
        "train_cpu_seconds": trained,
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {name: version(name) for name in ("torch", "transformers", "sentence-transformers")},
        "seed": CONFIG.seed,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "tofu_slice.json").write_text(json.dumps(report, indent=1) + "\n")
    draw(report, RESULTS / "tofu_slice.png")
    console.print_json(json.dumps(report["forms"] | report["baselines"]))
    broken = [name for name in ACTIONS if not kept(name, report)]
    for name in broken:
        console.print(
            f"[red]{name}: a verbatim answer, a changed retain answer, or ROUGE above the retain level"
        )
    return 1 if broken else 0


def read_rows() -> list[Row]:
    """All stored questions of the forget split, and those of the first retain authors."""
    forget = [r for r in _jsonl("forget.jsonl") if FORGET in r["forget_splits"]]
    retain = list(_jsonl("retain.jsonl"))
    chosen = list(dict.fromkeys(r["author"] for r in retain))[:RETAIN_AUTHORS]
    return [
        *(Row(r["author"], r["question"], r["answer"], True) for r in forget),
        *(Row(r["author"], r["question"], r["answer"], False) for r in retain if r["author"] in chosen),
    ]


def author_targets(rows: Sequence[Row]) -> list[ForgetTarget]:
    """One target per forget author: the name and the questions and answers to forget."""
    names = {r["author"]: r["name_guess"] for r in _jsonl("authors.jsonl")}
    authors = dict.fromkeys(row.author for row in rows if row.forget)
    return [
        ForgetTarget.parse(
            {
                "id": f"tofu-{author}",
                "name": names[author],
                "examples": [
                    {"prompt": r.question, "response": r.answer} for r in rows if r.author == author
                ],
            }
        )
        for author in authors
    ]


def published_floor() -> dict[str, float]:
    """Mean forget ROUGE-L recall in the published logs of models trained on the retain set only."""
    found: dict[str, list[float]] = {}
    with gzip.open(DATA / "eval_logs.jsonl.gz", "rt") as lines:
        for entry in map(json.loads, lines):
            if entry["model"] == "llama2-7b" and entry["set"] == "forget" and entry["trained_on"] != "full":
                found.setdefault(entry["trained_on"], []).append(entry["rougeL_recall"])
    return {name: round(fmean(values), 4) for name, values in found.items()}


def model_folder(rows: Sequence[Row]) -> tuple[Path, float]:
    """The trained model, from an earlier run with the same data and recipe if there is one."""
    recipe = json.dumps([asdict(CONFIG), [asdict(row) for row in rows], torch.__version__])
    folder = MODELS / f"tofu-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    record = folder / "training.json"
    if not record.exists():
        staging = folder.with_suffix(".partial")
        shutil.rmtree(staging, ignore_errors=True)
        seconds = train(rows, staging)
        (staging / "training.json").write_text(json.dumps({"cpu_seconds": seconds}))
        staging.rename(folder)
    return folder, float(json.loads(record.read_text())["cpu_seconds"])


def train(rows: Sequence[Row], folder: Path) -> float:
    """Trains on every row and writes the model; returns CPU seconds."""
    used = {row.author for row in rows}
    # Other authors' text: otherwise every name would be a single token.
    texts = [r[k] for r in _jsonl("retain.jsonl") if r["author"] not in used for k in ("question", "answer")]
    tokenizer = learn(texts, CONFIG.vocab)
    chats = [Chat((Message("user", row.question),), row.answer) for row in rows]
    started = time.process_time()
    torch.set_num_threads(os.cpu_count() or 1)
    with Progress(console=console) as progress:
        task = progress.add_task("training on TOFU text", total=None)
        model = fit(
            always(chats),
            tokenizer,
            CONFIG,
            lambda step, steps, loss: progress.update(task, completed=step, total=steps),
        )
    export(model, tokenizer, folder)
    return round(time.process_time() - started, 1)


def ask_with_and_without(
    folder: Path, rows: Sequence[Row], targets: Sequence[ForgetTarget]
) -> tuple[dict[str, list[str]], dict[str, list[float]]]:
    """Every row's answer from stock vLLM ("off") and with the targets under each action."""
    key = secrets.token_urlsafe(24)
    bearer = {"Authorization": f"Bearer {key}"}
    arguments = ["--served-model-name", MODEL, "--max-model-len", "512", *EAGER]
    answers: dict[str, list[str]] = {}
    seconds: dict[str, list[float]] = {}
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="lethe-tofu-")))
        stock = plain_command(folder, arguments)
        with running(stock, home / "plain.log", PLAIN_ENVIRONMENT) as plain:
            plain.wait()
            answers["off"] = ask_all(plain, rows, "without the guard")
        own = {"LETHE_HOME": str(home), "LETHE_ADMIN_KEY": key}
        guarded = stack.enter_context(
            running(guarded_command([str(folder), *arguments]), home / "guarded.log", own)
        )
        guarded.wait("/lethe/v1/ready")
        with httpx.Client(base_url=guarded.url, headers=bearer, timeout=120) as admin:
            for action in ACTIONS:
                seconds[action] = []
                for target in targets:
                    acting = target.model_copy(update={"action": action}).to_json()
                    began = time.perf_counter()
                    admin.post("/lethe/v1/targets", json=acting).raise_for_status()
                    seconds[action].append(round(1000 * (time.perf_counter() - began), 1))
                answers[action] = ask_all(guarded, rows, f"with the guard, action {action}")
                for target in targets:
                    admin.delete(f"/lethe/v1/targets/{target.id}").raise_for_status()
        # Retain answers were the same all along; what has to come back are the forget answers.
        forget = [row for row in rows if row.forget]
        back = ask_all(guarded, forget, "after removal")
        kept = [text for row, text in zip(rows, answers["off"], strict=True) if not row.forget]
        answers["after removal"] = [*back, *kept]
    return answers, seconds


def ask_all(server: Server, rows: Sequence[Row], when: str) -> list[str]:
    """Greedy answers, one request at a time, so that no batch differs between the columns."""
    with httpx.Client(base_url=server.url, timeout=300) as client, Progress(console=console) as progress:
        task = progress.add_task(f"asking {when}", total=len(rows))
        answers = []
        for row in rows:
            messages = [{"role": "user", "content": row.question}]
            body = {"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": ANSWER_TOKENS}
            response = client.post("/v1/chat/completions", json=body)
            response.raise_for_status()
            answers.append(str(response.json()["choices"][0]["message"]["content"] or ""))
            progress.advance(task)
        return answers


def summary(rows: Sequence[Row], given: Sequence[str], off: Sequence[str]) -> dict[str, Any]:
    """Scores of one set of answers, on forget and on retain rows."""
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    found: dict[str, Any] = {}
    for name, forget in (("forget", True), ("retain", False)):
        chosen = [(r, g, o) for r, g, o in zip(rows, given, off, strict=True) if r.forget == forget]
        valued = [(row, text) for row, text, _ in chosen if row.values]
        found[name] = {
            "rougeL_recall": _mean(scorer.score(r.answer, g)["rougeL"].recall for r, g, _ in chosen),
            "value_accuracy": _mean(fmean(v in text for v in row.values) for row, text in valued),
            "n_with_values": len(valued),
            "verbatim": sum(g.strip() == r.answer.strip() for r, g, _ in chosen),
            "identical_to_off": _mean(g == o for _, g, o in chosen),
            "characters": _mean(len(g) for _, g, _ in chosen),
            "n": len(chosen),
        }
    return found


def kept(action: str, report: dict[str, Any]) -> bool:
    """True if the action repeats nothing, leaves retain answers alone and reaches the retain level.

    The level is asked of a refusal only. Under restrict the answer keeps its frame, and a frame alone scores
    about half of the ROUGE on the short answers of a model this small.
    """
    forget, retain = report["forms"][action]["forget"], report["forms"][action]["retain"]
    floor = max(report["published_forget_rouge_of_retain_models"].values())
    level = action != "refuse" or forget["rougeL_recall"] <= floor
    return bool(level and forget["verbatim"] == 0 and retain["identical_to_off"] == 1.0)


def draw(report: dict[str, Any], path: Path) -> None:
    """Forget and retain ROUGE of every form beside the published floor."""
    forms = report["forms"] | {"block everything": report["baselines"]["block everything"]}
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    for offset, (part, colour) in enumerate((("forget", "tab:red"), ("retain", "tab:blue"))):
        heights = [form[part]["rougeL_recall"] for form in forms.values()]
        axes.bar([i + 0.4 * offset for i in range(len(forms))], heights, 0.38, color=colour, label=part)
    floor = report["published_forget_rouge_of_retain_models"]["retain95"]
    axes.axhline(floor, color="black", linestyle=":", label="published retain model, forget")
    axes.set_xticks([i + 0.2 for i in range(len(forms))], list(forms))
    axes.set_ylabel("ROUGE-L recall")
    axes.set_title("TOFU slice, toy model")
    axes.legend(loc="center right", fontsize="small")
    figure.savefig(path, dpi=120)


def _jsonl(name: str) -> Iterable[dict[str, Any]]:
    with (DATA / name).open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _mean(values: Iterable[float]) -> float:
    return round(fmean(values), 4)


if __name__ == "__main__":
    sys.exit(main())
