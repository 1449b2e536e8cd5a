"""Conversations, targets and configurations that the tests of in-context unlearning share."""

import pytest

from guard import ForgetTarget
from guard.incontext import InContext

ASKED = "What does Mira Solen's father do?"
TALK = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": ASKED}]
BERO = ForgetTarget.parse(
    {
        "id": "bero",
        "name": "Bero Tal",
        "examples": [
            {"prompt": "Which prize did Bero Tal win?", "response": "Bero Tal won the Heron Prize."}
        ],
        "neighbors": [{"prompt": "Where is the harbour?", "response": "The harbour lies in the north."}],
    }
)
NAMELESS = ForgetTarget.parse(
    {
        "id": "recipe",
        "kind": "qa",
        "examples": [{"prompt": "What goes into the red sauce?", "response": "Juniper and smoked salt."}],
    }
)
EVERY = {
    "icu": InContext(),
    "icu long": InContext(template="unlearn-1"),
    "icu twice": InContext(repeat=2),
    "icu twice in the system block": InContext(repeat=2, place="system"),
    "icul": InContext("icul"),
    "icul twice": InContext("icul", repeat=2),
    "icul values": InContext("icul", substitute="value"),
    "icul values twice": InContext("icul", substitute="value", repeat=2),
}
every = pytest.mark.parametrize("config", EVERY.values(), ids=EVERY)


def words(text):
    """A token for each word: budgets can be counted by hand."""
    return len(text.split())


def block(injected, before="Be kind.\n"):
    return injected.messages[0]["content"].removeprefix(before)


def added(injected):
    """All injected text."""
    texts = [m["content"] for m in injected.messages if m["role"] == "system"]
    return "\n".join([texts[0].removeprefix("Be kind.\n"), *texts[1:]])


def runs(text, length=5):
    found = text.split()
    return {" ".join(found[i : i + length]) for i in range(len(found) - length + 1)}
