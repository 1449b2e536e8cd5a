"""Requests that forbid words by vLLM's own `bad_words`.

vLLM encodes each word with and without a leading space when the request is admitted, and at each step
compares every resulting token sequence with the end of the output, in Python. Other tokenisations of the same
text pass.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from vllm import SamplingParams, envs

_SEQUENCES = "VLLM_MAX_NUM_BAD_WORDS"
_TOKENS = "VLLM_MAX_BAD_WORDS_TOTAL_TOKENS"


def bad_words_params(words: Sequence[str], tokenizer: Any, **sampling: Any) -> SamplingParams:
    """Sampling parameters that forbid the words, however many, with vLLM's limits raised to admit them."""
    raise_limits(words, tokenizer)
    return SamplingParams(bad_words=list(words), **sampling)


def raise_limits(words: Sequence[str], tokenizer: Any) -> None:
    """Raises, never lowers, vLLM's limits per request so that the words fit.

    Call it before the engine starts where the engine is another process or runs vLLM's V2 runner, which sizes
    its buffers then. The V1 runner has no limit of its own; the admission check reads ours at once.

    Args:
        words: what one request will forbid.
        tokenizer: the model's, to count tokens.
    """
    forms = [prefix + word.lstrip() for word in dict.fromkeys(words) for prefix in ("", " ")]
    needed = {
        _SEQUENCES: len(forms),
        _TOKENS: sum(len(tokenizer.encode(form, add_special_tokens=False)) for form in forms),
    }
    # vLLM freezes its settings when an engine starts in this process.
    frozen = hasattr(envs.__getattr__, "cache_clear")
    envs.disable_envs_cache()
    for name, count in needed.items():
        os.environ[name] = str(max(count, getattr(envs, name)))
    if frozen:
        envs.enable_envs_cache()
