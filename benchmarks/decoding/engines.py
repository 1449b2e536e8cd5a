"""Engines to compare: each in a process of its own, and only one of them working at a time.

Run as a program it is one of those processes: it reads one JSON request a line, works, answers on one line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# In this process, nothing compiled, no measuring run; one thread, so that the other core takes other work.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


@dataclass(frozen=True)
class Setup:
    """How an engine is started.

    Attributes:
        processor: ``module:Class`` of a logits processor, if any.
        config: the engine's additional_config.
        bad_words: words that vLLM's own filter forbids in every request.
    """

    processor: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    bad_words: tuple[str, ...] = ()


class Engine:
    """An engine in a process of its own."""

    def __init__(self, setup: Setup, log: Path) -> None:
        """Starts the process; `ready` waits for it."""
        self._log = log.open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.decoding.engines"],
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._send(asdict(setup))

    def ready(self) -> dict[str, Any]:
        """Returns when the engine has started, with what it says of itself."""
        return self._receive()

    def run(self, batch: int, tokens: int) -> dict[str, float]:
        """Seconds (wall, cpu, and cpu inside the logits processor) to answer a batch."""
        self._send({"batch": batch, "tokens": tokens})
        return self._receive()

    def close(self) -> None:
        """Ends the process."""
        with suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._process.wait(60)
        self._log.close()

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise RuntimeError(f"an engine ended early; see {self._log.name}")


def serve() -> None:
    """Serves requests on standard input until it ends."""
    setup = Setup(**json.loads(sys.stdin.readline()))
    llm, spent = _start(setup)
    prompts = _prompts(llm.get_tokenizer())
    # One processor's seconds are read as a difference, so that loading does not count.
    print(json.dumps({"vocabulary": len(llm.get_tokenizer())}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        batch, tokens = asked["batch"], asked["tokens"]
        params = _params(setup, llm.get_tokenizer(), tokens)
        chosen = [{"prompt_token_ids": prompts[i % len(prompts)]} for i in range(batch)]
        wall, cpu, inside = time.perf_counter(), time.process_time(), spent[0]
        outputs = llm.generate(chosen, params, use_tqdm=False)
        made = sum(len(output.outputs[0].token_ids) for output in outputs)
        print(
            json.dumps(
                {
                    "wall": time.perf_counter() - wall,
                    "cpu": time.process_time() - cpu,
                    "inside": spent[0] - inside,
                    "tokens": made,
                }
            ),
            flush=True,
        )


def _start(setup: Setup) -> tuple[Any, list[float]]:
    """The engine, and a running sum of the seconds spent in its logits processor."""
    from vllm import LLM

    from guard import reference

    spent = [0.0]
    processors = [_timed(setup.processor, spent)] if setup.processor else None
    if setup.bad_words:
        from transformers import AutoTokenizer

        from benchmarks.rivals.bad_words import raise_limits

        raise_limits(setup.bad_words, AutoTokenizer.from_pretrained(reference.path("full")))
    llm = LLM(
        str(reference.path("full")),
        logits_processors=processors,
        additional_config=dict(setup.config),
        enforce_eager=True,
        max_model_len=512,
        max_num_seqs=64,
        seed=0,
        disable_log_stats=True,
        enable_prefix_caching=False,
        logprobs_mode="processed_logprobs",
    )
    return llm, spent


def _timed(name: str, spent: list[float]) -> type:
    """The class, with the time its two methods take per step added up."""
    import importlib

    module, attribute = name.split(":")
    base = getattr(importlib.import_module(module), attribute)

    class Timed(base):  # type: ignore[misc, valid-type]
        def update_state(self, batch_update: Any) -> None:
            began = time.perf_counter()
            super().update_state(batch_update)
            spent[0] += time.perf_counter() - began

        def apply(self, logits: Any, *rest: Any) -> Any:
            began = time.perf_counter()
            logits = super().apply(logits, *rest)
            spent[0] += time.perf_counter() - began
            return logits

    return Timed


def _params(setup: Setup, tokenizer: Any, tokens: int) -> Any:
    from vllm import SamplingParams

    sampling = {"temperature": 0.0, "max_tokens": tokens, "ignore_eos": True, "detokenize": False}
    if setup.bad_words:
        from benchmarks.rivals.bad_words import bad_words_params

        return bad_words_params(setup.bad_words, tokenizer, **sampling)
    return SamplingParams(extra_args={"lethe_targets": []}, **sampling)


def _prompts(tokenizer: Any) -> list[list[int]]:
    """Questions of the reference world, so that the model speaks of names."""
    from guard import reference

    world = reference.build()
    rows = [row for person in world.retain_people[:64] for row in world.rows_of(person)[:1]]
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": row.question}], tokenize=False, add_generation_prompt=True
        )
        for row in rows
    ]
    return [tokenizer.encode(text, add_special_tokens=False) for text in texts]


if __name__ == "__main__":
    serve()
