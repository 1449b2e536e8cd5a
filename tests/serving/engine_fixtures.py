"""The nano world as targets and prompts, and what a vLLM engine makes of them."""

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import pytest

from guard import ForgetTarget
from guard.automaton import automata_of
from guard.phrases import as_phrases, forbidden_phrases
from guard.reference import nano, path

# Before vLLM is imported: the engine in this process, nothing compiled, no measuring run.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TORCHDYNAMO_DISABLE="1",
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_NO_USAGE_STATS="1",
)

ENGINE = [
    pytest.mark.engine,
    # vLLM's kernels wrapper looks at every name of torch.
    pytest.mark.filterwarnings("ignore:`torch.distributed.reduce_op` is deprecated:FutureWarning"),
]
ADMIN_KEY = "test-admin-key"
WORLD = nano()
FORGOTTEN, OTHER = WORLD.forget_people[:2]
RETAINED = WORLD.retain_people[0]
OPTIONS = {
    "enforce_eager": True,
    "max_model_len": 256,
    "max_num_seqs": 16,
    "disable_log_stats": True,
    "logprobs_mode": "processed_logprobs",
    "seed": 0,
}


def model() -> str:
    return str(path("nano-full"))


def target(person=FORGOTTEN, **fields) -> ForgetTarget:
    return ForgetTarget.parse(WORLD.target(person) | {"action": "restrict"} | fields)


@cache
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model())


def chat(question: str) -> list[int]:
    """The prompt of a chat with one user message."""
    text = tokenizer().apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
    return tokenizer().encode(text, add_special_tokens=False)


def questions(person: str, count: int = 4) -> list[str]:
    return [row.question for row in WORLD.rows_of(person)[:count]]


def spells(text: str, *targets: ForgetTarget) -> bool:
    """True if a text contains a forbidden string."""
    phrases = [phrase for t in targets for phrase in as_phrases(t, forbidden_phrases(t))]
    return any(automaton.found_in(text) for automaton in automata_of(phrases))


@dataclass(frozen=True)
class Sample:
    """One completion."""

    tokens: tuple[int, ...]
    text: str
    logprobs: tuple[dict[int, float], ...]
    finish_reason: str


@dataclass(frozen=True)
class Ask:
    """A question to an engine; ``targets`` None sends no guard arguments."""

    question: str
    targets: tuple[str, ...] | None = ()
    count: int = 1
    tokens: int = 24

    def params(self, **more):
        from vllm import SamplingParams

        extra = None if self.targets is None else {"lethe_targets": list(self.targets)}
        sampled = {"temperature": 1.0, "seed": 5} if self.count > 1 else {"temperature": 0.0}
        # Every row runs to the same length, so that batches have the same shape whatever is banned: a
        # different shape alone may round differently.
        fixed = {"max_tokens": self.tokens, "ignore_eos": True, "logprobs": 5, "skip_special_tokens": False}
        return SamplingParams(**({"n": self.count, "extra_args": extra} | sampled | fixed | more))


def answers(llm, asks, **params) -> list[list[Sample]]:
    """The samples of each question, all questions in one batch."""
    prompts = [{"prompt_token_ids": chat(ask.question)} for ask in asks]
    outputs = llm.generate(prompts, [ask.params(**params) for ask in asks], use_tqdm=False)
    return [[_sample(completion) for completion in output.outputs] for output in outputs]


def _sample(completion) -> Sample:
    logprobs = tuple(
        {token: entry.logprob for token, entry in step.items()} for step in completion.logprobs or ()
    )
    return Sample(tuple(completion.token_ids), completion.text, logprobs, completion.finish_reason)


@contextmanager
def engine(**options):
    """A vLLM engine in this process, ended with the block, whoever still holds it."""
    from vllm import LLM

    llm = LLM(model(), **(OPTIONS | options))
    try:
        yield llm
    finally:
        llm.llm_engine.engine_core.shutdown()


def load(llm, directory) -> list[str]:
    """Has the engine enforce the snapshot in a directory; the versions in force, one per worker."""
    llm.collective_rpc("lethe_prepare", args=(str(directory),))
    while not all(versions := llm.collective_rpc("lethe_install")):
        time.sleep(0.01)
    return versions


def wiring(snapshot, router=True) -> dict:
    """Options that put the guard into an engine."""
    from serving.plugin import GuardLogitsProcessor

    return {
        "logits_processors": [GuardLogitsProcessor],
        "worker_extension_cls": "serving.worker.GuardWorker",
        "additional_config": {"lethe": {"snapshot": str(snapshot), "router": router}},
    }
