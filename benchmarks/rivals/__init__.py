"""The methods that the decode benchmark measures beside our own logits processor, one file each.

The two logits processors here are for vLLM's V1 runner and read the engine's additional_config:
{"rival": {"phrases": ["...", ...]}}. All of them match exactly: case sensitive, no word boundary, no folding,
the response alone (a phrase that begins in the prompt is not seen).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONFIG = "rival"


def options(vllm_config: Any) -> Mapping[str, Any]:
    """The rival's part of the engine's additional_config.

    Raises:
        ValueError: there is none, or it has no phrases.
    """
    given = vllm_config.additional_config
    found = given.get(CONFIG) if isinstance(given, Mapping) else None
    if not isinstance(found, Mapping) or not found.get("phrases"):
        raise ValueError(f'give the engine additional_config {{"{CONFIG}": {{"phrases": ["..."]}}}}')
    return found
