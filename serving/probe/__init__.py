"""A black-box test of any OpenAI-compatible server: through which surfaces does forbidden text leak?

Main types: `Surface` (what is tried), `Session` (against which server), `Subject` (about whom), `Row` (what
came of it). To add a surface, write its attack and one line in the table of its file.
"""

from __future__ import annotations

from serving.probe.encodings import ENCODED
from serving.probe.errors import ERRORS
from serving.probe.forcing import FORCING
from serving.probe.logprobs import LOGPROBS
from serving.probe.oracle import ORACLE
from serving.probe.routes import ROUTES
from serving.probe.sampling import SAMPLING
from serving.probe.scoring import SCORING
from serving.probe.streams import STREAMS
from serving.probe.structured import STRUCTURED
from serving.probe.surface import Surface
from serving.probe.text import TEXT
from serving.probe.tools import TOOLS

__all__ = ["SURFACES", "Surface"]

SURFACES: dict[str, Surface] = {
    **TEXT,
    **ENCODED,
    **STREAMS,
    **LOGPROBS,
    **FORCING,
    **STRUCTURED,
    **TOOLS,
    **SAMPLING,
    **ROUTES,
    **SCORING,
    **ERRORS,
    **ORACLE,
}
