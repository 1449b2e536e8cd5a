"""GUARD's own representation of a prompt: the served model's hidden states, averaged (arXiv 2505.13312)."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from guard.encoder import Vectors
from guard.errors import InputError

if TYPE_CHECKING:
    import torch

_UNNAMED_LIMIT = 4096  # tokens read at once where a model's config names no limit


@dataclass(frozen=True)
class _Model:
    """A loaded model.

    Attributes:
        network: gives hidden states, float32.
        tokenizer: its tokenizer.
        tags: matches the tokenizer's special tokens in a text; None without any.
        limit: tokens that it reads at once.
        positions: whether it takes the position of each token.
    """

    network: Any
    tokenizer: Any
    tags: re.Pattern[str] | None
    limit: int
    positions: bool


class HiddenStateEncoder:
    """The masked mean of one layer's hidden states over a prompt's tokens; see Encoder.

    Chat tags are cut out of texts and none is added, so a prompt reads the same with and without the marks of
    its template. A prompt longer than the model reads at once is read in pieces, and every token counts.
    """

    def __init__(
        self,
        model: str | Path,
        layer: int = -2,
        batch: int = 16,
        normalize: bool = True,
        padding: Literal["left", "right"] = "right",
    ) -> None:
        """Names the model; it is loaded, onto the CPU, when the first text comes.

        Args:
            model: folder in Hugging Face format.
            layer: index into the hidden states, of which the first is the embedding; -2 is the penultimate.
            batch: pieces of text read at once.
            normalize: rows of length 1, as `Encoder` promises; False keeps the mean as it is, as GUARD does.
            padding: side on which short texts are filled up; the vectors do not depend on it.
        """
        self._folder = Path(model)
        self._layer = layer
        self._batch = batch
        self._normalize = normalize
        self._padding = padding
        self._model: _Model | None = None
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One vector per text, float32 [n, hidden size]; a text without any token gives zeros.

        Raises:
            InputError: the folder holds no readable model, or the model has no such layer.
        """
        if not texts:
            return np.empty((0, 0), dtype=np.float32)
        with self._lock:
            self._model = self._model or self._loaded()
        model = self._model
        pieces = [(row, piece) for row, text in enumerate(texts) for piece in _pieces(model, text)]
        # Like lengths side by side: less of the work is padding.
        pieces.sort(key=lambda piece: len(piece[1]))
        sums = np.zeros((len(texts), model.network.config.get_text_config().hidden_size), dtype=np.float64)
        tokens = np.zeros(len(texts), dtype=np.float64)
        for start in range(0, len(pieces), self._batch):
            some = pieces[start : start + self._batch]
            for (row, ids), total in zip(some, self._sums(model, [ids for _, ids in some]), strict=True):
                sums[row] += total
                tokens[row] += len(ids)
        means = sums / np.maximum(tokens, 1.0)[:, None]
        if self._normalize:
            means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return np.asarray(means, dtype=np.float32)

    def _sums(self, model: _Model, ids: list[list[int]]) -> Vectors:
        """Sum of the hidden states of each piece, float32 [pieces, hidden size]."""
        import torch

        inputs, mask = _padded(ids, self._padding)
        given: dict[str, torch.Tensor] = {"input_ids": inputs, "attention_mask": mask}
        if model.positions:
            # Counted from the first real token; else padding on the left would shift learned positions.
            given["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)
        with torch.inference_mode():
            states = model.network(**given, output_hidden_states=True).hidden_states[self._layer]
        return np.asarray((states * mask[:, :, None]).sum(dim=1).numpy(), dtype=np.float32)

    def _loaded(self) -> _Model:
        if not (self._folder / "config.json").is_file():
            raise InputError(
                f"{self._folder} is no model folder: it has no config.json; name the served model's"
            )
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            tokenizer = AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
            network = AutoModel.from_pretrained(self._folder, local_files_only=True, dtype=torch.float32)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise InputError(f"the model in {self._folder} cannot be loaded: {error}") from error
        config = network.config.get_text_config()
        states = config.num_hidden_layers + 1
        if not -states <= self._layer < states:
            raise InputError(
                f"layer {self._layer} is not among the {states} hidden states of {self._folder}; "
                f"choose {-states} to {states - 1}"
            )
        tags = "|".join(re.escape(tag) for tag in sorted(_tags(tokenizer), key=len, reverse=True))
        return _Model(
            network=network.eval(),
            tokenizer=tokenizer,
            tags=re.compile(tags) if tags else None,
            limit=getattr(config, "max_position_embeddings", None) or _UNNAMED_LIMIT,
            positions="position_ids" in inspect.signature(network.forward).parameters,
        )


def _tags(tokenizer: Any) -> set[str]:
    """Texts of the tokenizer's special tokens."""
    added = tokenizer.added_tokens_decoder.values()
    return {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}


def _pieces(model: _Model, text: str) -> Iterator[list[int]]:
    """Token ids of the text without chat tags, in pieces that the model reads at once."""
    plain = model.tags.sub(" ", text) if model.tags else text
    ids = model.tokenizer(plain.strip(), add_special_tokens=False, verbose=False)["input_ids"]
    for start in range(0, len(ids), model.limit):
        yield ids[start : start + model.limit]


def _padded(ids: list[list[int]], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, int64 [pieces, longest]; 0 fills up, and the mask says where."""
    import torch

    longest = max(len(piece) for piece in ids)
    inputs = torch.zeros((len(ids), longest), dtype=torch.int64)
    mask = torch.zeros_like(inputs)
    for row, piece in enumerate(ids):
        place = slice(longest - len(piece), None) if side == "left" else slice(len(piece))
        inputs[row, place] = torch.tensor(piece, dtype=torch.int64)
        mask[row, place] = 1
    return inputs, mask
