"""Prompts to the guarded `generate` of an engine in this process, and what came of them."""

import asyncio

from engine_fixtures import FORGOTTEN, RETAINED, WORLD, Ask, chat, questions, target
from prometheus_client import REGISTRY

from serving.workers import EngineWorkers

QUESTION, NEIGHBOUR = questions(FORGOTTEN)[0], questions(RETAINED)[0]
VALUE = WORLD.rows_of(FORGOTTEN)[0].value
NAMED = target(name=None, examples=(), phrases=(FORGOTTEN,), always_on=True)
KINDS = ["DELTA", "CUMULATIVE", "FINAL_ONLY"]


class InProcess:
    """The engine of this process with the interface of a server's engine client."""

    def __init__(self, llm):
        self.llm = llm
        self.requests = []
        self.renderer = llm.llm_engine.renderer

    async def generate(self, prompt, sampling_params, request_id, **options):
        core = self.llm.llm_engine
        self.requests.append(sampling_params)
        given = {"prompt_token_ids": prompt["prompt_token_ids"]}
        name = core.add_request(request_id, given, sampling_params, **options)
        try:
            while core.has_unfinished_requests():
                for output in core.step():
                    yield output
                    await asyncio.sleep(0)
        finally:
            core.abort_request([name], internal=True)

    async def collective_rpc(self, method, timeout=None, args=(), kwargs=None):
        return self.llm.collective_rpc(method, args=args)

    @property
    def workers(self):
        return EngineWorkers(self.collective_rpc)


def prompt(question) -> dict:
    return {"type": "token", "prompt_token_ids": chat(question)}


def sampling(kind="FINAL_ONLY", count=1, **more):
    from vllm.sampling_params import RequestOutputKind

    fixed = {"logprobs": None, "ignore_eos": False, "skip_special_tokens": True}
    return Ask("", None, count, 40).params(output_kind=RequestOutputKind[kind], **(fixed | more))


async def run(generate, question, params) -> list:
    return [output async for output in generate(prompt(question), params, "request-1")]


def counted(name, **labels) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def text_of(outputs, kind, index=0) -> str:
    pieces = [c.text for output in outputs for c in output.outputs if c.index == index]
    return "".join(pieces) if kind == "DELTA" else pieces[-1]


def tokens_of(outputs, kind, index=0) -> list[int]:
    pieces = [list(c.token_ids) for output in outputs for c in output.outputs if c.index == index]
    return [token for piece in pieces for token in piece] if kind == "DELTA" else pieces[-1]
