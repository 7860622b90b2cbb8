"""Offered functions: choosing one, calling it, answering from its result, or doing without; it runs no function."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from models.pocket.conversation import (
    Check,
    Conversation,
    Function,
    Message,
    Tool,
    instruction,
    said_by_model,
    said_by_tool,
    said_by_user,
)
from models.pocket.draw import Draw, pool, words
from models.pocket.skills import chat
from models.pocket.skills.known_tools import known_request
from models.pocket.skills.phrasing import asked, capital, with_article
from models.pocket.skills.tool_parameters import PARAMETERS, Parameter

CALL_SKILL = "tool call"
RESULT_SKILL = "tool result"
NO_TOOL_SKILL = "no tool"

VERBS = words(
    "verb",
    "book send open close find order paint clean repair move sell buy rent lock check count start stop print copy "
    "hide show wash fill weigh lift pack return cancel save share build paint draw measure sort wrap test update deliver",
)
TOOL_NOUNS = words(
    "tool noun",
    "table room ticket letter message door window meeting report file photo song film game car train taxi parcel meal "
    "pizza garden lamp heater alarm camera robot printer invoice order payment account bill event lesson course team "
    "house bike boat flight hotel seat desk shelf plant tree dog cat horse engine tank bottle box bag coat shoe machine",
)
ATTRIBUTES = words(
    "attribute",
    "price weight height colour age speed size status owner level score rank length value power address birthday "
    "temperature distance width balance depth voltage pressure mood title phone language author capital version brand",
)
REQUESTS = pool(
    "tool request", "{Do}.", "Please {do}.", "Can you {do}?", "I want to {do}.", "Could you {do}?", "{Do}, please.", "I need you to {do}.", "I'd like to {do}.",
    "Would you {do}?", "Help me to {do}.", "You should {do}.", "Now {do}.", "I would like to {do}.", "Can you please {do}?", "Let's {do}.", "Go and {do}.",
)  # fmt: skip
LOOKUPS = pool(
    "lookup", "What is the {attribute} of {item}?", "Tell me the {attribute} of {item}.", "I need the {attribute} of {item}.", "Which {attribute} does {item} have?",
    "Look up the {attribute} of {item}.", "What {attribute} does {item} have?", "Do you know the {attribute} of {item}?", "Find the {attribute} of {item}.",
    "Can you find the {attribute} of {item}?", "Please get the {attribute} of {item}.", "Give me the {attribute} of {item}.", "What's the {attribute} of {item}?",
)  # fmt: skip
STATUS = "status"
DONE = "Done. The {key} is {value}."
OUTCOMES = (
    "sunny",
    "rainy",
    "cloudy",
    "cold",
    "warm",
    "windy",
    "open",
    "closed",
    "empty",
    "full",
    "new",
    "old",
    "low",
    "high",
)
GETTERS = ("get", "lookup", "read", "fetch", "query")
LARGEST_OFFER = 4
NO_TOOL = "I'm sorry, I have no tool for that."
SYSTEMS = pool(
    "tool system", "You are a helpful assistant.", "Use the tools when they help.", "You can call functions.", "You are a helpful assistant with tools.",
    "Call a tool when you need it.", "Help the user.", "You help people with tools.", "Use a function if one fits.",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A function, and a user's words that ask for it with the arguments they hold."""

    name: str
    description: str
    parameters: Sequence[Parameter]
    user: str
    arguments: dict[str, object]
    outcome: str
    """The key of the result that answers the user; STATUS for an action."""
    noun: str
    """What the function's name says it is about."""
    answer: str
    """Tells the user the outcome, with slots for its key and value."""

    def definition(self, *, is_described: bool, explains: bool) -> Tool:
        """The function as templates take it."""
        properties = {parameter.name: parameter.schema(explains=explains) for parameter in self.parameters}
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description if is_described else "",
                "parameters": {"type": "object", "properties": properties, "required": list(properties)},
            },
        }

    def call(self) -> Function:
        return {"name": self.name, "arguments": self.arguments}


