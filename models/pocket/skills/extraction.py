"""A sentence turned into a JSON object with the keys that were asked for; it uses no schema."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from models.pocket.conversation import Check, Conversation, Exchange, Message
from models.pocket.draw import Draw, Pool, pool
from models.pocket.words import COLOURS, DAYS, FOODS, HOBBIES, JOBS, OBJECTS

SKILL = "extraction"


@dataclass(frozen=True, slots=True)
class Clause:
    """One key with its value, and ways to say it after a name or "It"."""

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
    Clause("city", pool("json city", "lives in {v}", "comes from {v}", "moved to {v}", "has a house in {v}", "stays in {v}", "is from {v}", "grew up in {v}", "is at home in {v}"), _town),
    Clause("age", pool("json age", "is {v} years old", "is {v}", "is {v} years of age", "is just {v} years old", "turned {v}", "is now {v} years old", "became {v} this year", "is already {v} years old"), _age),
    Clause("job", pool("json job", "works as a {v}", "is a {v}", "became a {v}", "earns money as a {v}", "has a job as a {v}", "is known as a {v}", "wants to be a {v}", "is working as a {v}"), _job),
    Clause("married", pool("json married", "is {not}married", "is {not}married at all", "is {not}happily married", "is {not}a married person", "is {not}married today", "is {not}yet married", "is {not}really married", "is {not}married now"), _yes_or_no),
    Clause("member", pool("json member", "is {not}a member", "is {not}a member of the club", "is {not}one of the members", "is {not}a club member", "is {not}a member here", "is {not}yet a member", "is {not}a new member", "is {not}an old member"), _yes_or_no),
    Clause("children", pool("json children", "has {v} children", "looks after {v} children", "has a family with {v} children", "came with {v} children", "brought {v} children", "is here with {v} children", "cares for {v} children", "raises {v} children", "feeds {v} children", "lives with {v} children", "teaches {v} children"), _number),
    Clause("colour", pool("json colour", "likes the colour {v}", "prefers {v}", "loves {v} things", "always wears {v}", "wears {v} clothes", "has a {v} coat", "is dressed in {v}", "paints everything {v}"), _colour),
    Clause("day", pool("json day", "comes on {v}", "arrives on {v}", "will be here on {v}", "is free on {v}", "leaves on {v}", "visits us on {v}", "has time on {v}", "is back on {v}"), _day),
    Clause("foods", pool("json foods", "eats {v}", "likes {v}", "loves to eat {v}", "bought {v}", "orders {v}", "brought {v}", "cooks {v}", "wants {v} for dinner"), _foods),
    Clause("hobbies", pool("json hobbies", "enjoys {v}", "has fun with {v}", "is good at {v}", "enjoys all of {v}", "is fond of {v}", "learns {v}", "spends the week with {v}", "talks about {v}"), _hobbies),
    Clause("friends", pool("json friends", "is a friend of {v}", "knows {v}", "has the friends {v}", "plays with {v}", "met the friends {v}", "came with {v}", "is here with {v}", "knows the friends {v}"), _friends),
)  # fmt: skip

REQUESTS = pool(
    "json request", "Extract {keys} as JSON: {text}", "Give me {keys} as JSON. {text}", "JSON with {keys}: {text}", "Write {keys} as a JSON object: {text}",
    "Turn this into JSON with the keys {keys}. {text}", "Extract {keys} from this text as JSON: {text}", "{text}\nExtract {keys} as JSON.",
    "{text} Give {keys} as JSON.", "Make JSON with {keys} from: {text}", "Extract JSON with the keys {keys}: {text}", "Text: {text}\nJSON keys: {keys}",
    "Return {keys} as JSON. Text: {text}", "Return a JSON object with {keys} for this: {text}", "{text}\nTurn it into JSON with {keys}.", "Please extract {keys} as JSON: {text}", "Find {keys} and answer in JSON: {text}", "Put {keys} into JSON. {text}", "As JSON, tell me {keys}: {text}",
)  # fmt: skip
ORDERS = pool(
    "json order", "{name} orders {count} {thing}s.", "{name} bought {count} {thing}s.", "{count} {thing}s for {name}, please.", "{name} sent us {count} {thing}s.",
    "{name} needs {count} {thing}s.", "We got {count} {thing}s from {name}.", "{name} wants {count} {thing}s.", "{name} sold {count} {thing}s.",
    "{name} made {count} {thing}s.", "{name} found {count} {thing}s.", "{name} gave us {count} {thing}s.",
)  # fmt: skip
LABELS = pool(
    "json label",
    "{key} is {v}",
    "{key}: {v}",
    "the {key} is {v}",
    "{key} = {v}",
    "with {key} {v}",
    "has {key} {v}",
    "{key} {v}",
    "its {key} is {v}",
    "my {key} is {v}",
    "{key} of {v}",
    "a {key} is {v}",
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
    """Keys that mean nothing, so that they must be copied."""
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
