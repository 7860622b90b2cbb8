"""One choice of a completion: from sampled tokens to deltas and the reason why the choice finished.

token id ─▶ detokenizer ─▶ stop scanner ─▶ output parser ─▶ ChoiceDelta …, ChoiceFinished
"""

from onward_server.completion.answer.detokenizer import Detokenizer
from onward_server.completion.answer.output_parser import OutputParser
from onward_server.completion.answer.parsing.parser_state import ParsedDelta
from onward_server.completion.answer.stop_strings import StopScanner
from onward_server.domain import (
    ChoiceDelta,
    ChoiceFinished,
    EndOfSequence,
    FinishReason,
    Logprob,
    StopCause,
    StopString,
    StopToken,
    TokenLogprob,
)
from onward_server.engine.generation import RawLogprobs, TokenSampled
from onward_server.model.tokenizer import Tokenizer
from onward_server.sampling import SamplingParams


class ChoiceStream:
    """Takes the events of one sequence in order and returns what the caller may see of them."""

    def __init__(
        self,
        *,
        index: int,
        seed: int,
        sampling: SamplingParams,
        tokenizer: Tokenizer,
        detokenizer: Detokenizer,
        parser: OutputParser,
    ) -> None:
        self.num_tokens = 0
        self.num_reasoning_tokens = 0
        self.is_finished = False
        self._index = index
        self._seed = seed
        self._sampling = sampling
        self._tokenizer = tokenizer
        self._detokenizer = detokenizer
        self._stops = StopScanner(sampling.stop, include_stop=sampling.include_stop)
        self._parser = parser
        self._num_pending = 0
        self._pending_logprobs: list[TokenLogprob] = []

    def add(self, event: TokenSampled) -> list[ChoiceDelta | ChoiceFinished]:
        """Takes the next token; tokens after the finish are ignored."""
        if self.is_finished:
            return []
        self._count(event)
        text = "" if self._is_hidden(event) else self._detokenizer.add(event.token_id)
        if event.finish:
            text += self._detokenizer.finish()
        scan = self._stops.feed(text, may_stop=self.num_tokens >= self._sampling.min_tokens)
        if scan.stop is not None:
            return self._finish(scan.text, FinishReason.STOP, StopString(scan.stop))
        if event.finish:
            return self._finish(scan.text + self._stops.finish(), event.finish.reason, event.finish.cause)
        deltas = self._delta(self._parser.feed(scan.text))
        if self._parser.is_finished and not self._parser.is_invalid:  # the single tool call is complete
            return [*deltas, *self._finish("", FinishReason.STOP, None)]
        return deltas

    def expire(self) -> list[ChoiceDelta | ChoiceFinished]:
        """Finishes the choice because the time limit of the request was reached."""
        if self.is_finished:
            return []
        scan = self._stops.feed(self._detokenizer.finish(), may_stop=False)
        return self._finish(scan.text + self._stops.finish(), FinishReason.TIME_LIMIT, None)

    def _count(self, event: TokenSampled) -> None:
        self.num_tokens += 1
        self._num_pending += 1
        self.num_reasoning_tokens += self._parser.is_reasoning
        if event.logprobs is not None:
            self._pending_logprobs.append(self._token_logprob(event.token_id, event.logprobs))

    def _is_hidden(self, event: TokenSampled) -> bool:
        """Whether a token ended the choice and is not part of its text."""
        match event.finish.cause if event.finish else None:
            case EndOfSequence():
                return True
            case StopToken():
                return not self._sampling.include_stop
            case _:
                return False

    def _delta(self, parsed: ParsedDelta) -> list[ChoiceDelta | ChoiceFinished]:
        """Returns a delta of the parsed output and the tokens since the last one.

        Returns an empty list if there is no output.
        """
        has_output = parsed.text or parsed.reasoning or parsed.tool_calls or self._pending_logprobs
        if not (has_output or (self.is_finished and self._num_pending)):
            return []
        delta = ChoiceDelta(
            index=self._index,
            text=parsed.text,
            reasoning=parsed.reasoning,
            tool_calls=parsed.tool_calls,
            logprobs=tuple(self._pending_logprobs),
            token_count=self._num_pending,
        )
        self._num_pending = 0
        self._pending_logprobs.clear()
        return [delta]

    def _finish(self, text: str, reason: FinishReason, cause: StopCause | None) -> list[ChoiceDelta | ChoiceFinished]:
        self.is_finished = True
        parsed = self._parser.feed(text)
        is_malformed = self._parser.is_invalid  # after `finish` a truncated tool call is invalid, too
        rest = self._parser.finish(is_truncated=reason is not FinishReason.STOP or isinstance(cause, StopString))
        deltas = self._delta(
            ParsedDelta(
                text=parsed.text + rest.text,
                reasoning=parsed.reasoning + rest.reasoning,
                tool_calls=parsed.tool_calls + rest.tool_calls,
            )
        )
        if is_malformed or (reason is FinishReason.STOP and self._parser.invalid_tool_call):
            reason, cause = FinishReason.INVALID_TOOL_CALL, None
        elif reason is FinishReason.STOP and self._parser.num_calls:
            reason, cause = FinishReason.TOOL_CALLS, None
        finished = ChoiceFinished(
            index=self._index,
            finish_reason=reason,
            stop_cause=cause,
            seed=self._seed,
            completion_tokens=self.num_tokens,
            invalid_tool_call=self._parser.invalid_tool_call,
        )
        return [*deltas, finished]

    def _token_logprob(self, token_id: int, raw: RawLogprobs) -> TokenLogprob:
        return TokenLogprob(
            chosen=self._logprob(token_id, raw.chosen),
            top=tuple(self._logprob(*alternative) for alternative in raw.top),
        )

    def _logprob(self, token_id: int, logprob: float) -> Logprob:
        return Logprob(token_id=token_id, token=self._tokenizer.token_bytes(token_id), logprob=logprob)
