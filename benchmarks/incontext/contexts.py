"""What stands before a question: nothing, examples or an instruction."""

from __future__ import annotations

import random
from collections.abc import Callable

from benchmarks.incontext.scoring import Messages
from guard import ForgetTarget
from guard.incontext import InContext, inject
from guard.incontext.icul import chosen
from guard.incontext.placement import in_system
from guard.reference import World

NEIGHBORS = 60  # of which the first that tell nothing of the target are shown

Context = Callable[[str, ForgetTarget], Messages]


def contexts(shots: int) -> dict[str, Context]:
    """What stands before the question, by name; the first leaves it bare."""

    def bare(question: str, target: ForgetTarget) -> Messages:
        return [{"role": "user", "content": question}]

    def built(config: InContext) -> Context:
        return lambda question, target: inject(bare(question, target), [target], config).messages

    def random_first(question: str, target: ForgetTarget) -> Messages:
        _, retain = chosen([target.model_copy(update={"examples": ()})], question, flipped)
        lines = "\n".join(f"Q: {shot.question}\nA: {shot.answer}" for shot in retain)
        return in_system(bare(question, target), lines)

    def turns(question: str, target: ForgetTarget) -> Messages:
        forget, retain = chosen([target], question, flipped)
        said = [
            {"role": role, "content": text}
            for shot in (*forget, *retain)
            for role, text in (("user", shot.question), ("assistant", shot.answer))
        ]
        return [*said, *bare(question, target)]

    flipped = InContext("icul", shots=shots, substitute="value")
    return {
        "no context (do nothing)": bare,
        "ICUL, flipped": built(flipped),
        "ICUL, flipped, as turns": turns,
        "ICUL, refusals": built(InContext("icul", shots=shots)),
        "ICUL, true answer kept": built(InContext("icul", "full", shots=shots, substitute="kept")),
        "random example first": random_first,
        "ICU instruction": built(InContext()),
        "ICU instruction, repeated": built(InContext(repeat=2)),
    }


def target_of(world: World, person: str, draw_: random.Random) -> ForgetTarget:
    """The target of a person; its neighbors are drawn at random, as the paper's other examples are."""
    others = [{"prompt": r.question, "response": r.answer} for r in draw_.sample(world.retain, NEIGHBORS)]
    return ForgetTarget.parse(world.target(person) | {"neighbors": others})
