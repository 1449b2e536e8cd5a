"""Run as a program: answers the same questions under vLLM's second model runner, three times over.

Prints one JSON object: the answers of the bare engine, of the guarded one, and of the guarded one with
speculative decoding, in which the model drafts for itself.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from engine_fixtures import FORGOTTEN, RETAINED, Ask, answers, engine, model, questions, target, wiring

from guard.snapshot import compile_snapshot

DRAFT = {"method": "draft_model", "model": model(), "num_speculative_tokens": 3}
GREEDY = [
    *(Ask(question, (target().id,)) for question in questions(FORGOTTEN, 3)),
    *(Ask(question) for question in questions(RETAINED, 3)),
]
SEVERAL = [Ask(questions(FORGOTTEN)[0], (target().id,), count=3), Ask(questions(RETAINED)[0], count=3)]


def main(directory: Path) -> dict:
    snapshot = compile_snapshot([target()]).save(directory)
    results = {}
    for name, options in {
        "bare": {},
        "guarded": wiring(snapshot),
        "speculative": wiring(snapshot) | {"speculative_config": DRAFT, "disable_log_stats": False},
    }.items():
        with engine(**options) as llm:
            runner = llm.llm_engine.vllm_config.use_v2_model_runner
            asks = GREEDY if name == "speculative" else GREEDY + SEVERAL
            found = [[asdict(sample) for sample in samples] for samples in answers(llm, asks)]
            drafts = drafted(llm) if name == "speculative" else {}
            results[name] = {"v2": runner, "answers": found} | drafts
    return results


def drafted(llm) -> dict:
    counters = {metric.name: getattr(metric, "value", None) for metric in llm.get_metrics()}
    return {
        "drafted": counters["vllm:spec_decode_num_draft_tokens"],
        "accepted": counters["vllm:spec_decode_num_accepted_tokens"],
    }


if __name__ == "__main__":
    out = main(Path(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(out))
