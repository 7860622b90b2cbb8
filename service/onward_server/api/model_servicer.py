"""`ModelService`: what is served; it does not know how models answer."""

from onward.v1 import model_service_pb2
from onward_server.api import decode, encode
from onward_server.api.boundary import Boundary, Call, ServiceHandlers
from onward_server.api.ports import Catalogue
from onward_server.errors import InvalidRequest

_DEFAULT_PAGE_SIZE = 100


class ModelServicer:
    """Answers `ListModels` and `GetModel` from a catalogue of models."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def handlers(self, boundary: Boundary) -> ServiceHandlers:
        """Its methods, bound."""
        service = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]
        handlers = ServiceHandlers(service, boundary)
        handlers.unary("ListModels", decode.list_models_request, self.list_models)
        handlers.unary("GetModel", decode.get_model_request, self.get_model)
        return handlers

    async def list_models(self, page: decode.PageRequest, call: Call) -> model_service_pb2.ListModelsResponse:
        """One page by id; a page token is the last id of the page before."""
        cards = self._catalogue.cards()
        ids = [card.id for card in cards]
        if page.token and page.token not in ids:
            raise InvalidRequest.of("page_token", "is not the `next_page_token` of a page of this list")
        first = ids.index(page.token) + 1 if page.token else 0
        end = first + (page.size or _DEFAULT_PAGE_SIZE)
        listed = cards[first:end]
        call.note(models=len(listed))
        return model_service_pb2.ListModelsResponse(
            models=[encode.model(card) for card in listed],
            next_page_token=listed[-1].id if end < len(cards) else "",
        )

    async def get_model(self, model: str, call: Call) -> model_service_pb2.GetModelResponse:
        """One model by id or alias."""
        call.note(model=model)
        return model_service_pb2.GetModelResponse(model=encode.model(self._catalogue.get(model).card))
