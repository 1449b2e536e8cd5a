"""The names that vLLM and its users load: the logits processor and the endpoint plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.logits import GuardLogitsProcessor

if TYPE_CHECKING:
    from serving.endpoint import GuardEndpoint

__all__ = ["GuardLogitsProcessor", "endpoint"]


def endpoint() -> GuardEndpoint:
    """The guard's part of the API server."""
    # Imported here: workers load this module too, and need neither web framework nor database.
    from serving.endpoint import GuardEndpoint

    return GuardEndpoint()