def request(draw: Draw, verb: str | None = None, noun: str | None = None) -> Request:
    """An action on a noun, with up to three arguments."""
    verb = verb or (draw.of(VERBS) if draw.chance(0.7) else draw.coined())
    noun = noun or (draw.of(TOOL_NOUNS) if draw.chance(0.7) else draw.coined())
    kinds = draw.random.sample(PARAMETERS, draw.any((0, 1, 1, 2, 2, 3)))
    parameters = [kind.parameter(draw) for kind in kinds]
    values = [(parameter, *parameter.value(draw)) for parameter in parameters]
    spoken = draw.shuffled(values) if draw.chance(0.15) else values
    is_shuffled = spoken != values
    phrases = [parameter.phrase(draw, text, is_named=is_shuffled) for parameter, _, text in spoken]
    do = " ".join([f"{verb} {_noun_phrase(draw, noun)}", *phrases])
    name = f"{verb}_{noun}" if draw.chance(0.85) else verb.lower() + noun.capitalize()
    return Request(
        name=name if draw.chance(0.9) else draw.coined(),
        description=f"{capital(verb)} {with_article(noun)}.",
        parameters=parameters,
        user=asked(draw, draw.of(REQUESTS).format(do=do, Do=capital(do))),
        arguments={parameter.name: value for parameter, value, _ in values},
        outcome=STATUS,
        noun=noun,
        answer=DONE,
    )


def lookup(draw: Draw, attribute: str | None = None) -> Request:
    """A question for an attribute of a named thing."""
    attribute = attribute or (draw.of(ATTRIBUTES) if draw.chance(0.6) else draw.coined())
    parameter = PARAMETERS[0].parameter(draw)
    item = draw.name()
    return Request(
        name=f"{draw.any(GETTERS)}_{attribute}",
        description=f"Get the {attribute} of something.",
        parameters=[parameter],
        user=asked(draw, draw.of(LOOKUPS).format(attribute=attribute, item=item)),
        arguments={parameter.name: item},
        outcome=attribute,
        noun=attribute,
        answer=f"The {attribute} of {item} is {{value}}.",
    )


def any_request(draw: Draw) -> Request:
    """An action, a lookup, or one of the functions that people try first."""
    kind = draw.count(1, 10)
    if kind <= 5:
        return request(draw)
    if kind <= 8 or draw.held_out:
        return lookup(draw)
    return known(draw)


def known(draw: Draw) -> Request:
    """One of the functions that people try first."""
    one = known_request(draw)
    return Request(
        name=one.tool.name,
        description=one.tool.description,
        parameters=one.parameters,
        user=one.user,
        arguments=one.arguments,
        outcome=one.tool.outcome,
        noun=one.tool.name.split("_")[-1],
        answer=DONE if one.tool.outcome == STATUS else one.tool.answer.format(value="{value}", **one.arguments),
    )


def call_conversation(draw: Draw) -> Conversation:
    """A request, and the call that it asks for."""
    if draw.chance(0.1):
        return _two_calls(draw)
    wanted = any_request(draw)
    tools, messages = _setting(draw, wanted)
    messages += [said_by_user(wanted.user), _calling([wanted.call()])]
    check = Check(rule="calls", values=(json.dumps(wanted.call()),))
    return Conversation(skill=CALL_SKILL, messages=messages, check=check, tools=tools)


def result_conversation(draw: Draw) -> Conversation:
    """A request, its call, the result, and the answer made from it."""
    wanted = any_request(draw)
    tools, messages = _setting(draw, wanted)
    turns, check = _round(draw, wanted)
    return Conversation(skill=RESULT_SKILL, messages=[*messages, *turns], check=check, tools=tools)


def no_tool_conversation(draw: Draw) -> Conversation:
    """Functions that do not fit: small talk goes on, and a request is declined."""
    if draw.chance(0.5):
        plain = chat.plain(draw)
        user, answer, check = plain.user, plain.answer, plain.check
        tools, messages = _setting(draw, None)
    else:
        missing = request(draw)
        user, answer, check = missing.user, NO_TOOL, Check(rule="exact", values=(NO_TOOL,))
        tools, messages = _setting(draw, None, missing=missing)
    messages += [said_by_user(user), said_by_model(answer)]
    return Conversation(skill=NO_TOOL_SKILL, messages=messages, check=check, tools=tools)


