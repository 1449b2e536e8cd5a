"""Token sequences and how far a response has come in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Node:
    """A partial match: the first ``depth`` tokens of some phrase."""

    depth: int
    shortest: int  # tokens of the shortest phrase through here
    children: dict[int, Node] = field(default_factory=dict)


class TokenTrie:
    """The hard match of GUARD (arXiv 2505.13312): the token ids of each phrase.

    A phrase of n tokens is forbidden from its first ceil(beta * n) on; at beta 1 only the whole phrase is.
    """

    def __init__(self, phrases: Iterable[Sequence[int]], beta: float) -> None:
        """Builds the trie.

        Args:
            phrases: token ids of each phrase; empty ones are left out.
            beta: fraction of a phrase's tokens, in (0, 1], from which it is forbidden.
        """
        self._beta = beta
        self._root = Node(0, 0)
        for phrase in phrases:
            node = self._root
            for depth, token_id in enumerate(phrase, 1):
                node = node.children.setdefault(token_id, Node(depth, len(phrase)))
                node.shortest = min(node.shortest, len(phrase))

    def advance(self, active: Sequence[Node], token_id: int) -> tuple[tuple[Node, ...], bool]:
        """The partial matches that end at the new token, and whether one of them is forbidden.

        Args:
            active: partial matches that end at the token before; empty at the start.
            token_id: the new token.
        """
        nodes = (node.children.get(token_id) for node in (self._root, *active))
        reached = tuple(node for node in nodes if node is not None)
        # The tolerance keeps 0.3 * 10 from being more than 3.
        return reached, any(node.depth >= self._beta * node.shortest - 1e-9 for node in reached)
