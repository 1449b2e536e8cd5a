"""The logits processor: carries `guard.restriction` into vLLM's workers, under either of its model runners.

Both runners take the same class. V1 keeps a row per request and tells when rows come, go and move; V2 keeps a
slot per request, its history on the device, and one row per draft token. Neither advances any state in
`apply`: what a row has generated is always read from its history, so a prompt in chunks, preemption and
rejected drafts need no case of their own.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from vllm.sampling_params import SamplingParams
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.v1.sample.logits_processor import BatchUpdate, MoveDirectionality
from vllm.v1.sample.logits_processor import LogitsProcessor as V1Processor
from vllm.v1.worker.gpu.sample.logits_processor import LogitsContext, LogitsProcRequestState
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as V2Processor

from guard.errors import SnapshotError, VocabularyError
from guard.layout import History, Layout
from guard.restriction import Enforcer, Row
from guard.snapshot import load_snapshot
from guard.tables import Tables
from guard.vocabulary import Vocabulary

if TYPE_CHECKING:
    from vllm.config import VllmConfig

    from guard.device import DeviceEnforcer

CONFIG = "lethe"
TARGETS = "lethe_targets"
SNAPSHOT = "lethe_snapshot"
PROBE = "lethe_probe"
FREE = "lethe_free"
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
        self.tables = Tables(vocabulary, load_snapshot(self.wiring.snapshot))
        if not self.wiring.router:
            self.tables.of(None, None)  # what every request will need, compiled before the first
        self._host = Enforcer(self.tables)
        self._device: DeviceEnforcer | None = None
        if isinstance(rest[0], LogitsProcRequestState):
            # Imported here: under V1 there need not be a Triton.
            from guard.device import DeviceEnforcer

            self._state = rest[0]
            self._device = DeviceEnforcer(self.tables, self._state.device, self._state.max_num_reqs)
        live.add(self)

    # V1

    def is_argmax_invariant(self) -> bool:
        """False: V1 skips the others for greedy requests."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follows the rows. Every added or moved row overwrites whatever its place held."""
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._host.close(index)
        for index, params, prompt_ids, outputs in batch_update.added:
            if self._is_free(params):
                self._host.close(index)
                continue
            self._host.open(
                index, Row(prompt_ids or (), *self._order(params), outputs, not params.skip_special_tokens)
            )
        for source, target, direction in batch_update.moved:
            self._host.move(source, target, swap=direction is MoveDirectionality.SWAP)

    # V2

    def add_request(self, req_idx: int, sampling_params: SamplingParams) -> bool:
        """Takes over a slot. Always True: a later snapshot may restrict a request that is free now."""
        assert self._device is not None
        prompt = int(self._state.prompt_len.np[req_idx])
        shown = not sampling_params.skip_special_tokens
        free = self._is_free(sampling_params)
        self._device.open(req_idx, *self._order(sampling_params), prompt, shown, free)
        return True

    # both

    def apply(self, logits: torch.Tensor, ctx: LogitsContext | None = None) -> torch.Tensor:
        """Bans in place; rows without strings to watch are not touched.

        Args:
            logits: [rows, V]; ``ctx`` is V2's account of them.
            ctx: None under V1.
        """
        if ctx is None:
            self._host.step(logits)
            return logits
        assert self._device is not None
        layout = Layout(ctx.expanded_idx_mapping, ctx.expanded_local_pos, ctx.pos, ctx.input_ids)
        history = History(self._state.all_token_ids.gpu, self._state.prompt_len.gpu)
        self._device.step(logits, ctx.idx_mapping_np.tolist(), layout, history)
        return logits

    def _is_free(self, params: SamplingParams) -> bool:
        """True if the router says that nothing is enforced on a request."""
        return self.wiring.router and bool((params.extra_args or {}).get(FREE))

    def _order(self, params: SamplingParams) -> tuple[tuple[str, ...] | None, int | None]:
        """The targets to enforce on a request, None for all, and the token the self-check bans."""
        extra = params.extra_args if self.wiring.router else None
        if not extra or TARGETS not in extra:
            return None, None
        return tuple(extra[TARGETS]), extra.get(PROBE)
