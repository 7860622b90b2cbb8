"""Facts told in a conversation and asked for later, with other turns between; it judges the last question alone."""

from collections.abc import Callable
from dataclasses import dataclass

from models.pocket.conversation import Check, Conversation, Exchange, Message, said_by_model, said_by_user
from models.pocket.draw import Draw, Pool, pool
from models.pocket.skills.phrasing import asked, capital
from models.pocket.words import COLOURS, DAYS, FOODS, HOBBIES, JOBS, OBJECTS, PETS, PLACES, RELATIVES, ROOMS

SKILL = "memory"
ACKNOWLEDGEMENTS = ("Okay, I will remember that.", "Thanks, I have noted both.", "Thanks, I have noted all of it.")
"""For one fact, for two, and for more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactKind:
    """How a fact is told, asked for and answered; slots come from `draw_slots`, and `value` is the asked one."""

    key: str
    """Facts of equal keys contradict one another; slots fill it."""
    value: str
    told: Pool
    asked: Pool
    answer: str
    draw_slots: Callable[[Draw], dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact in words."""

    key: str
    told: str
    asked: str
    answer: str
    value: str


def _name(draw: Draw) -> dict[str, str]:
    return {"name": draw.name()}


def _pet(draw: Draw) -> dict[str, str]:
    return {"pet": draw.of(PETS), "name": draw.name()}


def _relative(draw: Draw) -> dict[str, str]:
    return {"relative": draw.any(RELATIVES), "name": draw.name()}


def _home(draw: Draw) -> dict[str, str]:
    return {"name": draw.name()}


def _coloured(draw: Draw) -> dict[str, str]:
    return {"object": draw.of(OBJECTS), "colour": draw.any(COLOURS)}


def _kept(draw: Draw) -> dict[str, str]:
    return {"object": draw.of(OBJECTS), "room": draw.any(ROOMS)}


def _trip(draw: Draw) -> dict[str, str]:
    return {"place": draw.of(PLACES), "day": draw.any(DAYS)}


def _job(draw: Draw) -> dict[str, str]:
    return {"name": draw.name(), "job": draw.of(JOBS)}


def _taste(draw: Draw) -> dict[str, str]:
    return {"name": draw.name(), "food": draw.of(FOODS)}


def _hobby(draw: Draw) -> dict[str, str]:
    return {"name": draw.name(), "hobby": draw.of(HOBBIES)}


def _favourite_colour(draw: Draw) -> dict[str, str]:
    return {"colour": draw.any(COLOURS)}


def _code(draw: Draw) -> dict[str, str]:
    return {"object": draw.of(OBJECTS), "code": str(draw.count(100, 9999))}


def _lives(draw: Draw) -> dict[str, str]:
    name, place = draw.names(2)
    return {"name": name, "place": place}


