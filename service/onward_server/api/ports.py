"""What the edge asks of the layer below, as protocols; it does not know who answers."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from onward_server.domain import Completion, CompletionEvent, CompletionRequest, ModelCard, PromptToken, RawText
from onward_server.errors import FieldViolation


class Completer(Protocol):
    """Answers requests with one model.

    `violations` is what decoding already found wrong; the completer adds its own and raises one InvalidRequest.
    """

    @property
    def card(self) -> ModelCard:
        """What a client can know of the model."""
        ...

    def stream(
        self, request: CompletionRequest, *, violations: Sequence[FieldViolation] = ()
    ) -> AsyncGenerator[CompletionEvent]:
        """The answer as it is made; closing the generator ends the work."""
        ...

    async def complete(self, request: CompletionRequest, *, violations: Sequence[FieldViolation] = ()) -> Completion:
        """The whole answer."""
        ...

    async def count_tokens(self, request: CompletionRequest, *, violations: Sequence[FieldViolation] = ()) -> int:
        """Tokens of the rendered prompt."""
        ...

    async def tokenize(
        self, source: RawText | CompletionRequest, *, violations: Sequence[FieldViolation] = ()
    ) -> tuple[str, tuple[PromptToken, ...]]:
        """The prompt's text and its tokens."""
        ...

    def detokenize(self, token_ids: Sequence[int], *, keep_special_tokens: bool) -> str:
        """Text of the tokens."""
        ...


class Catalogue(Protocol):
    """The served models."""

    def get(self, model: str) -> Completer:
        """The model with this id or alias, the default one for an empty name; raises ModelNotFound."""
        ...

    def cards(self) -> tuple[ModelCard, ...]:
        """All models, sorted by id."""
        ...
