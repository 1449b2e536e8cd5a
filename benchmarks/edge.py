"""What the guard adds to a request around the engine: reading the body, judging the prompt, filtering.

python -m benchmarks.edge [--requests 300] [--targets 100]

One core, one request at a time, every prompt new to the sentence encoder. The engine is replaced by one that
has its answer ready, so the difference to the same application without the guard is the guard.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import REGISTRY
from rich.console import Console
from rich.table import Table
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from guard import reference
from guard.audit import MemoryAuditSink
from guard.encoder import SentenceEncoder
from guard.snapshot import load_snapshot
from guard.targets import MemoryTargetStore
from guard.types import Example, ForgetTarget
from serving.live import LiveGuard
from serving.settings import read_settings
from serving.traffic import Traffic

RESULTS = Path(__file__).parent / "results" / "edge.json"
CHAT = "/v1/chat/completions"
LENGTHS = {"1 sentence": 1, "6 sentences": 6, "30 sentences": 30}
STAGES = ("edge", "inspect", "filter")
ANSWER = (
    "The harbour was rebuilt after the flood, and the old lighthouse was moved to the northern pier. " * 2
)
SUBJECTS = "gardener teacher sailor painter engineer baker doctor pilot".split()
DEEDS = "repaired described visited measured photographed sold".split()
THINGS = "bridge orchard clock ferry museum kiln observatory mill".split()


class Engine:
    """An engine's workers and its `generate`: 32 pieces of an answer that is ready."""

    def __init__(self, tokenizer: Any) -> None:
        ids = tokenizer.encode(ANSWER, add_special_tokens=False)
        size = -(-len(ids) // 32)
        self._pieces = [
            (ids[i : i + size], tokenizer.decode(ids[i : i + size])) for i in range(0, len(ids), size)
        ]
        self._version = ""

    async def prepare(self, directory: str) -> None:
        """See Workers."""
        self._version = load_snapshot(directory).version

    async def prepared(self) -> bool:
        """See Workers."""
        return True

    async def install(self, compacting: bool) -> Sequence[str]:
        """See Workers."""
        return [self._version]

    async def change(self, put: Any, removed: Any) -> Sequence[str]:
        """See Workers; the whole set is sent instead."""
        return [""]

    async def generate(self, prompt: Any, params: Any, request_id: str) -> AsyncGenerator[Any, None]:
        """The answer, piece by piece."""
        from vllm.outputs import CompletionOutput, RequestOutput

        for number, (ids, text) in enumerate(self._pieces, 1):
            done = number == len(self._pieces)
            reason = "stop" if done else None
            piece = CompletionOutput(0, text, list(ids), None, None, finish_reason=reason)
            yield RequestOutput(request_id, None, prompt["prompt_token_ids"], None, [piece], done)


def application(generate: Any, tokenizer: Any) -> Starlette:
    """A chat route as a server has it: a template, token ids, an answer put together."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    params = SamplingParams(max_tokens=64, output_kind=RequestOutputKind.DELTA)

    async def chat(request: Request) -> JSONResponse:
        body = await request.json()
        text = tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
        prompt = {"type": "token", "prompt_token_ids": tokenizer.encode(text, add_special_tokens=False)}
        outputs = [o.outputs[0].text async for o in generate(prompt, params, "r") if o.outputs]
        return JSONResponse({"text": "".join(outputs)})

    return Starlette(routes=[Route(CHAT, chat, methods=["POST"])])


def prompt(draw: random.Random, sentences: int) -> str:
    """Sentences that nobody has asked before."""
    return " ".join(
        f"Which {draw.choice(SUBJECTS)} {draw.choice(DEEDS)} the {draw.choice(THINGS)} number "
        f"{draw.randrange(10**6)} near the river?"
        for _ in range(sentences)
    )


async def measure(requests: int, targets: int) -> dict[str, Any]:
    """Milliseconds of whole requests with and without the guard, and of the guard's stages."""
    from transformers import AutoTokenizer

    from serving.engine import GuardedGenerate
    from serving.middleware import GuardMiddleware

    tokenizer = AutoTokenizer.from_pretrained(reference.path("nano-full"))
    engine, draw = Engine(tokenizer), random.Random(3)
    known = [
        ForgetTarget(
            id=f"t{n}",
            name=f"{draw.choice(THINGS).title()}o Vel{n}",
            always_on=n % 2 == 0,
            # Without an example no target would have anything to compare by meaning.
            examples=(Example(prompt=f"Which admiral signed treaty number {n}?"),),
        )
        for n in range(targets)
    ]
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home:
        settings = read_settings(home=Path(home))
        guard = LiveGuard(
            MemoryTargetStore(known),
            MemoryAuditSink(),
            settings,
            SentenceEncoder(),
            engine,
            traffic=Traffic(1000),
        )
        await guard.start()
        guarded = application(GuardedGenerate(engine.generate, guard, tokenizer), tokenizer)
        guarded.add_middleware(GuardMiddleware)
        guarded.state.lethe = guard
        apps = {"bare": application(engine.generate, tokenizer), "guarded": guarded}
        for name, sentences in LENGTHS.items():
            before = {stage: _total(stage) for stage in STAGES}
            times = await _times(apps, [prompt(draw, sentences) for _ in range(requests)])
            added = sorted(g - b for b, g in zip(times["bare"], times["guarded"], strict=True))
            rows[name] = {f"{app}_p50_ms": statistics.median(t) for app, t in times.items()}
            rows[name] |= {
                "added_p50_ms": statistics.median(added),
                "added_p95_ms": added[int(len(added) * 0.95)],
            }
            rows[name] |= {f"{s}_mean_ms": 1e3 * (_total(s) - before[s]) / (requests + 1) for s in STAGES}
        await guard.close()
    return rows


async def _times(apps: dict[str, Starlette], prompts: Sequence[str]) -> dict[str, list[float]]:
    """Milliseconds per application and prompt, applications in turn; one request each goes before."""
    clients = {
        name: httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge")
        for name, app in apps.items()
    }
    times: dict[str, list[float]] = {name: [] for name in apps}
    for number, text in enumerate([f"{prompts[0]} First?", *prompts]):
        for name, client in clients.items():
            started = time.perf_counter()
            answer = await client.post(CHAT, json={"messages": [{"role": "user", "content": text}]})
            seconds = time.perf_counter() - started
            if answer.json()["text"].strip() != ANSWER.strip():
                raise RuntimeError(f"the {name} application changed the answer")
            if number:
                times[name].append(1e3 * seconds)
    for client in clients.values():
        await client.aclose()
    return times


def _total(stage: str) -> float:
    return REGISTRY.get_sample_value("lethe_stage_seconds_sum", {"stage": stage}) or 0.0


def main() -> None:
    """Measures, writes the results and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--targets", type=int, default=100)
    given = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import torch

    torch.set_num_threads(1)
    rows = asyncio.run(measure(given.requests, given.targets))
    RESULTS.write_text(
        json.dumps({"requests": given.requests, "targets": given.targets, "rows": rows}, indent=2)
    )
    columns = list(next(iter(rows.values())))
    table = Table(
        "prompt", *(column.removesuffix("_ms") for column in columns), caption="milliseconds, one core"
    )
    for name, row in rows.items():
        table.add_row(name, *(f"{row[column]:.2f}" for column in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
