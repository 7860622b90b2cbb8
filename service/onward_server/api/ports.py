"""The protocols that the servicers call: a completer for each model, and a catalogue of them."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from onward_server.domain import Completion, CompletionEvent, CompletionRequest, ModelCard, PromptToken, RawText
from onward_server.errors import FieldViolation


class Completer(Protocol):
    """Serves requests with one model.

    `violations` are those that decoding found. The completer adds those of validation and raises one InvalidRequest.
    """

    @property
    def card(self) -> ModelCard:
        """What clients can know about the model."""
        ...

    def stream(
        self, request: CompletionRequest, *, violations: Sequence[FieldViolation] = ()
    ) -> AsyncGenerator[CompletionEvent]:
        """Yields the events of a completion as they occur. Closing the generator ends the request."""
        ...

    async def complete(self, request: CompletionRequest, *, violations: Sequence[FieldViolation] = ()) -> Completion:
        """Returns the whole completion."""
        ...

    async def count_tokens(self, request: CompletionRequest, *, violations: Sequence[FieldViolation] = ()) -> int:
        """Returns the number of tokens of the prompt."""
        ...

    async def tokenize(
        self, source: RawText | CompletionRequest, *, violations: Sequence[FieldViolation] = ()
    ) -> tuple[str, tuple[PromptToken, ...]]:
        """Returns the prompt's text and its tokens."""
        ...

    def detokenize(self, token_ids: Sequence[int], *, keep_special_tokens: bool) -> str:
        """Returns the text of the tokens."""
        ...


class Catalogue(Protocol):
    """The served models."""

    def get(self, model: str) -> Completer:
        """Returns the model with this id or alias; an empty name is the default model. Raises ModelNotFound."""
        ...

    def cards(self) -> tuple[ModelCard, ...]:
        """Returns the cards of all models, ordered by id."""
        ...
