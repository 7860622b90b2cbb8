"""The decoding loop: a step decodes each running sequence by one token, then prefills as much as the budget allows.

    step():  admit ─▶ decode run ─▶ sample, commit ─▶ prefill runs ─▶ sample, commit ─▶ events

Requests join and leave between steps.
"""

import logging
from collections import abc
from dataclasses import dataclass

import numpy as np

from onward_server.domain import ConstraintComplete, EndOfSequence, FinishReason, StopCause, StopToken
from onward_server.engine import sampler
from onward_server.engine.generation import (
    EngineEvent,
    Finish,
    GenerationRequest,
    PrefillStarted,
    RequestAdmitted,
    RequestFailed,
    SequenceExpired,
    SequenceFailed,
    TokenSampled,
)
from onward_server.engine.mask_rows import MaskRows
from onward_server.engine.scheduler import PrefillChunk, Scheduler
from onward_server.engine.sequence import Prefill, Sequence, SequenceGroup
from onward_server.errors import EngineFailed, InvalidRequest
from onward_server.model.causal_lm import CausalLM, Logits

logger = logging.getLogger(__name__)

_MAX_FAILURES_IN_A_ROW = 3


@dataclass(slots=True)
class StepResult:
    """What one step did."""

    events: list[EngineEvent]
    num_decoded: int = 0
    """Sequences in the decode run."""
    num_prefilled: int = 0
    """Tokens in the prefill runs."""


