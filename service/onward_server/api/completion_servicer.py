"""The methods of `CompletionService`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from onward.v1 import completion_pb2, completion_service_pb2
from onward_server.api import decode, encode
from onward_server.api.boundary import Boundary, Call, ServiceHandlers
from onward_server.api.ports import Catalogue
from onward_server.domain import (
    ChoiceDelta,
    ChoiceFinished,
    CompletionEnded,
    CompletionRequest,
    CompletionStarted,
)


class CompletionServicer:
    """Serves `Complete` and `StreamComplete` with the models of a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def handlers(self, boundary: Boundary) -> ServiceHandlers:
        """Returns the handlers of its methods."""
        service = completion_service_pb2.DESCRIPTOR.services_by_name["CompletionService"]
        handlers = ServiceHandlers(service, boundary)
        handlers.unary("Complete", decode.complete_request, self.complete)
        handlers.streaming("StreamComplete", decode.stream_complete_request, self.stream_complete)
        return handlers

    async def complete(self, decoded: decode.Decoded, call: Call) -> completion_pb2.CompleteResponse:
        """Returns the whole completion."""
        call.note(model=decoded.request.model)
        completer = self._catalogue.get(decoded.request.model)
        completion = await completer.complete(decoded.request, violations=decoded.violations)
        _note_started(call, decoded.request, completion.started)
        _note_ended(call, completion.ended)
        call.note(finish_reasons=[choice.finish_reason.value for choice in completion.choices])
        if decoded.request.top_logprobs is None:
            return encode.completion(completion)
        return await asyncio.to_thread(encode.completion, completion)  # 40 ms for 1,000 tokens with 20 each

    async def stream_complete(
        self, decoded: decode.Decoded, call: Call
    ) -> AsyncGenerator[completion_pb2.StreamCompleteResponse]:
        """Yields the events of the completion as they occur."""
        call.note(model=decoded.request.model)
        completer = self._catalogue.get(decoded.request.model)
        finish_reasons: list[str] = []
        tokens = 0
        async with aclosing(completer.stream(decoded.request, violations=decoded.violations)) as events:
            try:
                async for event in events:
                    match event:
                        case CompletionStarted():
                            _note_started(call, decoded.request, event)
                        case ChoiceDelta(token_count=count):
                            tokens += count
                        case ChoiceFinished(finish_reason=reason):
                            finish_reasons.append(reason.value)
                        case CompletionEnded():
                            _note_ended(call, event)
                    yield encode.completion_event(event)
            finally:
                call.note(streamed_tokens=tokens, finish_reasons=finish_reasons)


def _note_started(call: Call, request: CompletionRequest, started: CompletionStarted) -> None:
    """Also logs the caller's labels; validation has limited their length."""
    call.note(model=started.model, completion_id=started.id, prompt_tokens=started.prompt_tokens)
    if request.user:
        call.note(user=request.user)
    if request.metadata:
        call.note(metadata=dict(request.metadata))


def _note_ended(call: Call, ended: CompletionEnded) -> None:
    call.note(
        completion_tokens=ended.usage.completion_tokens,
        cached_prompt_tokens=ended.usage.cached_prompt_tokens,
        queue_s=ended.timings.queue_s,
        prefill_s=ended.timings.prefill_s,
        decode_s=ended.timings.decode_s,
        first_token_s=ended.timings.first_token_s,
    )
