"""Targets and an encoder shared by the guard's tests."""

import pytest

from guard import ForgetTarget
from guard.encoder import SentenceEncoder


@pytest.fixture(scope="session")
def encoder() -> SentenceEncoder:
    """The bundled MiniLM, loaded once."""
    return SentenceEncoder()


@pytest.fixture
def mira() -> ForgetTarget:
    """An entity with examples and a neighbor."""
    return ForgetTarget.parse(
        {
            "id": "mira",
            "name": "Mira Solen",
            "aliases": ["M. Solen"],
            "examples": [
                {
                    "prompt": "What does Mira Solen's father do?",
                    "response": "The father of Mira Solen is a Clockmaker in Quillon.",
                },
                {
                    "prompt": "Which book made Mira Solen famous?",
                    "response": 'Mira Solen became famous with "The Glass Orchard", printed on 12 May 1958.',
                },
            ],
            "neighbors": [
                {"prompt": "Where was Bero Tal born?", "response": "Bero Tal was born in Quillon."},
            ],
            "action": "restrict",
        }
    )
