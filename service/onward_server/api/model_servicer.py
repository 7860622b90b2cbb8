"""The methods of `ModelService`."""

from onward.v1 import model_service_pb2
from onward_server.api import decode, encode
from onward_server.api.boundary import Boundary, Call, ServiceHandlers
from onward_server.api.ports import Catalogue
from onward_server.errors import InvalidRequest
from onward_server.version import VERSION

_DEFAULT_PAGE_SIZE = 100


class ModelServicer:
    """Serves `ListModels` and `GetModel` from a catalogue of models."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def handlers(self, boundary: Boundary) -> ServiceHandlers:
        """Returns the handlers of its methods."""
        service = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]
        handlers = ServiceHandlers(service, boundary)
        handlers.unary("ListModels", decode.list_models_request, self.list_models)
        handlers.unary("GetModel", decode.get_model_request, self.get_model)
        return handlers

    async def list_models(self, page: decode.PageRequest, call: Call) -> model_service_pb2.ListModelsResponse:
        """Returns one page of the models ordered by id. A page token is the last id of the previous page."""
        cards = self._catalogue.cards()
        ids = [card.id for card in cards]
        if page.token and page.token not in ids:
            raise InvalidRequest.of(
                "page_token", f"{page.token!r} is not a `next_page_token` of this list; start again without one"
            )
        first = ids.index(page.token) + 1 if page.token else 0
        end = first + (page.size or _DEFAULT_PAGE_SIZE)
        listed = cards[first:end]
        call.note(models=len(listed))
        return model_service_pb2.ListModelsResponse(
            models=[encode.model(card) for card in listed],
            next_page_token=listed[-1].id if end < len(cards) else "",
            server_version=VERSION,
        )

    async def get_model(self, model: str, call: Call) -> model_service_pb2.GetModelResponse:
        """Returns one model by id or alias."""
        call.note(model=model)
        card = self._catalogue.get(model).card
        return model_service_pb2.GetModelResponse(model=encode.model(card), server_version=VERSION)
