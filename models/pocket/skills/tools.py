"""Offered functions: choosing one, calling it, answering from its result, or doing without; it runs no function."""

import json
from collections.abc import Callable, Sequence
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
from models.pocket.skills.known_tools import KnownTool, draw_tool
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
    "tool request",
    "{Do}[.|!| now.|, please.| now, please.]",
    "[Please|Now|Now please|Please now] {do}[.|!|]",
    "[Can|Could|Would|Will] you [please |now |]{do}[?| now?|, please?]",
    "I [want|need|would like|have] to {do}[.| now.|, please.]",
    "[I want|I need|I would like|I'd like] you to {do}[.| now.|, please.]",
    "[Help me|You have|It is time|I'd like] to {do}[.| now.|, please.]",
    "[Let's|You should|We should|I should] {do}[.| now.|]",
)
LOOKUPS = pool(
    "lookup",
    "[What is|What's] [the {attribute} of {item}|{item}'s {attribute}]?",
    "[Tell me|Give me|Find|Get|Look up|Show me|Check] [the {attribute} of {item}|{item}'s {attribute}][.|, please.| now.]",
    "[Do you know|Can you tell me|Can you find|Can you get|Could you find|Could you tell me] the {attribute} of {item}?",
    "[Do you know|Can you tell me|Can you look up|Can you show me|Could you get] {item}'s {attribute}?",
    "[Which|What] {attribute} does {item} have[?| now?]",
    "I [need|want|want to know|would like to know|have to know] [the {attribute} of {item}|{item}'s {attribute}].",
    "[Please tell me|Please find|Please get|Please look up|Now tell me|Now find] [the {attribute} of {item}|{item}'s {attribute}].",
)
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
    "tool system",
    "You are a [helpful|friendly] assistant[ with tools| with functions| who can call functions| who can use tools|].",
    "[Use|Call] [a tool|the tools|a function|the functions] [when they help|when you need one|if one fits|if you can].",
    "[Help the user|Help people|You help people|You help the user] with [tools|the tools|functions|your tools].",
    "You can [call functions|use tools|call the functions|use the tools|use functions].",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A user's words that ask for a function, with the call and the answer that they lead to."""

    user: str
    call: Function
    answer: str
    """Tells the user the outcome, with slots for its key and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A function that can be asked for again and again."""

    name: str
    description: str
    parameters: Sequence[Parameter]
    outcome: str
    """The key of the result that answers the user; STATUS for an action."""
    noun: str
    """What the function is about."""
    ask: Callable[[Draw], Request]

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

    @property
    def is_named_plainly(self) -> bool:
        """Whether the name alone says what the function does."""
        return self.name.endswith(f"_{self.noun}")


def action(draw: Draw, verb: str | None = None, noun: str | None = None) -> Offer:
    """Something done to a noun, with up to three arguments."""
    verb = verb or (draw.of(VERBS) if draw.chance(0.7) else draw.coined())
    noun = noun or (draw.of(TOOL_NOUNS) if draw.chance(0.7) else draw.coined())
    kinds = draw.random.sample(PARAMETERS, draw.any((0, 1, 1, 2, 2, 3)))
    parameters = [kind.parameter(draw) for kind in kinds]
    plain, camel, opaque = f"{verb}_{noun}", verb + noun.capitalize(), draw.coined()
    name = plain if draw.chance(0.8) else draw.any((camel, opaque))

    def ask(draw: Draw) -> Request:
        values = [(parameter, *parameter.value(draw)) for parameter in parameters]
        spoken = draw.shuffled(values) if draw.chance(0.15) else values
        is_shuffled = spoken != values
        phrases = [parameter.phrase(draw, text, is_named=is_shuffled) for parameter, _, text in spoken]
        do = " ".join([f"{verb} {_noun_phrase(draw, noun)}", *phrases])
        user = asked(draw, draw.of(REQUESTS).format(do=do, Do=capital(do)))
        arguments = {parameter.name: value for parameter, value, _ in values}
        return Request(user=user, call={"name": name, "arguments": arguments}, answer=DONE)

    description = f"{capital(verb)} {with_article(noun)}."
    return Offer(name=name, description=description, parameters=parameters, outcome=STATUS, noun=noun, ask=ask)


