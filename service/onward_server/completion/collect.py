"""Assembles a stream of completion events into a completion, so that unary and streaming RPCs cannot differ."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from onward_server.domain import (
    Choice,
    ChoiceDelta,
    ChoiceFinished,
    Completion,
    CompletionEnded,
    CompletionEvent,
    CompletionStarted,
    Message,
    Role,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
)


@dataclass(slots=True)
class _ToolCallParts:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class _ChoiceParts:
    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    tool_calls: dict[int, _ToolCallParts] = field(default_factory=dict[int, _ToolCallParts])
    logprobs: list[TokenLogprob] = field(default_factory=list[TokenLogprob])

    def add(self, delta: ChoiceDelta) -> None:
        self.text.append(delta.text)
        self.reasoning.append(delta.reasoning)
        self.logprobs += delta.logprobs
        for call in delta.tool_calls:
            self._add_call(call)

    def _add_call(self, delta: ToolCallDelta) -> None:
        call = self.tool_calls.setdefault(delta.index, _ToolCallParts())
        call.id = call.id or delta.id
        call.name = call.name or delta.name
        call.arguments.append(delta.arguments)

    def finish(self, finished: ChoiceFinished) -> Choice:
        calls = [self.tool_calls[index] for index in sorted(self.tool_calls)]
        if finished.invalid_tool_call:  # the deltas of the tool call with the highest index are void
            calls = calls[:-1]
        text = "".join(self.text)
        return Choice(
            index=finished.index,
            message=Message(
                role=Role.ASSISTANT,
                content=(text,) if text else (),
                reasoning="".join(self.reasoning),
                tool_calls=tuple(
                    ToolCall(id=call.id, name=call.name, arguments="".join(call.arguments)) for call in calls
                ),
            ),
            finish_reason=finished.finish_reason,
            stop_cause=finished.stop_cause,
            logprobs=tuple(self.logprobs),
            seed=finished.seed,
            completion_tokens=finished.completion_tokens,
            invalid_tool_call=finished.invalid_tool_call,
        )


async def collect(events: AsyncIterator[CompletionEvent]) -> Completion:
    """Reads a stream to its end and returns the completion.

    Raises:
        OnwardError: The stream raised it.
    """
    started: CompletionStarted | None = None
    ended: CompletionEnded | None = None
    parts: dict[int, _ChoiceParts] = {}
    choices: dict[int, Choice] = {}
    async for event in events:
        match event:
            case CompletionStarted():
                started = event
            case ChoiceDelta():
                parts.setdefault(event.index, _ChoiceParts()).add(event)
            case ChoiceFinished():
                choices[event.index] = parts.setdefault(event.index, _ChoiceParts()).finish(event)
            case CompletionEnded():
                ended = event
    if started is None or ended is None:
        raise AssertionError("the stream had no CompletionStarted or no CompletionEnded event")
    return Completion(started=started, choices=tuple(choices[index] for index in sorted(choices)), ended=ended)
