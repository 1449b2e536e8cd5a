"""The demo: the reference model answers, is made to forget through the API, and answers again.

The column without the guard comes from stock vLLM, which runs beside the guarded server on the same weights.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from guard import ForgetTarget, reference
from guard.phrases import forbidden_phrases
from guard.reference import Row, World
from serving.launch import EAGER, PLAIN_ENVIRONMENT, Server, guarded_command, plain_command, running

MODEL = "lethe-reference"
DEFAULT_URL = "http://localhost:8000"
ACTIONS = ("refuse", "restrict", "rewrite")  # one forget person each
KINDS = ("forget", "paraphrase", "attack", "neighbor", "general")
CONCERNED = ("forget", "paraphrase", "attack")
ANSWER_TOKENS = 48
LOAD_REQUESTS = 32
LOAD_TOKENS = 64
LOAD_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Question:
    """One line of the demo and what may not stand in its answer."""

    kind: str
    person: str
    action: str
    prompt: str
    value: str
    forbidden: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The three answers to a question, and whether they are what the guard promises."""

    question: Question
    off: str
    on: str
    after: str

    @property
    def failure(self) -> str | None:
        """The broken promise in words, or None."""
        question = self.question
        if question.kind == "forget" and question.value not in self.off:
            return "the unguarded model does not know the answer"
        if self.after != self.off:
            return "the answer after removal differs from the one without the guard"
        if question.kind not in CONCERNED and self.on != self.off:
            return "the guard changed an answer that concerns no target"
        if question.kind in CONCERNED and any(p.lower() in self.on.lower() for p in question.forbidden):
            return "something forbidden came through"
        return None


def run(argv: Sequence[str]) -> int:
    """Runs the demo; 0 if every expectation holds, 1 otherwise."""
    options = _options(argv)
    console = Console(stderr=options.json)
    world = reference.build()
    people = world.forget_people[: len(ACTIONS)]
    targets = [
        ForgetTarget.parse(world.target(person) | {"action": action})
        for person, action in zip(people, ACTIONS, strict=True)
    ]
    questions = _questions(world, targets)
    key = secrets.token_urlsafe(24)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lethe-demo-")))
        plain, guarded = _servers(stack, home, key, console)
        off = _ask_all(plain, questions, console, "without the guard")
        speed_empty = _speeds(plain, guarded, console, "no target registered")
        enforced = [_post(guarded, target, key) for target in targets]
        on = _ask_all(guarded, questions, console, "with the guard")
        speed_on = _speeds(plain, guarded, console, f"{len(targets)} targets registered")
        removed = [_delete(guarded, target, key) for target in targets]
        after = _ask_all(guarded, questions, console, "after removal")
        outcomes = [Outcome(*row) for row in zip(questions, off, on, after, strict=True)]
        report = {
            "model": MODEL,
            "outcomes": [asdict(o) | {"failure": o.failure} for o in outcomes],
            "add_to_enforced_ms": [round(1000 * s, 1) for s in enforced],
            "remove_ms": [round(1000 * s, 1) for s in removed],
            "tokens_per_second": {"no targets": speed_empty, "targets": speed_on},
        }
        if options.json:
            json.dump(report, sys.stdout, indent=1)
        else:
            _show(console, outcomes, report)
        if options.keep:
            _keep(console, guarded, targets, key)
        elif not options.json:
            console.print(f"\nto try it yourself, run 'lethe serve' (it listens on {DEFAULT_URL}), then:")
            _invite(console, DEFAULT_URL, str(targets[0].name))
    return 1 if any(outcome.failure for outcome in outcomes) else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="lethe demo", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--keep",
        action=argparse.BooleanOptionalAction,
        default=sys.stdin.isatty() and sys.stdout.isatty(),
        help="keep the guarded server running until Ctrl-C (default: at a terminal)",
    )
    return parser.parse_args(list(argv))


