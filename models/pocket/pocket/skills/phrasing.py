"""What users put around a request: openers, closers, careless spelling."""

from pocket.draw import Draw, pool

OPENERS = pool(
    "opener",
    "[Okay|Now|So|Hey|Well|Hm|Oh|Alright|Then], ",
    "[Okay|So|Hey|Well|Alright], [now|then|so], ",
    "[Okay|Now|So|Hey|Well|By the way], [quick question|one question|one more question|a quick question]: ",
    "[Quick question|One question|One more question|Another question]: ",
    "[By the way|Now|Then|Well], [another question|quick question]: ",
    "[Hey|Oh|Okay|Hm] [Pocket|you], ",
)
CLOSERS = pool(
    "closer",
    " [Thanks|Thank you|Please|Cheers|Be quick][!|.]",
    " [Thanks|Thank you][ a lot| very much| so much|][!|.]",
    " [Please|Please, please|Please be quick][!|.]",
    " [Thanks|Thank you|Cheers], [Pocket|you][!|.]",
)


def lowered(text: str) -> str:
    """The text with a small first letter, unless it begins with I or a name would."""
    keeps = text.startswith(("I ", "I'", "Monday"))
    return text if keeps else text[:1].lower() + text[1:]


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def asked(draw: Draw, text: str, *, name_first: bool = False) -> str:
    """A request as users type it. Text that starts with a name keeps its first letter."""
    if not name_first and draw.chance(0.15):
        text = draw.of(OPENERS) + lowered(text)
    elif not name_first and draw.chance(0.1):
        text = lowered(text)
    if draw.chance(0.08):
        return text + draw.of(CLOSERS)
    return text.rstrip(".?") if draw.chance(0.1) else text


def with_article(noun: str) -> str:
    """A noun with "a" or "an"."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