def _setting(draw: Draw, wanted: Request | None, *, missing: Request | None = None) -> tuple[list[Tool], list[Message]]:
    """One to four functions, the wanted one among them and the missing one not, and what was asked of them before."""
    used = [] if wanted is None else [wanted]
    barred = [] if missing is None else [missing]
    earlier: list[Request] = []
    for _ in range(draw.turns((0, 0, 1, 1, 2))):
        one = any_request(draw)
        if len(used) + len(earlier) == LARGEST_OFFER:
            break
        if not any(_alike(one, other) for other in (*used, *earlier, *barred)):
            earlier.append(one)
    chosen = [*used, *earlier]
    pattern = wanted or missing
    for _ in range(draw.count(0 if chosen else 1, LARGEST_OFFER - len(chosen))):
        one = _neighbour(draw, pattern) if pattern is not None and draw.chance(0.4) else any_request(draw)
        if not any(_alike(one, other) for other in (*chosen, *barred)):
            chosen.append(one)
    messages = [instruction(draw.of(SYSTEMS))] if draw.chance(0.3) else []
    for one in earlier:
        messages += _round(draw, one)[0]
    return _definitions(draw, chosen or [lookup(draw)]), messages


def _definitions(draw: Draw, chosen: Sequence[Request]) -> list[Tool]:
    return [
        one.definition(is_described=_needs_description(one) or draw.chance(0.8), explains=draw.chance(0.1))
        for one in draw.shuffled(chosen)
    ]


def _alike(one: Request, other: Request) -> bool:
    """Whether a request for one could be taken for the other."""
    is_same_noun = one.noun == other.noun
    return one.name == other.name or (is_same_noun and one.description == other.description)


def _round(draw: Draw, wanted: Request) -> tuple[list[Message], Check]:
    """A request with its call, result and answer."""
    result, answer, values = _outcome(draw, wanted)
    messages = [
        said_by_user(wanted.user),
        _calling([wanted.call()]),
        said_by_tool(result),
        said_by_model(answer),
    ]
    return messages, Check(rule="mentions", values=values)


def _two_calls(draw: Draw) -> Conversation:
    attribute = draw.of(ATTRIBUTES)
    wanted = lookup(draw, attribute)
    parameter = wanted.parameters[0]
    first, second = draw.names(2)
    user = asked(draw, draw.of(LOOKUPS).format(attribute=attribute, item=f"{first} and {second}"))
    calls: list[Function] = [{"name": wanted.name, "arguments": {parameter.name: item}} for item in (first, second)]
    check = Check(rule="calls", values=tuple(json.dumps(call) for call in calls))
    tools, messages = _setting(draw, wanted)
    messages += [said_by_user(user), _calling(calls)]
    return Conversation(skill=CALL_SKILL, messages=messages, check=check, tools=tools)


def _outcome(draw: Draw, wanted: Request) -> tuple[str, str, tuple[str, ...]]:
    """The tool's result, the answer to it, and what the answer must hold."""
    if draw.chance(0.1):
        reason = draw.any(("not found", "no access", "out of order", "try again later", "unknown"))
        return json.dumps({"error": reason}), f"I'm sorry, that did not work: {reason}.", (reason,)
    value = _value(draw)
    if wanted.outcome == STATUS:
        key = draw.any(("id", "number", "code", "reference"))
        result: dict[str, object] = {"status": draw.any(("ok", "done", "success")), key: value}
        return json.dumps(result), wanted.answer.format(key=key, value=value), (str(value),)
    result = {wanted.outcome: value}
    for _ in range(draw.any((0, 0, 1, 2))):
        result.setdefault(draw.of(ATTRIBUTES), _value(draw))
    pairs = draw.shuffled(list(result.items()))
    text = json.dumps(dict(pairs)) if len(pairs) > 1 or draw.chance(0.7) else str(value)
    return text, wanted.answer.format(value=value), (str(value),)


def _value(draw: Draw) -> str | int | float:
    kind = draw.any(("name", "name", "number", "number", "word", "decimal", "text"))
    if kind == "name":
        return draw.name()
    if kind == "number":
        return draw.count(0, 9999)
    if kind == "decimal":
        return draw.count(1, 999) / 10
    return draw.any(OUTCOMES) if kind == "word" else f"{draw.any(OUTCOMES)} and {draw.any(OUTCOMES)}"


def _neighbour(draw: Draw, wanted: Request) -> Request:
    """A function that shares the verb or the noun, so that both must be read."""
    if wanted.outcome != STATUS or wanted.noun not in wanted.name:
        return lookup(draw)
    verb = wanted.description.split()[0].lower()
    return request(draw, verb=verb) if draw.chance(0.5) else request(draw, noun=wanted.noun)


def _needs_description(one: Request) -> bool:
    return one.outcome == STATUS and one.noun.lower() not in one.name.lower()


def _noun_phrase(draw: Draw, noun: str) -> str:
    return draw.any((with_article(noun), f"the {noun}", f"my {noun}"))


def _calling(calls: list[Function]) -> Message:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": call} for call in calls],
    }
