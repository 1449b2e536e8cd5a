"""One request at text level: prompt -> verdict -> plan -> filtered response. Read this file first.

``guard.restriction`` is the same story at token level.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from guard.classifier import Classifier
from guard.incontext import InContext, Injected, automata, inject
from guard.judgement import Routing
from guard.response import ResponseFilter
from guard.snapshot import Snapshot
from guard.types import Action, ForgetTarget, Restriction, Verdict

Mode = Literal["enforce", "observe"]
"""Whether a verdict is carried out, or only counted and recorded."""

REFUSAL = "I'm sorry, but I have no information about that."
NEUTRAL = "I don't have any information on that."
_IN_CONTEXT = InContext()


@dataclass(frozen=True, slots=True)
class Forms:
    """How a suppressed answer reads."""

    refusal: str = REFUSAL  # text of a refusal
    neutral: str = NEUTRAL  # text that leaves open whether anything is guarded
    disclose: bool = True  # False: neutral text, ordinary finish reason, no guard headers

    @property
    def text(self) -> str:
        """The text a client gets in place of an answer."""
        return self.refusal if self.disclose else self.neutral

    @property
    def finish_reason(self) -> str:
        """The finish reason that goes with the text."""
        return "content_filter" if self.disclose else "stop"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to one request."""

    verdict: Verdict
    action: Action
    restriction: Restriction
    refusal: str | None = None  # answer with this text and do not generate
    observed: Action | None = None  # what would have been done, where it is only observed
    injected: tuple[str, ...] = ()  # strings put into the prompt, which the response may not repeat


@dataclass(frozen=True)
class Pipeline:
    """The guard at one snapshot version; immutable, so a request never changes targets mid-flight."""

    snapshot: Snapshot
    classifier: Classifier
    forms: Forms = field(default_factory=Forms)
    on_error: Callable[[Exception], None] = lambda error: None

    def inspect(self, segments: Sequence[str]) -> Verdict:
        """The verdict on a prompt given as its messages or other natural segments.

        Fails closed: when a detector breaks the verdict is a refusal without matches.
        """
        started = time.perf_counter()
        try:
            routing = self.classifier.route(segments)
            error = None
        except Exception as failure:
            self.on_error(failure)
            routing, error = Routing(), type(failure).__name__
        matches = routing.matches
        actions = [Action(self.snapshot.targets[match.target_id].action) for match in matches]
        action = max(actions, key=lambda a: a.strength, default=Action.REFUSE if error else Action.ALLOW)
        seconds = time.perf_counter() - started
        return Verdict(action, matches, self.snapshot.version, seconds, error, routing.watched)

    def plan(
        self,
        verdict: Verdict,
        *,
        rewritten: bool = False,
        injected: tuple[str, ...] = (),
        mode: Mode = "enforce",
    ) -> Plan:
        """What to do about a verdict.

        Args:
            verdict: from `inspect`.
            rewritten: the in-context unlearning prompt is in place; without it (a route that has no
                messages) ``rewrite`` is carried out as ``restrict``, as is ``steer`` without an autoencoder.
            injected: strings of that prompt which the response may not repeat.
            mode: under ``observe`` nothing changes; the plan says what would have been done.
        """
        enforced = tuple(
            target_id
            for target_id in (*verdict.target_ids, *verdict.watched)
            if Action(self.snapshot.targets[target_id].action).enforces
        )
        restriction = Restriction(self.snapshot.version, enforced)
        action = verdict.action
        if action is Action.STEER or (action is Action.REWRITE and not rewritten):
            action = Action.RESTRICT
        if mode == "observe":
            seen = Action.OBSERVE if action is not Action.ALLOW else action
            return Plan(verdict, seen, restriction, observed=action)
        refusal = self.forms.text if action is Action.REFUSE else None
        return Plan(verdict, action, restriction, refusal, injected=injected)

    def rewrite(
        self, messages: Sequence[dict[str, object]], verdict: Verdict, config: InContext = _IN_CONTEXT
    ) -> Injected:
        """The messages with the in-context unlearning prompt for the matched targets."""
        targets = [self.snapshot.targets[target_id] for target_id in verdict.target_ids]
        enforced = [target for target in targets if Action(target.action).enforces]
        if config.builder != "icu":
            enforced = [self._apart(target) for target in enforced]
        return inject(messages, enforced, config)

    def response_filter(self, plan: Plan) -> ResponseFilter:
        """A fresh filter for one response of a planned request."""
        forbidden = self.snapshot.automata(plan.restriction.target_ids)
        return ResponseFilter((*forbidden, *automata(plan.injected)))

    def _apart(self, target: ForgetTarget) -> ForgetTarget:
        """The target without neighbors that concern a target themselves: shown, they would tell of it."""
        texts = [(neighbor.prompt, neighbor.response) for neighbor in target.neighbors]
        found = zip(target.neighbors, self.classifier.matches_each(texts), strict=True)
        kept = tuple(neighbor for neighbor, matches in found if not matches)
        return target.model_copy(update={"neighbors": kept})

    def release(self, prompt: Sequence[str], response: str) -> tuple[Verdict, str]:
        """The verdict on a prompt and what a client receives if the model answers ``response``."""
        verdict = self.inspect(prompt)
        plan = self.plan(verdict)
        if plan.refusal is not None:
            return verdict, plan.refusal
        response_filter = self.response_filter(plan)
        return verdict, response_filter.feed(response) + response_filter.finish()
