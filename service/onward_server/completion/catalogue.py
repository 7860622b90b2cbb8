"""The models that this server serves, by id and alias; it does not know how they answer."""

from collections.abc import Sequence

from onward_server.completion.completer import Completer
from onward_server.domain import ModelCard
from onward_server.errors import ModelNotFound


class Catalogue:
    """Completers by name; the first one is the default."""

    def __init__(self, completers: Sequence[Completer]) -> None:
        self._default = completers[0]
        self._by_name = {
            name: completer for completer in completers for name in (*completer.card.aliases, completer.card.id)
        }

    def get(self, model: str) -> Completer:
        """The completer of a model; an empty name is the default.

        Raises:
            ModelNotFound: no model has this id or alias.
        """
        if not model:
            return self._default
        if model not in self._by_name:
            raise ModelNotFound(model, [card.id for card in self.cards()])
        return self._by_name[model]

    def cards(self) -> tuple[ModelCard, ...]:
        """What clients can know of each model, by id."""
        cards = {completer.card.id: completer.card for completer in self._by_name.values()}
        return tuple(cards[model] for model in sorted(cards))
