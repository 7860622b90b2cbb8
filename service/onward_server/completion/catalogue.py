"""The models that the server serves, by id and alias."""

from collections.abc import Sequence

from onward_server.completion.completer import Completer
from onward_server.domain import ModelCard
from onward_server.errors import ModelNotFound


class Catalogue:
    """The completers of all models; the first one is the default."""

    def __init__(self, completers: Sequence[Completer] = ()) -> None:
        """Without completers, they have to be set before the first request."""
        self.set(completers)

    def set(self, completers: Sequence[Completer]) -> None:
        """Replaces all completers."""
        self._default = next(iter(completers), None)
        self._by_name = {
            name: completer for completer in completers for name in (*completer.card.aliases, completer.card.id)
        }

    def get(self, model: str) -> Completer:
        """Returns the completer of a model, given its id or alias; an empty name means the default model.

        Raises:
            ModelNotFound: No model has this id or alias.
        """
        if not model and self._default is not None:
            return self._default
        if model not in self._by_name:
            raise ModelNotFound(model, [card.id for card in self.cards()])
        return self._by_name[model]

    def cards(self) -> tuple[ModelCard, ...]:
        """Returns what clients may know of each model, sorted by id."""
        cards = {completer.card.id: completer.card for completer in self._by_name.values()}
        return tuple(cards[model] for model in sorted(cards))