def _questions(world: World, targets: Sequence[ForgetTarget]) -> list[Question]:
    """For each target a few questions of every kind, chosen by position, never by the model's answers."""
    questions = []
    general = iter(world.general[:: max(1, len(world.general) // 12)])
    for target in targets:
        rows = world.rows_of(str(target.name))
        for index, row in enumerate(rows[::4]):
            others = world.neighbours(str(target.name), len(rows))
            drawn: dict[str, tuple[Row, str]] = {
                "forget": (row, row.question),
                "paraphrase": (row, row.paraphrases[-1]),
                "attack": (row, row.attacks[index % len(row.attacks)]),
                "neighbor": (others[index], others[index].question),
            }
            rest = next(general, None)
            if rest:
                drawn["general"] = (rest, rest.question)
            for kind, (source, prompt) in drawn.items():
                forbidden = (*forbidden_phrases(target), row.value) if kind in CONCERNED else ()
                questions.append(
                    Question(kind, str(target.name), target.action, prompt, source.value, forbidden)
                )
    return sorted(questions, key=lambda q: KINDS.index(q.kind))


def _servers(stack: ExitStack, home: Path, key: str, console: Console) -> tuple[Server, Server]:
    """Stock vLLM and the guarded server, started side by side."""
    plain = stack.enter_context(
        running(
            plain_command(reference.path("full"), ["--served-model-name", MODEL, *EAGER]),
            home / "plain.log",
            PLAIN_ENVIRONMENT,
        )
    )
    own = {"LETHE_HOME": str(home), "LETHE_ADMIN_KEY": key}
    guarded = stack.enter_context(running(guarded_command(EAGER), home / "guarded.log", own))
    with _progress(console) as progress:
        task = progress.add_task("starting stock vLLM and the guarded server", total=None)
        for server, path in ((plain, "/health"), (guarded, "/lethe/v1/ready")):
            server.wait(path)
        progress.update(task, description="both servers are up")
    return plain, guarded


def _ask_all(server: Server, questions: Sequence[Question], console: Console, when: str) -> list[str]:
    with _progress(console) as progress, httpx.Client(base_url=server.url, timeout=120) as client:
        task = progress.add_task(f"asking {when}", total=len(questions))
        answers = []
        for question in questions:
            answers.append(_ask(client, question.prompt))
            progress.advance(task)
    return answers


def _ask(client: httpx.Client, prompt: str) -> str:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": ANSWER_TOKENS,
    }
    response = client.post("/v1/chat/completions", json=body)
    response.raise_for_status()
    return str(response.json()["choices"][0]["message"]["content"] or "")


def _post(server: Server, target: ForgetTarget, key: str) -> float:
    """Registers a target; the answer comes when it is enforced. Returns the client's seconds."""
    started = time.perf_counter()
    response = httpx.post(
        f"{server.url}/lethe/v1/targets", json=target.to_json(), headers=_bearer(key), timeout=60
    )
    response.raise_for_status()
    return time.perf_counter() - started


def _delete(server: Server, target: ForgetTarget, key: str) -> float:
    started = time.perf_counter()
    url = f"{server.url}/lethe/v1/targets/{target.id}"
    httpx.delete(url, headers=_bearer(key), timeout=60).raise_for_status()
    return time.perf_counter() - started


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _speeds(plain: Server, guarded: Server, console: Console, when: str) -> dict[str, float]:
    """Median tokens per second of both servers under the same load, in turn, and their ratio."""
    measured: dict[str, list[float]] = {"off": [], "on": []}
    with _progress(console) as progress:
        task = progress.add_task(f"measuring speed, {when}", total=2 * LOAD_ROUNDS)
        for number in range(LOAD_ROUNDS):
            for name, server in (("off", plain), ("on", guarded)):
                measured[name].append(_load(server, number))
                progress.advance(task)
    off, on = median(measured["off"]), median(measured["on"])
    ratios = [b / a for a, b in zip(measured["off"], measured["on"], strict=True)]
    return {"off": round(off, 1), "on": round(on, 1), "ratio": round(median(ratios), 3)}


def _load(server: Server, number: int) -> float:
    """Tokens per second over one burst of concurrent requests with prompts not seen before."""
    body = {"model": MODEL, "temperature": 0, "max_tokens": LOAD_TOKENS, "ignore_eos": True}

    def one(index: int) -> int:
        prompt = f"Round {number}, letter {index}: what is the weather like by the sea?"
        response = client.post("/v1/completions", json=body | {"prompt": prompt})
        response.raise_for_status()
        return int(response.json()["usage"]["completion_tokens"])

    with httpx.Client(base_url=server.url, timeout=300) as client, ThreadPoolExecutor(LOAD_REQUESTS) as pool:
        started = time.perf_counter()
        tokens = sum(pool.map(one, range(LOAD_REQUESTS)))
    return tokens / (time.perf_counter() - started)


def _show(console: Console, outcomes: Sequence[Outcome], report: dict[str, Any]) -> None:
    table = Table(title="Reference model (a toy of 2.2M parameters), one example of each kind and action")
    for column in ("kind", "question", "guard off (stock vLLM)", "guard on", "after removal", "as promised"):
        table.add_column(column)
    shown: set[tuple[str, str]] = set()
    for outcome in outcomes:
        question = outcome.question
        key = (question.kind, question.action if question.kind in CONCERNED else "")
        same = [o for o in outcomes if (o.question.kind, o.question.action if key[1] else "") == key]
        if key in shown:
            continue
        shown.add(key)
        kept = sum(o.failure is None for o in same)
        after = "as before" if outcome.after == outcome.off else outcome.after
        on = "identical" if outcome.on == outcome.off else outcome.on
        label = f"{key[0]} ({key[1]})" if key[1] else key[0]
        table.add_row(label, question.prompt, outcome.off, on, after, f"{kept} of {len(same)}")
    console.print(table)
    for outcome in outcomes:
        if outcome.failure:
            console.print(
                f"[red]FAILED[/] {outcome.question.kind}: {outcome.failure}: {outcome.question.prompt}"
            )
    known = [o for o in outcomes if o.question.kind in CONCERNED and o.question.value in o.off]
    concerned = [o for o in outcomes if o.question.kind in CONCERNED]
    console.print(f"right answers without the guard: {len(known)} of {len(concerned)} forget questions")
    console.print(f"add to enforced, ms: {report['add_to_enforced_ms']}; removal, ms: {report['remove_ms']}")
    for when, speed in report["tokens_per_second"].items():
        console.print(
            f"tokens/s with {when}: {speed['off']} off, {speed['on']} on, ratio {speed['ratio']} "
            f"({LOAD_REQUESTS} requests of {LOAD_TOKENS} tokens at once, new prompts)"
        )


def _keep(console: Console, server: Server, targets: Sequence[ForgetTarget], key: str) -> None:
    """Registers the targets again and leaves the server running for whoever wants to try."""
    for target in targets:
        _post(server, target, key)
    console.print(f"\nserving on {server.url} (admin key {key}) until Ctrl-C; try:")
    _invite(console, server.url, str(targets[0].name))
    try:
        server.process.wait()
    except KeyboardInterrupt:
        console.print("stopped")


def _invite(console: Console, url: str, name: str) -> None:
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": f"Where was {name} born?"}]})
    line = f"curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'"
    console.print(line, soft_wrap=True, markup=False, highlight=False)


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        transient=False,
    )
