"""One HTTP request as the edge and the engine side both know it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from guard.pipeline import Mode
from guard.types import Action


@dataclass(slots=True)
class Exchange:
    """What the edge and the engine side tell each other about a request.

    Attributes:
        path: of the HTTP request; the engine method where there is none.
        mode: asked for by a key that may; None leaves it to the server's settings.
        rewritten: the in-context unlearning prompt is in place.
        injected: strings of that prompt which the response may not repeat.
        action: the strongest, where a request holds several prompts; None before the first is judged.
        snapshot: version that judged the prompts.
        request_id: of the first prompt.
    """

    path: str
    mode: Mode | None = None
    rewritten: bool = False
    injected: tuple[str, ...] = ()
    action: Action | None = None
    snapshot: str = ""
    request_id: str = ""

    def tell(self, action: Action, snapshot: str, request_id: str) -> None:
        """Notes what is done to one prompt of the request."""
        if self.action is None or action.strength > self.action.strength:
            self.action = action
        self.snapshot = snapshot
        self.request_id = self.request_id or request_id


exchange: ContextVar[Exchange | None] = ContextVar("lethe_exchange", default=None)
