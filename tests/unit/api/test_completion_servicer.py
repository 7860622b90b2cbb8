"""Encoding a large completion does not block the event loop."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from onward_server import domain
from onward_server.api.boundary import Call
from onward_server.api.completion_servicer import CompletionServicer
from onward_server.api.decode import Decoded
from onward_server.errors import FieldViolation
from testing.fakes_completion import FakeCatalogue, FakeCompleter

LOGPROB = domain.TokenLogprob(chosen=domain.Logprob(token_id=7, token=b"a", logprob=-0.5), top=())


class ObservedLogprobs(tuple[domain.TokenLogprob, ...]):
    """Log probabilities that record the threads that read them."""

    __slots__ = ()
    readers: ClassVar[set[int]] = set()

    def __iter__(self) -> Iterator[domain.TokenLogprob]:
        self.readers.add(threading.get_ident())
        return super().__iter__()


class LogprobCompleter(FakeCompleter):
    """A fake whose completion has the given log probabilities."""

    logprobs: tuple[domain.TokenLogprob, ...]

    async def complete(
        self, request: domain.CompletionRequest, *, violations: Sequence[FieldViolation] = ()
    ) -> domain.Completion:
        """The fake's completion, with the log probabilities."""
        answer = await FakeCompleter.complete(self, request, violations=violations)
        return replace(answer, choices=(replace(answer.choices[0], logprobs=self.logprobs),))


async def test_log_probabilities_are_never_encoded_on_the_event_loop() -> None:
    """Encoding 20 alternatives for each of 16,000 tokens takes 0.7 s."""
    completer = LogprobCompleter()
    completer.logprobs = observed = ObservedLogprobs([LOGPROB])
    servicer = CompletionServicer(FakeCatalogue((completer,)))
    decoded = Decoded(request=domain.CompletionRequest(top_logprobs=20), violations=())
    response = await servicer.complete(decoded, Call(method="Complete", request_id="1"))
    assert len(response.choices[0].logprobs) == 1
    assert observed.readers
    assert threading.get_ident() not in observed.readers