def lookup(draw: Draw) -> Offer:
    """A question for an attribute of a named thing."""
    attribute = draw.of(ATTRIBUTES) if draw.chance(0.6) else draw.coined()
    parameter = PARAMETERS[0].parameter(draw)
    name = f"{draw.any(GETTERS)}_{attribute}"

    def ask(draw: Draw) -> Request:
        item = draw.name()
        return Request(
            user=asked(draw, draw.of(LOOKUPS).format(attribute=attribute, item=item)),
            call={"name": name, "arguments": {parameter.name: item}},
            answer=f"The {attribute} of {item} is {{value}}.",
        )

    description = f"Get the {attribute} of something."
    return Offer(name=name, description=description, parameters=[parameter], outcome=attribute, noun=attribute, ask=ask)


def known(tool: KnownTool) -> Offer:
    """One of the functions that people try first."""

    def ask(draw: Draw) -> Request:
        user, arguments = tool.ask(draw)
        answer = DONE if tool.outcome == STATUS else tool.answer.format(value="{value}", **arguments)
        return Request(user=user, call={"name": tool.name, "arguments": arguments}, answer=answer)

    noun = tool.name.rpartition("_")[2]
    parameters = tool.typed_parameters
    return Offer(
        name=tool.name, description=tool.description, parameters=parameters, outcome=tool.outcome, noun=noun, ask=ask
    )


def any_offer(draw: Draw) -> Offer:
    """An action, a lookup, or one of the functions that people try first."""
    kind = draw.count(1, 10)
    if kind <= 5:
        return action(draw)
    return lookup(draw) if kind <= 8 or draw.held_out else known(draw_tool(draw))


def call_conversation(draw: Draw) -> Conversation:
    """A request, and the call that it asks for."""
    if draw.chance(0.1):
        return _two_calls(draw)
    wanted = any_offer(draw)
    tools, messages = _setting(draw, wanted)
    request = wanted.ask(draw)
    messages += [said_by_user(request.user), _calling([request.call])]
    check = Check(rule="calls", values=(json.dumps(request.call),))
    return Conversation(skill=CALL_SKILL, messages=messages, check=check, tools=tools)


def result_conversation(draw: Draw) -> Conversation:
    """A request, its call, the result, and the answer made from it."""
    wanted = any_offer(draw)
    tools, messages = _setting(draw, wanted)
    turns, check = _round(draw, wanted)
    return Conversation(skill=RESULT_SKILL, messages=[*messages, *turns], check=check, tools=tools)


def no_tool_conversation(draw: Draw) -> Conversation:
    """Functions that do not fit: small talk goes on, and a request is declined."""
    if draw.chance(0.5):
        plain = chat.plain(draw)
        tools, messages = _setting(draw)
        user, answer, check = plain.user, plain.answer, plain.check
    else:
        missing = _missing(draw)
        tools, messages = _setting(draw, missing=missing)
        user, answer, check = missing.ask(draw).user, NO_TOOL, Check(rule="exact", values=(NO_TOOL,))
    messages += [said_by_user(user), said_by_model(answer)]
    return Conversation(skill=NO_TOOL_SKILL, messages=messages, check=check, tools=tools)


def _setting(
    draw: Draw, wanted: Offer | None = None, *, missing: Offer | None = None
) -> tuple[list[Tool], list[Message]]:
    """One to four functions, the wanted one among them and the missing one not, and what was asked before."""
    offered = [wanted] if wanted else []
    pattern = wanted or missing
    for _ in range(draw.count(0 if offered else 1, LARGEST_OFFER - len(offered))):
        one = _neighbour(draw, pattern) if pattern is not None and draw.chance(0.4) else any_offer(draw)
        if not any(_alike(one, other) for other in (*offered, missing)):
            offered.append(one)
    offered = draw.shuffled(offered or [lookup(draw)])
    messages = [instruction(draw.of(SYSTEMS))] if draw.chance(0.3) else []
    for _ in range(draw.turns((0, 0, 1, 1, 2))):
        messages += _earlier(draw, offered)
    return [_definition(draw, one) for one in offered], messages


def _definition(draw: Draw, one: Offer) -> Tool:
    return one.definition(is_described=not one.is_named_plainly or draw.chance(0.8), explains=draw.chance(0.1))


