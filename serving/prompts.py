"""What an engine prompt says: its tokens, and the messages they spell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

from vllm.exceptions import VLLMValidationError


def prompt_tokens(prompt: Any) -> list[int]:
    """The token ids of a rendered prompt, those of an encoder first.

    Raises:
        VLLMValidationError: the prompt is of a kind whose text cannot be known, such as embeddings.
    """
    if isinstance(prompt, Mapping):
        if "encoder_prompt" in prompt and "decoder_prompt" in prompt:
            return [*prompt_tokens(prompt["encoder_prompt"]), *prompt_tokens(prompt["decoder_prompt"])]
        ids = prompt.get("prompt_token_ids")
        if ids is not None and prompt.get("type") != "embeds":
            return [*prompt.get("encoder_prompt_token_ids", ()), *ids]
    kind = prompt.get("type", "unrendered") if isinstance(prompt, Mapping) else type(prompt).__name__
    raise VLLMValidationError(
        f"a guarded server cannot read prompts of kind {kind!r}; send text or token ids"
    )


def split(ids: Iterable[int], special: frozenset[int], decode: Callable[[list[int]], str]) -> tuple[str, ...]:
    """The prompt's messages: the text of each run between special tokens.

    Raises:
        VLLMValidationError: a token id is outside the vocabulary.
    """
    runs = (list(run) for is_special, run in groupby(ids, special.__contains__) if not is_special)
    try:
        return tuple(text for run in runs if (text := decode(run).strip()))
    except OverflowError:
        raise VLLMValidationError("the prompt holds token ids outside the vocabulary") from None
