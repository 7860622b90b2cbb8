"""Offered functions: choosing one, calling it, answering from its result, or answering without any."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pocket.conversation import (
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
from pocket.draw import Draw, pool
from pocket.skills import chat
from pocket.skills.offers import (
    ATTRIBUTES,
    LOOKUPS,
    STATUS,
    Offer,
    action,
    alike,
    any_offer,
    crossed,
    lookup,
    neighbour,
)
from pocket.skills.phrasing import asked

CALL_SKILL = "tool call"
RESULT_SKILL = "tool result"
NO_TOOL_SKILL = "no tool"

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
DRILL_SHARE = 0.5
"""Share of training's conversations that end with a call, or without a function that fits."""
CROSSED_SHARE = 0.4
"""Share of the same in training's last part, with functions that share their verbs and nouns."""
LARGEST_OFFER = 4
LARGEST_DRILL = 6
NO_TOOL = "I'm sorry, I have no tool for that."
SYSTEMS = pool(
    "tool system",
    "You are a [helpful|friendly] assistant[ with tools| with functions| who can call functions| who can use tools|].",
    "[Use|Call] [a tool|the tools|a function|the functions] [when they help|when you need one|if one fits|if you can].",
    "[Help the user|Help people|You help people|You help the user] with [tools|the tools|functions|your tools].",
    "You can [call functions|use tools|call the functions|use the tools|use functions].",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """Similar functions, and earlier requests. The last request is still to be chosen."""

    tools: list[Tool]
    messages: list[Message]
    wanted: Offer
    """An offered function that was not requested yet."""
    missing: Callable[[], Offer]
    """Draws a function that is not offered."""


def call_conversation(draw: Draw) -> Conversation:
    """A request and the call that answers it."""
    if drill := _drill(draw):
        return _calling_last(draw, drill.wanted, drill.tools, drill.messages)
    if draw.chance(0.1):
        return _two_calls(draw)
    wanted = any_offer(draw)
    tools, messages = _setting(draw, wanted)
    return _calling_last(draw, wanted, tools, messages)


def _calling_last(draw: Draw, wanted: Offer, tools: list[Tool], messages: list[Message]) -> Conversation:
    request = wanted.ask(draw)
    check = Check(rule="calls", values=(json.dumps(request.call),))
    messages += [said_by_user(request.user), _calling([request.call])]
    return Conversation(skill=CALL_SKILL, messages=messages, check=check, tools=tools)


def _drill(draw: Draw) -> Drill | None:
    """Some similar functions with earlier requests; None for the evaluation, and for a share of training."""
    if draw.is_last_part and draw.chance(CROSSED_SHARE):
        return _crossed_drill(draw)
    return _long_drill(draw) if not draw.held_out and draw.chance(DRILL_SHARE) else None


def _crossed_drill(draw: Draw) -> Drill:
    """Functions from few verbs and nouns, and requests for offered and for missing ones."""
    offered, missing = crossed(draw)
    beside = [lookup(draw)] if draw.chance(0.3) else []
    tools = [_definition(draw, one) for one in draw.shuffled([*offered, *beside])]
    messages = [instruction(draw.of(SYSTEMS))] if draw.chance(0.3) else []
    before = [(one, True) for one in (*offered[1:], *beside)] + [(one, False) for one in missing[1:]]
    for one, is_offered in draw.shuffled(before)[: draw.any((0, 0, 1, 2, 3))]:
        messages += _round(draw, one)[0][: draw.any((2, 4))] if is_offered else _declined(draw, one)
    return Drill(tools=tools, messages=messages, wanted=offered[0], missing=lambda: missing[0])


def _long_drill(draw: Draw) -> Drill:
    """Functions, and requests for all but the first, mostly without results, so that no call can be copied from another."""
    offered: list[Offer] = []
    count = draw.count(3, LARGEST_DRILL)
    while len(offered) < count:
        one = lookup(draw) if draw.chance(0.6) else action(draw)
        if not any(alike(one, other) for other in offered):
            offered.append(one)
    tools = [_definition(draw, one) for one in draw.shuffled(offered)]
    messages = [instruction(draw.of(SYSTEMS))] if draw.chance(0.3) else []
    for one in offered[1:]:
        messages += _round(draw, one)[0][: 4 if draw.chance(0.2) else 2]
        messages += _declined(draw, _unlike(draw, offered)) if draw.chance(0.3) else []
    return Drill(tools=tools, messages=messages, wanted=offered[0], missing=lambda: _unlike(draw, offered))


def _unlike(draw: Draw, offered: Sequence[Offer]) -> Offer:
    """A function to request that is not offered, but usually close to one that is."""
    while True:
        one = neighbour(draw, draw.any(offered)) if draw.chance(0.7) else _missing(draw)
        if not any(alike(one, other) for other in offered):
            return one


def _declined(draw: Draw, missing: Offer) -> list[Message]:
    return [said_by_user(missing.ask(draw).user), said_by_model(NO_TOOL)]


def result_conversation(draw: Draw) -> Conversation:
    """A request, its call, the result, and the answer from the result."""
    wanted = any_offer(draw)
    tools, messages = _setting(draw, wanted)
    turns, check = _round(draw, wanted)
    return Conversation(skill=RESULT_SKILL, messages=[*messages, *turns], check=check, tools=tools)


def no_tool_conversation(draw: Draw) -> Conversation:
    """Functions that do not fit: the model continues small talk or declines a request."""
    if drill := _drill(draw):
        return _declining_last(draw, drill.missing(), drill.tools, drill.messages)
    if draw.chance(0.5):
        plain = chat.plain(draw)
        tools, messages = _setting(draw)
        messages += plain.messages()
        return Conversation(skill=NO_TOOL_SKILL, messages=messages, check=plain.check, tools=tools)
    missing = _missing(draw)
    tools, messages = _setting(draw, missing=missing)
    return _declining_last(draw, missing, tools, messages)


def _declining_last(draw: Draw, missing: Offer, tools: list[Tool], messages: list[Message]) -> Conversation:
    messages += _declined(draw, missing)
    check = Check(rule="exact", values=(NO_TOOL,))
    return Conversation(skill=NO_TOOL_SKILL, messages=messages, check=check, tools=tools)


def _setting(
    draw: Draw, wanted: Offer | None = None, *, missing: Offer | None = None
) -> tuple[list[Tool], list[Message]]:
    """One to four functions, with the wanted one and without the missing one, and the earlier turns."""
    offered = [wanted] if wanted else []
    pattern = wanted or missing
    for _ in range(draw.count(0 if offered else 1, LARGEST_OFFER - len(offered))):
        one = neighbour(draw, pattern) if pattern is not None and draw.chance(0.4) else any_offer(draw)
        if not any(alike(one, other) for other in (*offered, missing)):
            offered.append(one)
    offered = draw.shuffled(offered or [lookup(draw)])
    messages = [instruction(draw.of(SYSTEMS))] if draw.chance(0.3) else []
    for _ in range(draw.turns((0, 0, 1, 1, 2))):
        messages += _earlier(draw, offered)
    return [_definition(draw, one) for one in offered], messages


def _definition(draw: Draw, one: Offer) -> Tool:
    return one.definition(is_described=not one.is_named_plainly or draw.chance(0.8), explains=draw.chance(0.1))


def _earlier(draw: Draw, offered: Sequence[Offer]) -> list[Message]:
    """A finished exchange: a call with its answer, a declined request, or small talk."""
    kind = draw.any(("call", "call", "call", "missing", "missing", "talk"))
    if kind == "call":
        return _round(draw, draw.any(offered))[0]
    missing = neighbour(draw, draw.any(offered)) if draw.chance(0.5) else _missing(draw)
    if kind == "missing" and not any(alike(missing, one) for one in offered):
        return _declined(draw, missing)
    return chat.plain(draw).messages()


def _missing(draw: Draw) -> Offer:
    """A function to request when it is not offered."""
    return action(draw) if draw.chance(0.7) else lookup(draw)


def _round(draw: Draw, wanted: Offer) -> tuple[list[Message], Check]:
    """A request with its call, its result and the answer."""
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
    """One question about two things, with a call for each."""
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
    """The tool's result, the answer, and what the answer must contain."""
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


def _calling(calls: list[Function]) -> Message:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": call} for call in calls],
    }
