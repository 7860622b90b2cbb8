"""Conversations to render with both our chat templates and the renderer of Hugging Face, in the form that it reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

NAMED_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
NOW = (2026, 2, 3, 4, 5, 6)

Turn = Mapping[str, object]
Effort = Literal["none", "high"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What one prompt is rendered from."""

    messages: Sequence[Turn]
    tools: Sequence[Turn] = ()
    effort: Effort | None = None
    continues: bool = False
    """Whether the prompt continues the last message."""


def _system(content: str) -> Turn:
    return {"role": "system", "content": content}


def _user(content: str, **more: object) -> Turn:
    return {"role": "user", "content": content, **more}


def _reply(content: str, reasoning: str = "") -> Turn:
    thoughts = {"reasoning_content": reasoning, "thinking": reasoning} if reasoning else {}
    return {"role": "assistant", "content": content, **thoughts}


def _calls(*calls: tuple[str, str, Turn], content: str = "", reasoning: str = "") -> Turn:
    made = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in calls
    ]
    return {**_reply(content, reasoning), "tool_calls": made}


def _result(call_id: str, name: str, content: str) -> Turn:
    return {"role": "tool", "content": content, "name": name, "tool_call_id": call_id}


def _tool(name: str, description: str, required: Sequence[str] = (), **properties: Turn) -> Turn:
    parameters: Turn = {
        "type": "object",
        "properties": properties,
        **({"required": list(required)} if required else {}),
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


_WEATHER = _tool(
    "get_weather",
    "The weather of a place, as it is now.",
    ["city"],
    city={"type": "string", "description": "Name of the city"},
    unit={"type": "string", "enum": ["celsius", "fahrenheit"], "description": "Unit of the answer"},
)
_ROUTE = _tool(
    "plan_route",
    'Plans "the way" <from> & to — über Straßen 🚗',
    ["stops"],
    stops={
        "type": "array",
        "description": "Places, in order",
        "items": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "at": {"type": "array", "items": {"type": "number"}}},
            "required": ["name"],
        },
    },
    options={
        "type": "object",
        "description": "",
        "properties": {"tolls": {"type": "boolean", "default": False}, "speed": {"type": ["number", "null"]}},
    },
    count={"type": "integer", "description": "How many", "default": 3, "nullable": True},
)
_CLOCK = _tool("clock", "Tells the time.")

_PARIS = ("abcdef123", "get_weather", {"city": "Paris", "unit": "celsius"})
_ROME = ("abcdef456", "get_weather", {"city": "Rome"})
_TRIP = (
    "trip00001",
    "plan_route",
    {
        "stops": [{"name": "Zürich 🏔", "at": [47.37, 8.54]}, {"name": 'a "b" <c> & \\d'}],
        "options": {"tolls": True, "speed": None},
        "count": 2,
    },
)
_SUNNY = '{"temperature": 21.5, "sky": "clear"}'
_ASKED = (_user("What is the weather in Paris?"), _calls(_PARIS), _result("abcdef123", "get_weather", _SUNNY))

