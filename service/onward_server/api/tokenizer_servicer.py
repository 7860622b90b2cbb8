"""`TokenizerService`: counts and tokens of prompts; it does not know tokenizers or templates."""

import asyncio

from onward.v1 import tokenizer_service_pb2
from onward_server.api import decode, encode
from onward_server.api.boundary import Boundary, Call, ServiceHandlers
from onward_server.api.ports import Catalogue


class TokenizerServicer:
    """Answers `CountTokens`, `Tokenize` and `Detokenize` as `CompletionService` would read them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def handlers(self, boundary: Boundary) -> ServiceHandlers:
        """Its methods, bound."""
        service = tokenizer_service_pb2.DESCRIPTOR.services_by_name["TokenizerService"]
        handlers = ServiceHandlers(service, boundary)
        handlers.unary("CountTokens", decode.count_tokens_request, self.count_tokens)
        handlers.unary("Tokenize", decode.tokenize_request, self.tokenize)
        handlers.unary("Detokenize", decode.detokenize_request, self.detokenize)
        return handlers

    async def count_tokens(self, decoded: decode.Decoded, call: Call) -> tokenizer_service_pb2.CountTokensResponse:
        """What a completion would cost."""
        completer = self._catalogue.get(decoded.request.model)
        prompt_tokens = await completer.count_tokens(decoded.request, violations=decoded.violations)
        call.note(model=completer.card.id, prompt_tokens=prompt_tokens)
        return tokenizer_service_pb2.CountTokensResponse(
            model=completer.card.id,
            prompt_tokens=prompt_tokens,
            remaining_tokens=completer.card.context_length - prompt_tokens,
        )

    async def tokenize(self, wanted: decode.TokenizeInput, call: Call) -> tokenizer_service_pb2.TokenizeResponse:
        """Text, or a rendered request, into tokens."""
        completer = self._catalogue.get(wanted.model)
        prompt, tokens = await completer.tokenize(wanted.source, violations=wanted.violations)
        call.note(model=completer.card.id, prompt_tokens=len(tokens))
        encoded = await asyncio.to_thread(encode.tokens, tokens)
        return tokenizer_service_pb2.TokenizeResponse(model=completer.card.id, tokens=encoded, prompt=prompt)

    async def detokenize(self, wanted: decode.DetokenizeInput, call: Call) -> tokenizer_service_pb2.DetokenizeResponse:
        """Tokens into text."""
        completer = self._catalogue.get(wanted.model)
        call.note(model=completer.card.id, tokens=len(wanted.token_ids))
        text = await asyncio.to_thread(
            completer.detokenize, wanted.token_ids, keep_special_tokens=wanted.keep_special_tokens
        )
        return tokenizer_service_pb2.DetokenizeResponse(model=completer.card.id, text=text)
