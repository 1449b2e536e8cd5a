"""What an engine that keeps its state on the device tells of one step."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Layout:
    """The logits rows of one step, on the device: one for each request and one more for each draft token.

    Attributes:
        slots: [rows], the request of each row.
        offsets: [rows], drafts of the request before the row.
        positions: [rows], place of the token that was fed for the row.
        inputs: [rows], that token.
    """

    slots: torch.Tensor
    offsets: torch.Tensor
    positions: torch.Tensor
    inputs: torch.Tensor


@dataclass(frozen=True, slots=True)
class History:
    """Committed tokens, on the device.

    Attributes:
        tokens: [slots, T].
        prompt_lengths: [slots].
    """

    tokens: torch.Tensor
    prompt_lengths: torch.Tensor
