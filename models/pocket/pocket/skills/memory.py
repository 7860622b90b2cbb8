"""Facts told in a conversation and asked for later, with other turns between. Only the last answer is judged."""

from collections.abc import Callable
from dataclasses import dataclass

from pocket.conversation import Check, Conversation, Exchange, Message, said_by_model, said_by_user
from pocket.draw import Draw
from pocket.skills.fact_kinds import KINDS
from pocket.skills.phrasing import asked, capital

SKILL = "memory"
ACKNOWLEDGEMENTS = ("Okay, I will remember that.", "Thanks, I have noted both.", "Thanks, I have noted all of it.")
"""For one fact, for two, and for more than two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A fact in words."""

    key: str
    told: str
    asked: str
    answer: str
    value: str


def fact(draw: Draw) -> Fact:
    """One fact of any kind."""
    kind = draw.any(KINDS)
    slots = kind.draw_slots(draw)
    question = draw.of(kind.asked)
    return Fact(
        key=kind.key.format(**slots),
        told=capital(draw.of(kind.told).format(**slots)),
        asked=asked(draw, question.format(**slots), name_first=question.startswith("{name}")),
        answer=kind.answer.format(**slots),
        value=slots[kind.value],
    )


def facts(draw: Draw, count: int) -> list[Fact]:
    """Facts that do not contradict each other."""
    found: dict[str, Fact] = {}
    while len(found) < count:
        one = fact(draw)
        found.setdefault(one.key, one)
    return list(found.values())


def told(draw: Draw, known: list[Fact]) -> list[Message]:
    """Turns that tell the facts, one or several per turn, and an acknowledgement of each turn."""
    messages: list[Message] = []
    rest = known
    while rest:
        size = draw.any((1, 1, 2, 3))
        text = " ".join(one.told for one in rest[:size])
        messages += [said_by_user(text), said_by_model(ACKNOWLEDGEMENTS[len(rest[:size]) - 1])]
        rest = rest[size:]
    return messages


def question(one: Fact) -> Exchange:
    """A question for a fact."""
    check = Check(rule="mentions", values=(one.value,))
    return Exchange(user=one.asked, answer=one.answer, check=check, short=one.value)


def conversation(draw: Draw, distractor: Callable[[Draw], list[Message]]) -> Conversation:
    """One to five facts, up to three other turns, then questions."""
    known = facts(draw, draw.turns((1, 2, 2, 3, 3, 4, 5)))
    messages = told(draw, known)
    questions = [question(one) for one in draw.shuffled(known)[: draw.turns((1, 2, 3, 4))]]
    for _ in range(draw.any((0, 0, 1, 2, 3))):
        messages += distractor(draw)
    for one in questions:
        messages += one.messages()
        if draw.chance(0.1):
            messages += distractor(draw)
    if messages[-1] != said_by_model(questions[-1].answer):
        messages += questions[-1].messages()
    return Conversation(skill=SKILL, messages=messages, check=questions[-1].check)
