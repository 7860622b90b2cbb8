"""The methods of `TokenizerService`."""

import asyncio

from onward.v1 import tokenizer_service_pb2
from onward_server.api import decode, encode
from onward_server.api.boundary import Boundary, Call, ServiceHandlers
from onward_server.api.ports import Catalogue


class TokenizerServicer:
    """Serves `CountTokens`, `Tokenize` and `Detokenize` with the models of a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def handlers(self, boundary: Boundary) -> ServiceHandlers:
        """Returns the handlers of its methods."""
        service = tokenizer_service_pb2.DESCRIPTOR.services_by_name["TokenizerService"]
        handlers = ServiceHandlers(service, boundary)
        handlers.unary("CountTokens", decode.count_tokens_request, self.count_tokens)
        handlers.unary("Tokenize", decode.tokenize_request, self.tokenize)
        handlers.unary("Detokenize", decode.detokenize_request, self.detokenize)
        return handlers

    async def count_tokens(self, decoded: decode.Decoded, call: Call) -> tokenizer_service_pb2.CountTokensResponse:
        """Returns the number of prompt tokens of a completion request."""
        completer = self._catalogue.get(decoded.request.model)
        prompt_tokens = await completer.count_tokens(decoded.request, violations=decoded.violations)
        call.note(model=completer.card.id, prompt_tokens=prompt_tokens)
        return tokenizer_service_pb2.CountTokensResponse(
            model=completer.card.id,
            prompt_tokens=prompt_tokens,
            remaining_tokens=completer.card.context_length - prompt_tokens,
        )

    async def tokenize(self, request: decode.TokenizeInput, call: Call) -> tokenizer_service_pb2.TokenizeResponse:
        """Returns the tokens of a text or of a request's prompt."""
        completer = self._catalogue.get(request.model)
        prompt, tokens = await completer.tokenize(request.source, violations=request.violations)
        call.note(model=completer.card.id, prompt_tokens=len(tokens))
        encoded = await asyncio.to_thread(encode.tokens, tokens)
        return tokenizer_service_pb2.TokenizeResponse(model=completer.card.id, tokens=encoded, prompt=prompt)

    async def detokenize(self, request: decode.DetokenizeInput, call: Call) -> tokenizer_service_pb2.DetokenizeResponse:
        """Returns the text of tokens."""
        completer = self._catalogue.get(request.model)
        call.note(model=completer.card.id, tokens=len(request.token_ids))
        text = await asyncio.to_thread(
            completer.detokenize, request.token_ids, keep_special_tokens=request.keep_special_tokens
        )
        return tokenizer_service_pb2.DetokenizeResponse(model=completer.card.id, text=text)
