"""Dense layers in numpy: what a head that was trained elsewhere needs to judge rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from guard.encoder import Vectors
from guard.heads.rows import asked_rows, sigmoid

Layer = tuple[Vectors, Vectors]
"""Weight float32 [in, out] and bias float32 [out]."""

NOTHING: tuple[Layer, ...] = ()  # the layers of a head that had nothing to forget: probability 0 for all


def probability(layers: Sequence[Layer], vectors: Vectors) -> Vectors:
    """P(forget) of rows float32 [n, d]: layers with ReLU between them; the last has 1 output or 2.

    One output is the logit of forgetting; two are those of {retain, forget}, as in a softmax.
    """
    if not layers:
        return np.zeros(len(vectors), dtype=np.float32)
    hidden = asked_rows(vectors, layers[0][0].shape[0])
    for weight, bias in layers[:-1]:
        hidden = np.maximum(hidden @ weight + bias, 0)
    weight, bias = layers[-1]
    logits = hidden @ weight + bias
    return sigmoid(logits[:, -1] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0])


def to_arrays(layers: Sequence[Layer]) -> dict[str, Vectors]:
    """The layers by name, for a safetensors file."""
    parts = [
        (f"{i}.{name}", part)
        for i, layer in enumerate(layers)
        for name, part in zip(("weight", "bias"), layer, strict=True)
    ]
    return {name: np.ascontiguousarray(part) for name, part in parts}


def from_arrays(arrays: Mapping[str, Vectors]) -> tuple[Layer, ...]:
    """The layers that `to_arrays` named."""
    return tuple((arrays[f"{i}.weight"], arrays[f"{i}.bias"]) for i in range(len(arrays) // 2))
