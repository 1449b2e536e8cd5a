"""The logits processor: carries `guard.restriction` into vLLM's workers, under either of its model runners.

Both runners take the same class. V1 keeps a row per request and tells when rows come, go and move; V2 keeps a
slot per request, its history on the device, and one row per draft token. Neither advances any state in
`apply`: what a row has generated is always read from its history, so a prompt in chunks, preemption and
rejected drafts need no case of their own.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from vllm.sampling_params import SamplingParams
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality
from vllm.v1.sample.logits_processor import LogitsProcessor as V1Processor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, LogitsProcRequestState
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as V2Processor

from guard.automaton import START, Automaton
from guard.errors import SnapshotError, VocabularyError
from guard.restriction import Enforcer, Row, TokenFilter
from guard.snapshot import load_snapshot
from guard.vocabulary import Vocabulary

if TYPE_CHECKING:
    from vllm.config import VllmConfig

CONFIG = "lethe"
TARGETS = "lethe_targets"
SNAPSHOT = "lethe_snapshot"
PROBE = "lethe_probe"
"""Keys in the engine's additional_config and in a request's extra_args."""

live: weakref.WeakSet[GuardLogitsProcessor] = weakref.WeakSet()
"""The processors of this worker process, for `serving.worker`."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the engine was started with.

    Attributes:
        snapshot: directory of the snapshot to start with.
        router: requests come through our server, which says for each what to enforce. Without it the
            request's own arguments count for nothing and every target is enforced on every request.
    """

    snapshot: Path
    router: bool = False

    @classmethod
    def read(cls, additional_config: Any) -> Wiring:
        """The wiring in vLLM's additional_config.

        Raises:
            SnapshotError: it names no snapshot.
        """
        given = additional_config.get(CONFIG) if isinstance(additional_config, Mapping) else None
        if not isinstance(given, Mapping) or not isinstance(given.get("snapshot"), str):
            raise SnapshotError(
                "the guard has no snapshot: give the engine additional_config "
                '{"lethe": {"snapshot": "<directory>"}} with a directory written by \'lethe compile\''
            )
        return cls(Path(given["snapshot"]), given.get("router") is True)


class GuardLogitsProcessor(V1Processor, V2Processor):
    """Bans, at every step, the tokens that would complete a forbidden string."""

    def __init__(self, vllm_config: VllmConfig, *rest: Any) -> None:
        """Loads the snapshot that the engine was started with.

        Args:
            vllm_config: the engine's configuration.
            rest: device and pin_memory under V1, the request state under V2.

        Raises:
            SnapshotError: no snapshot is configured, or it cannot be loaded.
            VocabularyError: the tokenizer is missing or of an unsupported family.
        """
        self.wiring = Wiring.read(vllm_config.additional_config)
        model = vllm_config.model_config
        if model.skip_tokenizer_init:
            raise VocabularyError(
                "the guard needs the model's tokenizer; start without --skip-tokenizer-init"
            )
        vocabulary = Vocabulary.from_tokenizer(cached_tokenizer_from_config(model), model.get_vocab_size())
        self.enforcer = Enforcer(vocabulary, load_snapshot(self.wiring.snapshot))
        self._rows: dict[int, Row] = {}
        self._slots: dict[int, _Slot] = {}
        self._state = rest[0] if isinstance(rest[0], LogitsProcRequestState) else None
        live.add(self)

    # V1

    def is_argmax_invariant(self) -> bool:
        """False: V1 skips the others for greedy requests."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follows the rows. Every added or moved row overwrites whatever its place held."""
        if batch_update is None:
            return
        rows = self._rows
        for index in batch_update.removed:
            rows.pop(index, None)
        for index, params, prompt_ids, outputs in batch_update.added:
            rows[index] = self._open(params, prompt_ids or (), outputs)
        for source, target, direction in batch_update.moved:
            moved, displaced = rows.pop(source, None), rows.pop(target, None)
            if moved is not None:
                rows[target] = moved
            if displaced is not None and direction is MoveDirectionality.SWAP:
                rows[source] = displaced

    # V2

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """Takes over a slot. Always True: a later snapshot may restrict a request that is free now."""
        self._slots[req_idx] = _Slot(sampling_params)
        return True

    # both

    def apply(self, logits: torch.Tensor, ctx: LogitsContext | None = None) -> torch.Tensor:
        """Bans in place; rows without strings to watch are not touched.

        Args:
            logits: [rows, V]; ``ctx`` is V2's account of them.
            ctx: None under V1.
        """
        version = self.enforcer.snapshot.version
        rows = self._rows if ctx is None else self._drafted(ctx)
        watched = {i: row for i, row in rows.items() if row.filters or row.version != version}
        if watched:
            self.enforcer.step(logits, watched)
        return logits

    def _open(self, params: SamplingParams, prompt_ids: Sequence[int], outputs: Sequence[int]) -> Row:
        target_ids, probe = self._order(params)
        if probe is None:
            return self.enforcer.open(prompt_ids, target_ids, outputs)
        return _probe_row(probe, self.enforcer, outputs)

    def _order(self, params: SamplingParams) -> tuple[tuple[str, ...] | None, int | None]:
        """The targets to enforce on a request, None for all, and the token the self-check bans."""
        extra = params.extra_args if self.wiring.router else None
        if not extra or TARGETS not in extra:
            return None, None
        return tuple(extra[TARGETS]), extra.get(PROBE)

    def _drafted(self, ctx: LogitsContext) -> dict[int, Row]:
        """The rows of a V2 batch that are watched, each as if its drafts so far were accepted."""
        # Decided on the host: reading the device's tensors waits for it, so batches without strings do not.
        watched = {slot for slot in ctx.idx_mapping_np.tolist() if self._watches(self._slots[slot])}
        if not watched:
            return {}
        slots, offsets = ctx.expanded_idx_mapping.tolist(), ctx.expanded_local_pos.tolist()
        positions, inputs = ctx.pos.tolist(), ctx.input_ids.tolist()
        rows = {}
        for index, (slot, offset) in enumerate(zip(slots, offsets, strict=True)):
            if slot in watched:
                # Drafts are in no history yet; the row of draft k is fed drafts 1..k of the same request.
                row = self._committed(slot, positions[index] - offset + 1)
                rows[index] = row.ahead(inputs[index - offset + 1 : index + 1])
        return rows

    def _watches(self, slot: _Slot) -> bool:
        if slot.row is not None and slot.row.filters:
            return True
        target_ids, probe = self._order(slot.params)
        return probe is not None or bool(self.enforcer.snapshot.automata(target_ids))

    def _committed(self, index: int, length: int) -> Row:
        """The row of a slot with its history brought up to ``length`` tokens, prompt included."""
        assert self._state is not None
        slot, tokens = self._slots[index], self._state.all_token_ids.gpu[index]
        prompt_length = int(self._state.prompt_len.np[index])
        if slot.row is None:
            slot.row = self._open(slot.params, tokens[:prompt_length].tolist(), slot.outputs)
        known = prompt_length + len(slot.outputs)
        if length > known:
            slot.outputs.extend(tokens[known:length].tolist())
        return slot.row


@dataclass(slots=True)
class _Slot:
    """A request under V2; its row is opened when it is first watched, because that reads the device."""

    params: SamplingParams
    outputs: list[int] = field(default_factory=list)
    row: Row | None = None


def _probe_row(token_id: int, enforcer: Enforcer, outputs: Sequence[int]) -> Row:
    """A row on which one token is forbidden at the first step, by the same path as any other ban."""
    nothing = Automaton.build(())
    bans = {START: np.array([token_id], dtype=np.int64)}
    probe = TokenFilter(nothing, enforcer.vocabulary, bans)
    return Row((), (), outputs, (probe,), (START,), version=enforcer.snapshot.version)
