"""Sentences to be turned into JSON objects with the requested keys."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from pocket.conversation import Check, Conversation, Exchange, Message
from pocket.draw import Draw, Pool, pool
from pocket.words import COLOURS, DAYS, FOODS, HOBBIES, JOBS, OBJECTS

SKILL = "extraction"


@dataclass(frozen=True, slots=True)
class Clause:
    """A key, its value, and ways to state it after a name or "It"."""

    key: str
    said: Pool
    draw_value: Callable[[Draw], object]


def _town(draw: Draw) -> object:
    return draw.name()


def _age(draw: Draw) -> object:
    return draw.count(5, 99)


def _job(draw: Draw) -> object:
    return draw.of(JOBS)


def _yes_or_no(draw: Draw) -> object:
    return draw.chance(0.5)


def _number(draw: Draw) -> object:
    return draw.count(2, 20)


def _colour(draw: Draw) -> object:
    return draw.any(COLOURS)


def _day(draw: Draw) -> object:
    return draw.any(DAYS)


def _foods(draw: Draw) -> object:
    return draw.some_of(FOODS, draw.count(2, 3))


def _hobbies(draw: Draw) -> object:
    return draw.some_of(HOBBIES, draw.count(2, 3))


def _friends(draw: Draw) -> object:
    return draw.names(draw.count(2, 3))


CLAUSES = (
    Clause(
        "city",
        pool(
            "json city",
            "[|now |still ][lives|stays] in [|the town of |the city of ]{v}",
            "[|now |still |also ]has a [house|home|flat] in [|the town of |the city of ]{v}",
            "[comes|is] [|originally ]from [|the town of |the city of ]{v}",
            "[|has |has just |just ]moved to [|the town of |the city of ]{v}",
            "[grew up|was born|has a room] in [|the town of |the city of ]{v}",
            "is [|now |still ]at home in [|the town of |the city of ]{v}",
        ),
        _town,
    ),
    Clause(
        "age",
        pool(
            "json age",
            "is [|now |just |already |only ]{v}[| years old| years of age]",
            "is {v} [years old|years of age] [now|today|this year]",
            "[|just |has just |has already ]turned {v}[| today| this year]",
            "is [|now |just |already |only ]at the age of {v}",
            "[|just |has just |has already ]reached the age of {v}[| today| this year]",
        ),
        _age,
    ),
    Clause(
        "job",
        pool(
            "json job",
            "[|now |still |also ]works as a [|good |busy |trained ]{v}",
            "is [|now |still |also ]a [|good |busy |trained ]{v}",
            "is [|now |still |also ]working as a [|good |busy |trained ]{v}",
            "[|has |just |recently ]found work as a [|good |busy |trained ]{v}",
            "[|just |recently |also ]became a [|good |busy |trained ]{v}",
            "[earns money|has a job|has work] as a [|good |busy |trained ]{v}",
        ),
        _job,
    ),
    Clause(
        "married",
        pool(
            "json married",
            "is {not}[|officially |legally ]married[| now| today| at the moment]",
            "is [now |still |currently |at present ]{not}[|officially |legally ]married",
            "is [|now |still |currently ]{not}a married person",
            "is [said|known|believed] to be {not}[|officially |legally ]married",
            "is [happy|busy|young|old] and {not}[|officially |legally ]married[| now]",
        ),
        _yes_or_no,
    ),
    Clause(
        "member",
        pool(
            "json member",
            "is {not}a [|club |full |new |real ]member[| now| today| at the moment]",
            "is {not}a [|full |new |real ]member of [the|our|this] club",
            "is [now|still|currently] {not}a [|full |real ]member[| of the club| of our club]",
            "is {not}one of the [|full |new |real ]members[| now| today| of our club| of this club]",
            "is [said|known|believed] to be {not}a [|club |full |new |real ]member",
        ),
        _yes_or_no,
    ),
    Clause(
        "children",
        pool(
            "json children",
            "[|now |also |already ]has {v} [|small |young ]children",
            "[looks after|cares for|feeds|teaches|raises] {v} [|small |young ]children[| at home]",
            "[lives|stays|travels|came|is here|is at home] with {v} [|small |young ]children",
            "[has|raises|looks after|cares for] a family with {v} [|small |young ]children[| at home]",
            "is [|now |also |already ]the parent of {v} [|small |young ]children",
        ),
        _number,
    ),
    Clause(
        "colour",
        pool(
            "json colour",
            "[|always |often |also ][likes|loves|prefers|wears|paints with] the colour {v}",
            "[|always |often |also ]wears {v}[| clothes| shoes| trousers| things]",
            "[|always |often |also ]wears the [|new |old ]{v} [coat|hat|shirt|scarf]",
            "is [|always |often |also ]dressed in {v}[| clothes| things| today]",
            "[says|thinks] that the [best|nicest] colour is {v}",
            "[says|thinks] that {v} is the [best|nicest] colour",
        ),
        _colour,
    ),
    Clause(
        "day",
        pool(
            "json day",
            "[comes|arrives|leaves|calls us] [on|next|this] {v}[| morning| evening]",
            "is [free|back|here|away] [on|next|this] {v}[| morning| evening]",
            "will [come|arrive|leave|be here|be back|be free] [on|next|this] {v}[| morning| evening]",
            "[visits|calls|will visit|will call] us [on|next|this] {v}",
            "[has|will have] time [on|next|this] {v}[| morning| evening]",
        ),
        _day,
    ),
    Clause(
        "foods",
        pool(
            "json foods",
            "[|always |often |also ][eats|cooks|orders] {v}[| for lunch| for dinner| at home]",
            "[likes|loves|wants] to [eat|cook|order] {v}[| for lunch| for dinner]",
            "[ate|cooked|ordered] {v} [today|for lunch|for dinner|at home]",
            "is [eating|cooking|ordering] {v}[| today| for lunch| for dinner| at home]",
            "[has|had|wants] {v} [for lunch|for dinner|to eat][| today| at home]",
        ),
        _foods,
    ),
    Clause(
        "hobbies",
        pool(
            "json hobbies",
            "[|really |always |also |often ]enjoys {v}[| at home| at the weekend| every week]",
            "is [|very |really |also ]good at {v}",
            "[|really |always |also |often ]has [|great |a lot of ]fun with {v}[| at home| at the weekend]",
            "[has|likes|loves|enjoys] the [|favourite ]hobbies {v}",
            "[|always |also |often ]enjoys a [day|week|weekend] of {v}",
            "is [|very |really |also ]fond of {v}[| at home| at the weekend]",
        ),
        _hobbies,
    ),
    Clause(
        "friends",
        pool(
            "json friends",
            "is [|now |still |also ][a friend of|a good friend of|friends with|good friends with] {v}",
            "[|now |still |also ]has the [|good |old |new ]friends {v}",
            "[|often |also ][meets|plays with|talks to] [|the friends |the good friends ]{v}",
            "[|already |also |still ]knows [|the friends |the good friends |the old friends ]{v}",
            "[came|is here|is at home] with [|the friends |the good friends |the old friends ]{v}",
            "is [meeting|playing with|talking to] [|the friends |the good friends |the old friends ]{v}",
        ),
        _friends,
    ),
)

REQUESTS = pool(
    "json request",
    "[Extract|Please extract|Give me|Please give me|Write|Return] {keys} as [JSON|a JSON object]: {text}",
    "[Extract|Give me|Write|Return] {keys} from this [text|sentence] as [JSON|a JSON object]: {text}",
    "[Extract|Give me|Return|Make] [JSON|a JSON object] with [|the keys ]{keys}[:| from:| from this text:] {text}",
    "[JSON|JSON object|A JSON object] with [|the keys ]{keys}[:|, please:| from this text:] {text}",
    "[Turn|Put|Please turn|Please put] this [|text ]into [JSON|a JSON object] with [|the keys ]{keys}: {text}",
    "{text}[\n| ][Extract|Give me|Write|Return] {keys} as [JSON|a JSON object].",
    "{text}[\n| ][Turn|Put] this [|text ]into [JSON|a JSON object] with [|the keys ]{keys}.",
    "[Text|Sentence]: {text}[\n| ][JSON|JSON keys|Keys of the JSON object]: {keys}",
)  # fmt: skip
ORDERS = pool(
    "json order",
    "{name} [|also ][orders|ordered|bought|needs|wants] {count} {thing}s[| from us| today].",
    "{name} [|also ][sold|gave|sent|brought] us {count} {thing}s[| today| yesterday].",
    "{name} [|also ][made|found|sold|lost] {count} {thing}s[| today| yesterday].",
    "We [|also ][got|bought|ordered] {count} {thing}s from {name}[| today| yesterday].",
    "{name} [wants|needs|would like] to [buy|order|sell|have] {count} {thing}s[| today].",
    "{count} {thing}s for {name}[|, please| today].",
)  # fmt: skip
LABELS = pool(
    "json label",
    "[|the |my |its |our ]{key} [|now |also ]is {v}",
    "[|the |my |its |our ]{key}[:| =|] {v}",
    "[with|has|and with|also has] [|the ]{key}[| of|:| =] {v}",
    "[|the |my |its |our ]{key} [of|has the value|with the value] {v}",
    "[|also |now ]set [|the |my |its |our ]{key} to [|the value ]{v}",
)


def exchange(draw: Draw) -> Exchange:
    """One request for JSON."""
    write = draw.any((_person, _person, _person, _order, _labels))
    text, found = write(draw)
    keys = draw.shuffled(list(found)) if draw.chance(0.5) else list(found)
    if len(keys) > 2 and draw.chance(0.3):
        keys.pop()
    answer = json.dumps({key: found[key] for key in keys})
    named = ", ".join(keys) if draw.chance(0.5) else f"{', '.join(keys[:-1])} and {keys[-1]}"
    user = draw.of(REQUESTS).format(keys=named if len(keys) > 1 else keys[0], text=text)
    return Exchange(user=user, answer=answer, check=Check(rule="json", values=(answer,)))


def conversation(draw: Draw) -> Conversation:
    """One to three requests."""
    exchanges = [exchange(draw) for _ in range(draw.turns((1, 1, 2, 3)))]
    messages: list[Message] = [message for part in exchanges for message in part.messages()]
    return Conversation(skill=SKILL, messages=messages, check=exchanges[-1].check)


def _person(draw: Draw) -> tuple[str, dict[str, object]]:
    name = draw.name()
    found: dict[str, object] = {"name": name}
    parts: list[str] = []
    for clause in draw.random.sample(CLAUSES, draw.count(1, 4)):
        value = clause.draw_value(draw)
        found[clause.key] = value
        parts.append(draw.of(clause.said).format(v=_spoken(value), **{"not": "" if value else "not "}))
    text = name + " " + (" and ".join(parts) if len(parts) < 3 else f"{', '.join(parts[:-1])} and {parts[-1]}")
    return f"{text}.", found


def _order(draw: Draw) -> tuple[str, dict[str, object]]:
    name, amount, thing = draw.name(), draw.count(2, 99), draw.of(OBJECTS)
    text = draw.of(ORDERS).format(name=name, count=amount, thing=thing)
    return text, {"name": name, "items": f"{thing}s", "count": amount}


def _labels(draw: Draw) -> tuple[str, dict[str, object]]:
    """Keys without a meaning, which can only be copied."""
    found: dict[str, object] = {}
    parts: list[str] = []
    for _ in range(draw.count(2, 3)):
        key = draw.of(OBJECTS) if draw.chance(0.5) else draw.coined()
        value: object = draw.any((draw.name, lambda: draw.count(0, 999)))()
        found[key] = value
        parts.append(draw.of(LABELS).format(key=key, v=value))
    return ", ".join(parts) + ".", found


def _spoken(value: object) -> str:
    if isinstance(value, list):
        items = [str(item) for item in value]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        return f"{', '.join(items[:-1])} and {items[-1]}"
    return str(value)