KINDS = (
    FactKind(
        key="my name",
        value="name",
        told=pool(
            "tell my name", "My name is {name}.", "I am {name}.", "I'm {name}.", "Call me {name}.", "Hi, I'm {name}.",
            "Hello, my name is {name}.", "You can call me {name}.", "People call me {name}.", "Hello, I am {name}.",
            "This is {name} speaking.", "Hi! My name is {name}.",
        ),
        asked=pool(
            "ask my name", "What is my name?", "What's my name?", "Who am I?", "Do you remember my name?", "Tell me my name.",
            "Can you say my name?", "Do you know my name?", "Say my name.", "What was my name?", "What did I say my name was?",
            "Which name did I give you?", "Please tell me my name.",
        ),
        answer="Your name is {name}.",
        draw_slots=_name,
    ),
    FactKind(
        key="my {pet}",
        value="name",
        told=pool(
            "tell pet", "My {pet} is called {name}.", "I have a {pet} named {name}.", "My {pet}'s name is {name}.",
            "I have a {pet} called {name}.", "We have a {pet}, {name}.", "The name of my {pet} is {name}.",
            "I got a {pet} and called it {name}.", "{name} is my {pet}.", "I own a {pet}. Its name is {name}.",
        ),
        asked=pool(
            "ask pet", "What is my {pet} called?", "What is the name of my {pet}?", "What's my {pet}'s name?",
            "Do you remember the name of my {pet}?", "How is my {pet} called?", "Tell me the name of my {pet}.",
            "Which name does my {pet} have?", "What did I call my {pet}?", "Say the name of my {pet}.", "Who is my {pet}?",
        ),
        answer="Your {pet} is called {name}.",
        draw_slots=_pet,
    ),
    FactKind(
        key="my {relative}",
        value="name",
        told=pool(
            "tell relative", "My {relative} is called {name}.", "My {relative}'s name is {name}.", "{name} is my {relative}.",
            "I have a {relative} named {name}.", "The name of my {relative} is {name}.", "My {relative} is {name}.",
            "I met my {relative} {name} today.", "My {relative} {name} is here.",
        ),
        asked=pool(
            "ask relative", "What is my {relative} called?", "What is the name of my {relative}?", "Who is my {relative}?",
            "What's my {relative}'s name?", "Do you remember my {relative}'s name?", "Tell me the name of my {relative}.",
            "How is my {relative} called?", "Say the name of my {relative}.", "Which name does my {relative} have?",
        ),
        answer="Your {relative} is called {name}.",
        draw_slots=_relative,
    ),
    FactKind(
        key="my home",
        value="name",
        told=pool(
            "tell home", "I live in {name}.", "My home is in {name}.", "I moved to {name}.", "I come from {name}.",
            "My home town is {name}.", "My house is in {name}.", "I am from {name}.", "I have a flat in {name}.",
        ),
        asked=pool(
            "ask home", "Where do I live?", "Where is my home?", "Which town do I live in?", "Do you remember where I live?",
            "Tell me where I live.", "In which town do I live?", "What town is my home in?", "Where is my house?",
        ),
        answer="You live in {name}.",
        draw_slots=_home,
    ),
    FactKind(
        key="colour of {object}",
        value="colour",
        told=pool(
            "tell colour", "My {object} is {colour}.", "I have a {colour} {object}.", "I bought a {colour} {object}.",
            "I painted my {object} {colour}.", "The colour of my {object} is {colour}.", "I own a {colour} {object}.",
            "My new {object} is {colour}.", "I got a {colour} {object} today.",
        ),
        asked=pool(
            "ask colour", "What colour is my {object}?", "What is the colour of my {object}?", "Which colour is my {object}?",
            "Do you remember the colour of my {object}?", "Tell me the colour of my {object}.", "My {object} has which colour?",
            "Which colour does my {object} have?", "What colour does my {object} have?",
        ),
        answer="Your {object} is {colour}.",
        draw_slots=_coloured,
    ),
    FactKind(
        key="place of {object}",
        value="room",
        told=pool(
            "tell room", "My {object} is in the {room}.", "I put my {object} in the {room}.", "I left my {object} in the {room}.",
            "I keep my {object} in the {room}.", "The {room} is where my {object} is.", "You find my {object} in the {room}.",
            "I hid my {object} in the {room}.", "My {object} lies in the {room}.",
        ),
        asked=pool(
            "ask room", "Where is my {object}?", "Where did I put my {object}?", "In which room is my {object}?",
            "Do you remember where my {object} is?", "Tell me where my {object} is.", "Where can I find my {object}?",
            "Where do I find my {object}?", "Where did I leave my {object}?",
        ),
        answer="Your {object} is in the {room}.",
        draw_slots=_kept,
    ),
    FactKind(
        key="trip to {place}",
        value="day",
        told=pool(
            "tell trip", "On {day} I go to the {place}.", "I want to visit the {place} on {day}.", "I will go to the {place} on {day}.",
            "My trip to the {place} is on {day}.", "I plan to see the {place} on {day}.", "I am going to the {place} on {day}.",
            "We go to the {place} on {day}.", "On {day} we visit the {place}.",
        ),
        asked=pool(
            "ask trip", "When do I go to the {place}?", "On which day do I visit the {place}?", "When will I see the {place}?",
            "When is my trip to the {place}?", "On what day do I go to the {place}?", "Which day do I go to the {place}?",
            "Tell me when I go to the {place}.", "Do you remember when I go to the {place}?", "When will I go to the {place}?",
        ),
        answer="You go to the {place} on {day}.",
        draw_slots=_trip,
    ),
    FactKind(
        key="job of {name}",
        value="job",
        told=pool(
            "tell job", "{name} works as a {job}.", "{name} is a {job}.", "{name} has a job as a {job}.", "The {job} here is {name}.",
            "I know a {job} called {name}.", "{name} became a {job}.", "{name} earns money as a {job}.", "Our {job} is {name}.",
        ),
        asked=pool(
            "ask job", "What does {name} work as?", "What is {name}'s job?", "What job does {name} have?", "What is the job of {name}?",
            "Which job does {name} have?", "Do you remember {name}'s job?", "Tell me {name}'s job.", "What does {name} do for work?",
        ),
        answer="{name} works as a {job}.",
        draw_slots=_job,
    ),
    FactKind(
        key="taste of {name}",
        value="food",
        told=pool(
            "tell food", "{name} likes {food}.", "{name} loves to eat {food}.", "{name} eats {food} every day.", "{name} always eats {food}.",
            "The favourite food of {name} is {food}.", "{name}'s favourite food is {food}.", "{name} wants {food} for dinner.",
            "{name} is fond of {food}.",
        ),
        asked=pool(
            "ask food", "What does {name} like to eat?", "What food does {name} like?", "What is {name}'s favourite food?",
            "Which food does {name} like?", "What does {name} eat?", "Tell me what {name} likes to eat.",
            "Do you remember what {name} eats?", "What is the favourite food of {name}?",
        ),
        answer="{name} likes {food}.",
        draw_slots=_taste,
    ),
    FactKind(
        key="hobby of {name}",
        value="hobby",
        told=pool(
            "tell hobby", "{name}'s hobby is {hobby}.", "{name} enjoys {hobby}.", "The hobby of {name} is {hobby}.",
            "{name} is good at {hobby}.", "{name} has a hobby, {hobby}.", "{name} spends the day {hobby}.",
            "{name} has fun with {hobby}.", "{name} is always {hobby}.",
        ),
        asked=pool(
            "ask hobby", "What is {name}'s hobby?", "What is the hobby of {name}?", "Which hobby does {name} have?",
            "What hobby does {name} have?", "Tell me {name}'s hobby.", "Do you remember {name}'s hobby?",
            "Tell me the hobby of {name}.", "What does {name} do as a hobby?",
        ),
        answer="The hobby of {name} is {hobby}.",
        draw_slots=_hobby,
    ),
    FactKind(
        key="favourite colour",
        value="colour",
        told=pool(
            "tell favourite", "My favourite colour is {colour}.", "I like {colour} best of all colours.", "The colour I love is {colour}.",
            "{colour} is my favourite colour.", "Of all colours I like {colour} best.", "I love the colour {colour}.",
            "My best colour is {colour}.", "No colour is as nice as {colour}.",
        ),
        asked=pool(
            "ask favourite", "What is my favourite colour?", "What's my favourite colour?", "Which colour do I like best?",
            "Do you remember my favourite colour?", "Tell me my favourite colour.", "Which colour do I love?",
            "What colour do I like best?", "Which colour is my favourite?",
        ),
        answer="Your favourite colour is {colour}.",
        draw_slots=_favourite_colour,
    ),
    FactKind(
        key="code of {object}",
        value="code",
        told=pool(
            "tell code", "The code of my {object} is {code}.", "My {object} has the code {code}.", "My {object} has number {code}.",
            "The number of my {object} is {code}.", "Note the code {code} for my {object}.", "I use the code {code} for my {object}.",
            "{code} is the code of my {object}.", "Remember the code {code} of my {object}.",
        ),
        asked=pool(
            "ask code", "What is the code of my {object}?", "Which code does my {object} have?", "What code does my {object} have?",
            "What is the number of my {object}?", "Tell me the code of my {object}.", "Do you remember the code of my {object}?",
            "Which code do I use for my {object}?", "What code is for my {object}?",
        ),
        answer="The code of your {object} is {code}.",
        draw_slots=_code,
    ),
    FactKind(
        key="home of {name}",
        value="place",
        told=pool(
            "tell their home", "{name} lives in {place}.", "{name} has a house in {place}.", "{name} moved to {place}.",
            "{name} comes from {place}.", "The home of {name} is {place}.", "{name} is at home in {place}.",
            "{name} stays in {place}.", "{name} now lives in {place}.",
        ),
        asked=pool(
            "ask their home", "Where does {name} live?", "Where is {name}'s home?", "Which town does {name} live in?",
            "In which town does {name} live?", "Tell me where {name} lives.", "Do you remember where {name} lives?",
            "Where is the home of {name}?", "Tell me the town where {name} lives.",
        ),
        answer="{name} lives in {place}.",
        draw_slots=_lives,
    ),
)  # fmt: skip


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
    """Facts that do not contradict one another."""
    found: dict[str, Fact] = {}
    while len(found) < count:
        one = fact(draw)
        found.setdefault(one.key, one)
    return list(found.values())


def told(draw: Draw, known: list[Fact]) -> list[Message]:
    """The facts, one or several a turn, each turn acknowledged."""
    messages: list[Message] = []
    rest = known
    while rest:
        size = draw.any((1, 1, 2, 3))
        text = " ".join(one.told for one in rest[:size])
        messages += [said_by_user(text), said_by_model(ACKNOWLEDGEMENTS[len(rest[:size]) - 1])]
        rest = rest[size:]
    return messages


def question(one: Fact) -> Exchange:
    """Asks for a fact."""
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
