"""A client that changes targets over HTTP, and remembers what was acknowledged."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from benchmarks.durable.server import KEY
from serving.admin import PREFIX

MANY = (20, 250)  # targets of one import: fewest, most
REPLAYED = "Idempotent-Replayed"

Document = Mapping[str, Any]
Effect = Mapping[str, Document | None]
"""What a change makes of targets, by id; None: it removes them."""


@dataclass(frozen=True, slots=True)
class Order:
    """One change as it is sent; its token makes it the same one when it is sent again."""

    token: str
    kind: Literal["import", "add", "replace", "remove"]
    effect: Effect

    def send(self, client: httpx.Client) -> httpx.Response:
        """The answer. Raises httpx.TransportError if there is none."""
        (target_id, document), *_ = self.effect.items()
        headers = {"Idempotency-Key": self.token}
        if self.kind == "import":
            lines = "\n".join(json.dumps(document) for document in self.effect.values())
            return client.post("/targets/import", content=lines, headers=headers)
        if self.kind == "add":
            return client.post("/targets", json=document, headers=headers)
        if self.kind == "replace":
            return client.put(f"/targets/{target_id}", json=document, headers=headers)
        return client.delete(f"/targets/{target_id}", headers=headers)


@dataclass
class Client:
    """Sends one order after the other. Its ids begin with its name, so that clients do not meet.

    Attributes:
        name: of the client.
        rng: decides what is sent.
        known: targets as acknowledged.
        pending: sent, but never answered.
        done: whether the database says that it was done; None: nobody has looked.
        acknowledged: number of orders.
        targets: number of targets that acknowledged orders concerned.
        resent: orders that were sent again: done before / not done before.
    """

    name: str
    rng: random.Random
    known: dict[str, Document] = field(default_factory=dict)
    pending: Order | None = None
    done: bool | None = None
    acknowledged: int = 0
    targets: int = 0
    resent: list[int] = field(default_factory=lambda: [0, 0])
    _number: int = 0

    def work(self, port: int) -> Iterator[None]:
        """Sends orders until the server is gone; yields after every acknowledgement.

        Raises:
            RuntimeError: the server refused an order, or does one again that was done.
        """
        headers = {"Authorization": f"Bearer {KEY}"}
        url = f"http://127.0.0.1:{port}{PREFIX}"
        with httpx.Client(base_url=url, headers=headers, timeout=120) as client:
            while True:
                again = self.pending is not None
                self.pending = order = self.pending or self._order()
                try:
                    answer = order.send(client)
                except httpx.TransportError:
                    return
                if answer.is_error:
                    raise RuntimeError(
                        f"{order.kind} was refused with {answer.status_code}: {answer.text[:200]}"
                    )
                if again:
                    replayed = REPLAYED in answer.headers
                    self.resent[not replayed] += 1
                    if self.done is not None and self.done != replayed:
                        raise RuntimeError(f"{order.kind} was done twice, or not at all")
                self._take(order)
                yield

    def after(self, order: Order | None) -> dict[str, Document]:
        """The targets there are if an order was done too."""
        changed = dict(self.known)
        for target_id, document in order.effect.items() if order else ():
            if document is None:
                changed.pop(target_id)
            else:
                changed[target_id] = document
        return changed

    def _take(self, order: Order) -> None:
        self.known = self.after(order)
        self.pending = self.done = None
        self.acknowledged += 1
        self.targets += len(order.effect)

    def _order(self) -> Order:
        self._number += 1
        token = f"{self.name}-{self._number}"
        kinds: list[Literal["import", "add", "replace", "remove"]] = ["import", "add"]
        kind = self.rng.choice([*kinds, "replace", "remove"] if self.known else kinds)
        if kind == "import":
            made = (self._document(f"{token}-{n}") for n in range(self.rng.randint(*MANY)))
            return Order(token, kind, {str(document["id"]): document for document in made})
        if kind == "add":
            return Order(token, kind, {f"{token}-0": self._document(f"{token}-0")})
        target_id = self.rng.choice(sorted(self.known))
        effect = {target_id: None if kind == "remove" else self._document(target_id)}
        return Order(token, kind, effect)

    def _document(self, target_id: str) -> Document:
        phrase = f"{target_id} {self.rng.getrandbits(32):x}"
        return {"id": target_id, "kind": "text", "phrases": [phrase], "action": "restrict"}