CONVERSATIONS: Mapping[str, Conversation] = {
    "one question": Conversation(messages=[_user("Hello, who are you?")]),
    "system": Conversation(messages=[_system("You are terse."), _user("Hello")]),
    "turns": Conversation(messages=[_user("Hello"), _reply("Hi there"), _user("How are you?")]),
    "system and turns": Conversation(
        messages=[_system("Speak like a pirate."), *(_user("a"), _reply("b")) * 3, _user("c")]
    ),
    "unicode": Conversation(
        messages=[
            _user("naïve e\u0301 日本語 👩\u200d🚀 \u202b\u05e9\u05dc\u05d5\u05dd\u202c"),
            _reply("ﬁ ½ \u00a0|"),
            _user("🇫🇷\ufeff"),
        ]
    ),
    "white space around": Conversation(
        messages=[_system("  s \n"), _user("\n\n  a  b \t"), _reply("  \n c \n\n"), _user(" d\r\n")]
    ),
    "only white space": Conversation(messages=[_user(" \n "), _reply("\n"), _user("x")]),
    "markup": Conversation(
        messages=[_user("<b>&amp; \"quoted\" 'single' \\n \\u00e9</b>"), _reply("<i/>"), _user("1 < 2 > 0")]
    ),
    "template syntax": Conversation(messages=[_user("{{ messages }} {% raw %} {# c #}"), _reply("{{"), _user("%}")]),
    "marks of others": Conversation(messages=[_user("[x] <y> |z| <| |> ### Human: [/ ]"), _reply("ok"), _user("go")]),
    "long": Conversation(messages=[_user("word " * 3000), _reply("line\n" * 500), _user("end")]),
    "empty question": Conversation(messages=[_user("")]),
    "named speaker": Conversation(messages=[_user("Hello", name="Ada"), _reply("Hi Ada"), _user("Bye", name="Bob")]),
    "two questions in a row": Conversation(messages=[_user("first"), _user("second")]),
    "answer first": Conversation(messages=[_reply("Welcome!"), _user("Thanks")]),
    "tool": Conversation(messages=[_user("What is the weather in Paris?")], tools=[_WEATHER]),
    "tool and system": Conversation(messages=[_system("Use tools."), _user("Weather?")], tools=[_WEATHER]),
    "tool with a deep schema": Conversation(messages=[_user("Plan a route")], tools=[_ROUTE]),
    "tool without arguments": Conversation(messages=[_user("What time is it?")], tools=[_CLOCK]),
    "tools": Conversation(messages=[_user("Hi"), _reply("Hi"), _user("Go")], tools=[_CLOCK, _WEATHER, _ROUTE]),
    "call and result": Conversation(messages=_ASKED, tools=[_WEATHER]),
    "call, result and after": Conversation(
        messages=[*_ASKED, _reply("It is 21.5 °C and clear."), _user("And in Rome?")], tools=[_WEATHER]
    ),
    "two calls at once": Conversation(
        messages=[
            _user("Paris and Rome?"),
            _calls(_PARIS, _ROME),
            _result("abcdef123", "get_weather", _SUNNY),
            _result("abcdef456", "get_weather", "rain"),
        ],
        tools=[_WEATHER],
    ),
    "calls one after the other": Conversation(
        messages=[*_ASKED, _calls(_ROME), _result("abcdef456", "get_weather", "rain")], tools=[_WEATHER]
    ),
    "call with text": Conversation(
        messages=[_user("Weather?"), _calls(_PARIS, content="I look."), _result("abcdef123", "get_weather", "sun")],
        tools=[_WEATHER],
    ),
    "call with deep arguments": Conversation(
        messages=[_user("Trip"), _calls(_TRIP), _result("trip00001", "plan_route", "🚗 done\n")], tools=[_ROUTE]
    ),
    "call without arguments": Conversation(
        messages=[_user("Time?"), _calls(("clock0001", "clock", {})), _result("clock0001", "clock", "12:00")],
        tools=[_CLOCK],
    ),
    "calls without tools on offer": Conversation(messages=[_system("Be kind."), *_ASKED, _reply("Sun."), _user("Ok")]),
    "reasoning before": Conversation(
        messages=[_user("2+2?"), _reply("4", "Two and two make four."), _user("And 3+3?")]
    ),
    "reasoning with a call": Conversation(
        messages=[
            _user("Weather?"),
            _calls(_PARIS, reasoning="I need the tool.\n"),
            _result("abcdef123", "get_weather", _SUNNY),
        ],
        tools=[_WEATHER],
    ),
    "answer with thinking marks": Conversation(
        messages=[_user("2+2?"), _reply("<think>\nhm\n</think>\n\n4"), _user("Sure?")]
    ),
    "no thinking": Conversation(messages=[_system("Be brief."), _user("Think!")], effort="none"),
    "much thinking": Conversation(messages=[_user("Think!"), _reply("I did"), _user("More")], effort="high"),
    "continued": Conversation(messages=[_user("A poem"), _reply("Roses are")], continues=True),
    "continued after a space": Conversation(
        messages=[_system("s"), _user("a"), _reply("b"), _user("c"), _reply("  The answer is ")], continues=True
    ),
    "continued after reasoning": Conversation(messages=[_user("2+2?"), _reply("The sum", "Add them.")], continues=True),
}