class Engine:
    """Runs sequences on a model. All methods must be called from one thread."""

    def __init__(self, model: CausalLM, *, num_sampleable: int | None = None, num_mask_threads: int = 1) -> None:
        """Allocates the masks of all slots.

        Args:
            model: The model; the engine is its only user.
            num_sampleable: Number of token ids that can be sampled. Higher ids are padding of the logits. Default: all.
            num_mask_threads: Threads that fill the masks of constrained sequences.
        """
        self.num_slots = model.num_slots
        self._model = model
        self._num_sampleable = num_sampleable or model.vocabulary_size
        self._scheduler = Scheduler(model.num_slots, fixed_chunk=model.fixed_chunk)
        self._masks = MaskRows(
            num_slots=model.num_slots, vocabulary_size=model.vocabulary_size, num_threads=num_mask_threads
        )
        self._num_failures = 0

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return self._scheduler.has_work

    @property
    def num_free_slots(self) -> int:
        """Slots without a sequence."""
        return self._scheduler.slots.num_free

    def check_integrity(self) -> None:
        """See `KvSlots.check_integrity`."""
        self._scheduler.slots.check_integrity()

    def add(self, request: GenerationRequest) -> None:
        """Queues a request. Never fails, because requests are validated before they get here."""
        self._scheduler.add(SequenceGroup.of(request))

    def abort(self, request_id: str, index: int | None = None) -> None:
        """Aborts a request or one choice. Emits no event; finished choices and unknown requests are ignored."""
        group = self._scheduler.find(request_id)
        if group is None:
            return
        if index is None:
            self._end(group)
        elif group.sequences[index].slot is not None:
            self._release(group.sequences[index])

    def close(self) -> None:
        """Stops the threads that fill masks. No other method may be called afterwards."""
        self._masks.close()

    def expire(self, request_id: str) -> list[EngineEvent]:
        """Aborts a request that has reached its time limit, and returns an event for each unfinished choice."""
        group = self._scheduler.find(request_id)
        if group is None:
            return []
        unfinished = group.active or group.sequences
        self._end(group)
        return [SequenceExpired(request_id=request_id, index=sequence.index) for sequence in unfinished]

    def step(self, prefill_budget: int, *, budget_beside_decoding: int | None = None) -> StepResult:
        """Decodes every running sequence by one token, then prefills up to `prefill_budget` tokens.

        Args:
            prefill_budget: Tokens to prefill if no sequence decodes in this step.
            budget_beside_decoding: Tokens to prefill if sequences decode in this step. Default: `prefill_budget`.

        Raises:
            EngineFailed: Three runs in a row failed. The engine must not be used afterwards.
        """
        result = StepResult(events=[])
        result.events.extend(RequestAdmitted(request_id=group.request.id) for group in self._scheduler.admit())
        if decoding := self._scheduler.decoding():
            self._decode(decoding, result)
            if budget_beside_decoding is not None:
                prefill_budget = budget_beside_decoding
        while result.num_prefilled < prefill_budget:
            chunk = self._scheduler.next_chunk(prefill_budget - result.num_prefilled)
            if chunk is None:
                break
            self._prefill(chunk, result)
        return result

    def sample(self, row: Logits, sequence: Sequence) -> int:
        """Samples the next token of a sequence from logits (V,); see `sampler.sample`. A failpoint overrides this."""
        return sampler.sample(row, sequence, self._masks.row_of(sequence))

    def _decode(self, sequences: abc.Sequence[Sequence], result: StepResult) -> None:
        slots = [sequence.held_slot for sequence in sequences]
        self._masks.start(sequences)
        try:
            logits = self._model.decode(slots, [sequence.token_ids[-1] for sequence in sequences])
        except EngineFailed as error:
            self._count_failure(error)
            self._fail(dict.fromkeys(sequence.request.id for sequence in sequences), error, result)
            return
        finally:
            self._masks.wait()
        self._num_failures = 0
        result.num_decoded = len(sequences)
        for sequence, row in zip(sequences, logits, strict=True):
            self._sample(sequence, row, result)

    def _prefill(self, chunk: PrefillChunk, result: StepResult) -> None:
        prefill = chunk.prefill
        first, *others = prefill.sequences
        if not chunk.start and not first.token_ids:  # a prompt
            result.events.append(PrefillStarted(request_id=first.request.id))
        result.num_prefilled += chunk.end - chunk.start
        token_ids = np.asarray(prefill.token_ids[chunk.start : chunk.end], np.int64)
        self._masks.start(prefill.sequences if chunk.is_last else ())
        try:
            logits = self._model.prefill(first.held_slot, token_ids, total_length=len(prefill.token_ids))
        except EngineFailed as error:
            self._count_failure(error)
            self._fail((first.request.id,), error, result)
            return
        finally:
            self._masks.wait()
        self._num_failures = 0
        prefill.num_done = chunk.end
        if not chunk.is_last:
            return
        for sequence in others:
            self._model.copy(first.held_slot, sequence.held_slot)
        for sequence in prefill.sequences:
            sequence.prefill = None
            self._sample(sequence, logits, result)

    def _sample(self, sequence: Sequence, logits: Logits, result: StepResult) -> None:
        """Samples a token from logits (V,), commits it and adds its event."""
        row = logits[: self._num_sampleable]
        try:
            token_id, finish = self._commit(sequence, row)
        except (EngineFailed, InvalidRequest) as error:
            self._release(sequence)
            result.events.append(SequenceFailed(request_id=sequence.request.id, index=sequence.index, error=error))
            return
        if finish is not None:
            self._release(sequence)
        elif self._model.switch_length == sequence.position - 1:
            self._compute_again(sequence)
        top_logprobs = sequence.request.top_logprobs
        result.events.append(
            TokenSampled(
                request_id=sequence.request.id,
                index=sequence.index,
                token_id=token_id,
                logprobs=None if top_logprobs is None else sampler.raw_logprobs(row, token_id, top_logprobs),
                finish=finish,
            )
        )

    def _compute_again(self, sequence: Sequence) -> None:
        """Empties the slot of a sequence, so that all its tokens are prefilled before it samples the next one."""
        self._model.release(sequence.held_slot)
        token_ids = [*sequence.prompt_ids, *sequence.token_ids]
        sequence.prefill = Prefill(sequences=(sequence,), token_ids=token_ids)

    def _commit(self, sequence: Sequence, row: Logits) -> tuple[int, Finish | None]:
        """Appends the next token, forced or sampled; returns it, and why the sequence finished if it did."""
        may_end = sequence.matcher is not None or not sampler.ends_are_blocked(sequence)
        if sequence.forced_ids:
            token_id = sequence.forced_ids.popleft()
            sampler.check(float(row[token_id]))
        else:
            token_id = self.sample(row, sequence)
        sequence.token_ids.append(token_id)
        stop = _stop_token(sequence, token_id) if may_end else None
        if stop is not None:
            return token_id, Finish(FinishReason.STOP, stop)
        if _completes_constraint(sequence, token_id):
            return token_id, Finish(FinishReason.STOP, ConstraintComplete())
        if len(sequence.token_ids) >= sequence.sampling.max_tokens:
            return token_id, Finish(sequence.request.length_reason)
        return token_id, None

    def _count_failure(self, error: EngineFailed) -> None:
        self._num_failures += 1
        if self._num_failures >= _MAX_FAILURES_IN_A_ROW:
            raise error

    def _fail(self, request_ids: abc.Collection[str], error: EngineFailed, result: StepResult) -> None:
        """Ends the requests of a run that failed."""
        logger.error("a run failed and ended %d requests: %s", len(request_ids), error)
        for request_id in request_ids:
            self.abort(request_id)
            result.events.append(RequestFailed(request_id=request_id, error=error))

    def _end(self, group: SequenceGroup) -> None:
        """Frees the slots of a group, or takes it out of the queue."""
        if not group.active:
            self._scheduler.forget_waiting(group)
            return
        for sequence in group.active:
            self._release(sequence)

    def _release(self, sequence: Sequence) -> None:
        self._model.release(self._scheduler.finish(sequence))


def _stop_token(sequence: Sequence, token_id: int) -> StopCause | None:
    """Why a token ends its sequence; None if it does not."""
    params = sequence.sampling
    if token_id in sequence.request.eos_token_ids and not params.ignore_eos:
        return EndOfSequence(token_id)
    if token_id in params.stop_token_ids:
        return StopToken(token_id)
    return None


def _completes_constraint(sequence: Sequence, token_id: int) -> bool:
    """Advances the constraint by a token; returns whether the sequence is complete under it."""
    if sequence.matcher is None:
        return False
    sequence.matcher.accept(token_id)
    if sequence.matcher.is_complete:
        return True
    if not sequence.forced_ids:
        sequence.forced_ids.extend(sequence.matcher.forced_tokens())
    return False
