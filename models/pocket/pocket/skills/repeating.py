"""Texts to be repeated literally. Copying is the basis of the other skills."""

from pocket.conversation import Check, Conversation, Exchange, Message
from pocket.draw import Draw, pool
from pocket.words import ANIMALS, FOODS, OBJECTS, PLACES

SKILL = "repeating"

REQUESTS = pool(
    "repeat request",
    "[Repeat|Say|Write|Copy] [this|these words|the words|what I say][ again| please|]: {text}",
    "[Please|Now please|Can you|Could you] [repeat|say|write|copy] [this|these words|the words]: {text}",
    "[Repeat|Say this|Say it|Repeat this|Repeat it] after me: {text}",
    "[Repeat|Say|Write|Copy] [the words|the text] [after me|exactly]: {text}",
    "{text}\n[Repeat|Say|Write|Copy] [this|that|these words|the words][ again| please|].",
    "[I say|I write|The words are|The text is]: {text}. [Repeat|Say|Write|Copy] [it|this|that][ again| please|].",
)


def exchange(draw: Draw) -> Exchange:
    """One text to repeat."""
    separator = draw.any((" ", " ", ", "))
    text = separator.join(_word(draw) for _ in range(draw.count(1, 12)))
    user = draw.of(REQUESTS).format(text=text)
    return Exchange(user=user, answer=text, check=Check(rule="exact", values=(text,)))


def conversation(draw: Draw) -> Conversation:
    """One to three texts."""
    exchanges = [exchange(draw) for _ in range(draw.any((1, 1, 2, 3)))]
    messages: list[Message] = [message for part in exchanges for message in part.messages()]
    return Conversation(skill=SKILL, messages=messages, check=exchanges[-1].check)


def _word(draw: Draw) -> str:
    kind = draw.any(("coined", "coined", "name", "number", "known"))
    if kind == "coined":
        return draw.coined()
    if kind == "name":
        return draw.name()
    return str(draw.count(0, 9999)) if kind == "number" else draw.of(draw.any((OBJECTS, ANIMALS, FOODS, PLACES)))