def _earlier(draw: Draw, offered: Sequence[Offer]) -> list[Message]:
    """A round that has an end: with a function, without one that fits, or small talk."""
    kind = draw.any(("call", "call", "call", "missing", "talk"))
    if kind == "call":
        return _round(draw, draw.any(offered))[0]
    missing = _missing(draw)
    if kind == "missing" and not any(_alike(missing, one) for one in offered):
        return [said_by_user(missing.ask(draw).user), said_by_model(NO_TOOL)]
    return chat.plain(draw).messages()


def _missing(draw: Draw) -> Offer:
    """A function to ask for where it is not offered."""
    return action(draw) if draw.chance(0.7) else lookup(draw)


def _alike(one: Offer, other: Offer | None) -> bool:
    """Whether a request for one could be taken for the other."""
    if other is None:
        return False
    is_same_noun = one.noun == other.noun
    return one.name == other.name or (is_same_noun and one.description == other.description)


def _round(draw: Draw, wanted: Offer) -> tuple[list[Message], Check]:
    """A request with its call, result and answer."""
    request = wanted.ask(draw)
    result, answer, values = _outcome(draw, wanted.outcome, request.answer)
    messages = [
        said_by_user(request.user),
        _calling([request.call]),
        said_by_tool(result),
        said_by_model(answer),
    ]
    return messages, Check(rule="mentions", values=values)


def _two_calls(draw: Draw) -> Conversation:
    """One question for two things; the function is called for each."""
    wanted = lookup(draw)
    first, second = draw.names(2)
    parameter = wanted.parameters[0].name
    user = asked(draw, draw.of(LOOKUPS).format(attribute=wanted.noun, item=f"{first} and {second}"))
    calls: list[Function] = [{"name": wanted.name, "arguments": {parameter: item}} for item in (first, second)]
    check = Check(rule="calls", values=tuple(json.dumps(call) for call in calls))
    tools, messages = _setting(draw, wanted)
    messages += [said_by_user(user), _calling(calls)]
    return Conversation(skill=CALL_SKILL, messages=messages, check=check, tools=tools)


def _outcome(draw: Draw, outcome: str, answer: str) -> tuple[str, str, tuple[str, ...]]:
    """The tool's result, the answer to it, and what the answer must hold."""
    if draw.chance(0.1):
        reason = draw.any(("not found", "no access", "out of order", "try again later", "unknown"))
        return json.dumps({"error": reason}), f"I'm sorry, that did not work: {reason}.", (reason,)
    value = _value(draw)
    if outcome == STATUS:
        key = draw.any(("id", "number", "code", "reference"))
        result: dict[str, object] = {"status": draw.any(("ok", "done", "success")), key: value}
        return json.dumps(result), answer.format(key=key, value=value), (str(value),)
    result = {outcome: value}
    for _ in range(draw.any((0, 0, 1, 2))):
        result.setdefault(draw.of(ATTRIBUTES), _value(draw))
    pairs = draw.shuffled(list(result.items()))
    text = json.dumps(dict(pairs)) if len(pairs) > 1 or draw.chance(0.7) else str(value)
    return text, answer.format(value=value), (str(value),)


def _value(draw: Draw) -> str | int | float:
    kind = draw.any(("name", "name", "number", "number", "word", "decimal", "text"))
    if kind == "name":
        return draw.name()
    if kind == "number":
        return draw.count(0, 9999)
    if kind == "decimal":
        return draw.count(1, 999) / 10
    return draw.any(OUTCOMES) if kind == "word" else f"{draw.any(OUTCOMES)} and {draw.any(OUTCOMES)}"


def _neighbour(draw: Draw, wanted: Offer) -> Offer:
    """A function that shares the verb or the noun, so that both must be read."""
    if wanted.outcome != STATUS or wanted.noun not in wanted.name:
        return lookup(draw)
    verb = wanted.description.split()[0].lower()
    return action(draw, verb=verb) if draw.chance(0.5) else action(draw, noun=wanted.noun)


def _noun_phrase(draw: Draw, noun: str) -> str:
    return draw.any((with_article(noun), f"the {noun}", f"my {noun}"))


def _calling(calls: list[Function]) -> Message:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": call} for call in calls],
    }
