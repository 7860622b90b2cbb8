"""The kinds of facts that users tell and ask for, with the ways to phrase each."""

from collections.abc import Callable
from dataclasses import dataclass

from pocket.draw import Draw, Pool, pool
from pocket.words import COLOURS, DAYS, FOODS, HOBBIES, JOBS, OBJECTS, PETS, PLACES, RELATIVES, ROOMS


@dataclass(frozen=True, slots=True, kw_only=True)
class FactKind:
    """How a fact is told, asked for and answered. `draw_slots` fills the slots; the question is for the slot `value`."""

    key: str
    """Two facts with equal keys contradict each other. May contain slots."""
    value: str
    told: Pool
    asked: Pool
    answer: str
    draw_slots: Callable[[Draw], dict[str, str]]


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
            "tell my name",
            "[My|Hi, my|Hello, my|Hey, my] [first |]name is {name}.",
            "[I am|I'm|Hi, I am|Hi, I'm|Hello, I am|Hello, I'm|Hey, I'm] {name}.",
            "[I am|I'm|My name is] {name}, [by the way|just so you know|nice to meet you].",
            "[I am|I'm] [called|named] {name}.",
            "[You can call|Please call|Call|Just call] me {name}[ from now on| now|].",
            "[My friends|People|All my friends|All people] call me {name}.",
            "[Hi, this|Hello, this|Hey, this|This] is {name}[ here| speaking].",
        ),
        asked=pool(
            "ask my name",
            "[What is|What's|What was] my [first |]name[ again|, please|]?",
            "[Who am I|What am I called][ again|, please|]?",
            "[Tell me|Please tell me|Say|Please say] [my name|what my name is|who I am][ again| now|].",
            "[Do you know|Do you remember|Do you still know|Do you still remember] [my name|who I am|what my name is|what I am called]?",
            "[Can you tell me|Can you say|Could you tell me] [my name|who I am|what my name is|what I am called][ again|]?",
            "What did I [say|tell you] my name [is|was][ again|]?",
        ),
        answer="Your name is {name}.",
        draw_slots=_name,
    ),
    FactKind(
        key="my {pet}",
        value="name",
        told=pool(
            "tell pet",
            "[My|Our] {pet} is [called|named] {name}[ now|, by the way|].",
            "[My {pet}'s name|Our {pet}'s name|The name of my {pet}|The name of our {pet}] is {name}[, by the way|].",
            "[I|We] [have|own|keep|got] a {pet} [called|named|with the name] {name}.",
            "[I|We] [have|own|keep|got] a {pet}[. Its name is|. It is called| and its name is| and it is called] {name}.",
            "[I called my|I named my|We called our|We named our] {pet} {name}.",
            "{name} is [my {pet}|our {pet}|the name of my {pet}|the name of our {pet}][, by the way|].",
        ),
        asked=pool(
            "ask pet",
            "[What is|What's|What was] [my {pet} called|the name of my {pet}|my {pet}'s name][ again|, please|]?",
            "What did I [call my {pet}|name my {pet}|say my {pet} is called][ again|]?",
            "[What|Which] name [does my {pet} have|did I give my {pet}|did I say my {pet} has]?",
            "[Tell me|Please tell me|Say|Please say] [my {pet}'s name|the name of my {pet}|what my {pet} is called][ again|].",
            "[Do you know|Do you remember|Can you tell me|Can you say] [my {pet}'s name|the name of my {pet}|what my {pet} is called]?",
        ),
        answer="Your {pet} is called {name}.",
        draw_slots=_pet,
    ),
    FactKind(
        key="my {relative}",
        value="name",
        told=pool(
            "tell relative",
            "My {relative} is [called |named |]{name}[, by the way|].",
            "[My {relative}'s|My {relative}'s first] name is {name}[, by the way|].",
            "The [first |]name of my {relative} is {name}[, by the way|].",
            "{name} is [my {relative}|the name of my {relative}|my {relative}'s name][, by the way|].",
            "I [met|saw|visited|helped] my {relative} {name}[ today| yesterday| again|].",
            "My {relative} {name} is [here|at home|with me][ today| now| again|].",
            "[I|We|All people|My friends] call my {relative} {name}.",
        ),
        asked=pool(
            "ask relative",
            "[Who is|Who's] my {relative}[ again|, please|]?",
            "[What is|What's|What was] [my {relative} called|the name of my {relative}|my {relative}'s name][ again|, please|]?",
            "[What|Which] name [does my {relative} have|did I say my {relative} has][ again|]?",
            "What did I say [my {relative} is called|my {relative}'s name is|the name of my {relative} is][ again|]?",
            "[Tell me|Please tell me|Say|Please say] [who my {relative} is|the name of my {relative}|what my {relative} is called][ again|].",
            "[Do you know|Do you remember|Can you tell me|Can you say] [my {relative}'s name|the name of my {relative}|who my {relative} is]?",
        ),
        answer="Your {relative} is called {name}.",
        draw_slots=_relative,
    ),
    FactKind(
        key="my home",
        value="name",
        told=pool(
            "tell home",
            "I [live|now live|still live] in {name}[, by the way|].",
            "My [home|house|flat] is in {name}[ now|, by the way|].",
            "[My home town|My home city|My town|My city] is {name}[ now|, by the way|].",
            "I [moved|just moved] to {name}[ this year| this week| today|].",
            "[I come|I am|I'm] from {name}[, by the way|].",
            "I [have|own] a [home|house|flat] in {name}[ now|, by the way|].",
            "The [town|city|place] [where I live|I live in] is {name}[ now|, by the way|].",
        ),
        asked=pool(
            "ask home",
            "Where [do I live|is my home|is my house][ again|, please|]?",
            "[Which|What] [town|city] [do I live in|is my home in|is my house in|am I from]?",
            "In [which|what] [town|city|place] [do I live|is my home|is my house]?",
            "Where did I say [I live|my home is|my house is][ again|]?",
            "[Tell me|Please tell me|Say|Please say] [where I live|where my home is|which town I live in|which city I live in][ again|].",
            "[Do you know|Do you remember|Can you tell me|Can you say] [where I live|where my home is|where my house is|which town I live in]?",
        ),
        answer="You live in {name}.",
        draw_slots=_home,
    ),
    FactKind(
        key="colour of {object}",
        value="colour",
        told=pool(
            "tell colour",
            "My [new |old |]{object} is {colour}[ now|, by the way|].",
            "The colour of my [new |old |]{object} is {colour}[ now|, by the way|].",
            "I [have|own|use] a [new|nice|small] {colour} {object}[ now|, by the way|].",
            "I [bought|got|made] a [new|nice|small] {colour} {object}[ today| yesterday|].",
            "I [painted|have painted|just painted] my [new |old |]{object} {colour}.",
            "{colour} is the colour of my [new |old |]{object}[ now|, by the way|].",
        ),
        asked=pool(
            "ask colour",
            "[What|Which] colour [is my {object}|does my {object} have|did I say my {object} is][ again|, please|]?",
            "[What is|What's|What was] the colour of my {object}[ again|, please|]?",
            "My {object}, [what|which] colour [is it|does it have][ again|]?",
            "[Tell me|Please tell me|Say|Please say] [the colour of my {object}|what colour my {object} is|which colour my {object} has][ again|].",
            "[Do you know|Do you remember|Can you tell me|Can you say] [the colour of my {object}|what colour my {object} is|which colour my {object} has]?",
        ),
        answer="Your {object} is {colour}.",
        draw_slots=_coloured,
    ),
    FactKind(
        key="place of {object}",
        value="room",
        told=pool(
            "tell room",
            "My [new |old |]{object} is [now |still |always |]in the {room}.",
            "I [put|left|hid] my [new |old |]{object} in the {room}[ today| yesterday|].",
            "I [keep|have|always put|always leave] my {object} in the {room}[ now|, by the way|].",
            "The {room} is [where|the place where|the room where] [my {object} is|I keep my {object}|I put my {object}|I left my {object}].",
            "[You|I|We] [can|will|always] find my {object} in the {room}.",
            "The place [of|for] my [new |old |]{object} is the {room}[ now|, by the way|].",
        ),
        asked=pool(
            "ask room",
            "Where [is my {object}|did I put my {object}|did I leave my {object}|can I find my {object}|do I keep my {object}][ again|, please|]?",
            "In [which|what] room [is my {object}|did I put my {object}|did I leave my {object}|can I find my {object}|do I keep my {object}]?",
            "[Which|What] room is my {object} in[ again|, please|]?",
            "Where did I say [my {object} is|I put my {object}|I keep my {object}][ again|]?",
            "[Tell me|Please tell me|Say|Please say] [where my {object} is|where I put my {object}|which room my {object} is in][ again|].",
            "[Do you know|Do you remember|Can you tell me|Can you say] [where my {object} is|where I put my {object}|where I can find my {object}|which room my {object} is in]?",
        ),
        answer="Your {object} is in the {room}.",
        draw_slots=_kept,
    ),
    FactKind(
        key="trip to {place}",
        value="day",
        told=pool(
            "tell trip",
            "[I|We] [go to|will go to|visit|will visit|want to visit|plan to visit] the {place} on {day}.",
            "On {day} [I|we] [go to|will go to|visit|will visit|want to visit|plan to visit] the {place}.",
            "[I am|I'm|We are] [going to|visiting|going to visit|going to see] the {place} on {day}.",
            "On {day} [I am|I'm|we are] [going to|visiting|going to visit|going to see] the {place}.",
            "[My|Our|The] [trip|visit] to the {place} is on {day}[, by the way|].",
            "{day} is the day [I go to|I visit|we go to|we visit|of my trip to|of our trip to] the {place}.",
        ),
        asked=pool(
            "ask trip",
            "When [do I go to|will I go to|do I visit|will I visit|will I see|is my trip to] the {place}[ again|, please|]?",
            "On [which|what] day [do I go to|will I go to|do I visit|will I visit|is my trip to] the {place}?",
            "[Which|What] day [do I go to|do I visit|is my trip to] the {place}[ again|]?",
            "When did I say I [go to|will go to|visit|will visit] the {place}[ again|]?",
            "[Tell me|Please tell me|Say|Please say] [when I go to|when I visit|on which day I go to|on what day I visit] the {place}[ again|].",
            "[Do you know|Do you remember|Can you tell me|Can you say] [when I go to|when I visit|on which day I go to|on what day I visit] the {place}?",
        ),
        answer="You go to the {place} on {day}.",
        draw_slots=_trip,
    ),
    FactKind(
        key="job of {name}",
        value="job",
        told=pool(
            "tell job",
            "{name} [is|is now|works as|now works as|has a job as|has work as|became] a {job}[, by the way|].",
            "{name} [earns money|makes money|makes a living] as a {job}[ now|, by the way|].",
            "{name} is [my {job}|our {job}|the {job} here|the {job} in town][ now|, by the way|].",
            "[My {job}|Our {job}|The {job} here|The {job} in town] is [called |named |]{name}.",
            "[I|We] [know|met|have] a {job} [called|named] {name}.",
            "A {job} [called|named] {name} [lives|works] [here|in town].",
        ),
        asked=pool(
            "ask job",
            "[What is|What's|What was] [{name}'s job|the job of {name}][ again|, please|]?",
            "[What|Which] job does {name} have[ again|, please|]?",
            "What does {name} [work as|do for work|do for a living][ again|, please|]?",
            "What did I say [{name}'s job is|the job of {name} is|{name} works as][ again|]?",
            "[Tell me|Please tell me|Say|Please say] [{name}'s job|the job of {name}|what {name} works as|which job {name} has][ again|].",
            "[Do you know|Do you remember|Can you tell me|Can you say] [{name}'s job|the job of {name}|what {name} works as|which job {name} has]?",
        ),
        answer="{name} works as a {job}.",
        draw_slots=_job,
    ),
    FactKind(
        key="taste of {name}",
        value="food",
        told=pool(
            "tell food",
            "{name} [likes|loves|likes to eat|loves to eat] {food}[ very much| a lot|, by the way|].",
            "{name} [always|often|mostly|only] eats {food}[ for lunch| for dinner| at home|].",
            "{name} eats {food} [every day|all day|all the time][, by the way|].",
            "[{name}'s favourite food|The favourite food of {name}|{name}'s favourite meal|The favourite meal of {name}] is {food}[, by the way|].",
            "{name} is [always |very |]fond of {food}[, by the way|].",
            "The [food|meal] {name} [likes|loves] [best|most|very much] is {food}.",
        ),
        asked=pool(
            "ask food",
            "[What food|Which food] does {name} [like|love|like to eat|eat][ again|, please|]?",
            "What does {name} [eat|like to eat|love to eat][ again|, please|]?",
            "[What is|What's|What was] [{name}'s favourite food|the favourite food of {name}][ again|, please|]?",
            "[Tell me|Please tell me|Say|Please say] [{name}'s favourite food|the favourite food of {name}|what {name} likes to eat|which food {name} likes][ again|].",
            "[Do you know|Do you remember|Can you tell me|Can you say] [{name}'s favourite food|the favourite food of {name}|what {name} likes to eat|which food {name} likes]?",
        ),
        answer="{name} likes {food}.",
        draw_slots=_taste,
    ),
    FactKind(
        key="hobby of {name}",
        value="hobby",
        told=pool(
            "tell hobby",
            "[{name}'s hobby|{name}'s favourite hobby|The hobby of {name}|The favourite hobby of {name}] is {hobby}[ now|, by the way|].",
            "{name} [likes|loves|enjoys] {hobby} [as a hobby|after work|in the evening|at the weekend].",
            "{name} [enjoys|really enjoys|is good at|is very good at|is really good at] {hobby}[ now|, by the way|].",
            "{name} has [a|a new|one|a favourite] hobby[:|,| and it is] {hobby}.",
            "{hobby} is [{name}'s hobby|{name}'s favourite hobby|the hobby of {name}|what {name} enjoys|what {name} likes as a hobby][ now|, by the way|].",
        ),
        asked=pool(
            "ask hobby",
            "[What is|What's|What was] [{name}'s hobby|the hobby of {name}|{name}'s favourite hobby][ again|, please|]?",
            "[What|Which] hobby does {name} [have|enjoy][ again|, please|]?",
            "What does {name} [do as a hobby|enjoy as a hobby|like as a hobby][ again|, please|]?",
            "[Tell me|Please tell me|Say|Please say] [{name}'s hobby|the hobby of {name}|what {name} does as a hobby|which hobby {name} has][ again|].",
            "[Do you know|Do you remember|Can you tell me|Can you say] [{name}'s hobby|the hobby of {name}|what {name} does as a hobby|which hobby {name} has]?",
        ),
        answer="The hobby of {name} is {hobby}.",
        draw_slots=_hobby,
    ),
    FactKind(
        key="favourite colour",
        value="colour",
        told=pool(
            "tell favourite",
            "My favourite [colour|of all colours] is {colour}[ now|, by the way|].",
            "I [like|love] the colour {colour} [best|most|best of all|most of all][, by the way|].",
            "Of all colours, I [like|love] {colour} [best|most].",
            "I [like|love] {colour} [best|most] of all colours[, by the way|].",
            "The colour I [like|love|like best|love best|like most|love most] is {colour}[, by the way|].",
            "{colour} is [my favourite colour|the colour I like best|the colour I love most|the colour I love|my favourite of all colours][ now|, by the way|].",
            "[For me|To me], {colour} is the [best|nicest] [colour|of all colours].",
        ),
        asked=pool(
            "ask favourite",
            "[What is|What's|What was] my favourite colour[ again|, please|]?",
            "[What|Which] colour [do I like best|do I like most|do I love|is my favourite|did I say I like best][ again|, please|]?",
            "Of all colours, [what|which] [do I like best|do I like most|is my favourite]?",
            "What did I say my favourite colour [is|was][ again|]?",
            "[Tell me|Please tell me|Say|Please say] [my favourite colour|what my favourite colour is|which colour I like best|which colour I love][ again|].",
            "[Do you know|Do you remember|Can you tell me|Can you say] [my favourite colour|what my favourite colour is|which colour I like best|which colour I love]?",
        ),
        answer="Your favourite colour is {colour}.",
        draw_slots=_favourite_colour,
    ),
    FactKind(
        key="code of {object}",
        value="code",
        told=pool(
            "tell code",
            "The [code|number] [of|for] my {object} is {code}[ now|, by the way|].",
            "My {object} has the [code|number] {code}[ now|, by the way|].",
            "My {object}'s [code|number] is {code}[ now|, by the way|].",
            "I [use|have] the [code|number] {code} for my {object}[ now|, by the way|].",
            "[Note|Remember|Please note|Please remember] the [code|number] {code} [of|for] my {object}.",
            "{code} is the [code|number] [of|for] my {object}[ now|, by the way|].",
        ),
        asked=pool(
            "ask code",
            "[What is|What's|What was] the [code|number] [of|for] my {object}[ again|, please|]?",
            "[What|Which] [code|number] [does my {object} have|do I use for my {object}][ again|]?",
            "What did I say the [code|number] [of|for] my {object} [is|was]?",
            "[Tell me|Please tell me|Say|Please say] the [code|number] [of|for] my {object}[ again|].",
            "[Do you know|Do you remember|Can you tell me|Can you say] the [code|number] [of|for] my {object}?",
            "[Do you know|Do you remember|Can you tell me|Can you say] [what|which] [code|number] my {object} has?",
        ),
        answer="The code of your {object} is {code}.",
        draw_slots=_code,
    ),
    FactKind(
        key="home of {name}",
        value="place",
        told=pool(
            "tell their home",
            "{name} [lives|now lives|still lives|is at home] in {place}[, by the way|].",
            "{name} [comes|is] from {place}[, by the way|].",
            "{name} [moved|just moved|has moved|has just moved] to {place}[, by the way|].",
            "{name} [has|owns|bought] a [home|house|flat] in {place}[ now|, by the way|].",
            "[{name}'s home|The home of {name}|{name}'s house|The house of {name}] is in {place}[ now|, by the way|].",
            "The [town|city|place] where {name} lives is {place}[ now|, by the way|].",
            "{place} is [where {name} lives|the town where {name} lives|the home of {name}|{name}'s home][ now|, by the way|].",
        ),
        asked=pool(
            "ask their home",
            "Where [does {name} live|is {name}'s home|is the home of {name}|is {name}'s house][ again|, please|]?",
            "[Which|What] [town|city] [does {name} live in|is {name} from|is {name}'s home in][ again|]?",
            "In [which|what] [town|city|place] [does {name} live|is {name}'s home|is the home of {name}]?",
            "Where did I say [{name} lives|{name}'s home is|the home of {name} is][ again|]?",
            "[Tell me|Please tell me|Say|Please say] [where {name} lives|where {name}'s home is|which town {name} lives in|which city {name} lives in][ again|].",
            "[Do you know|Do you remember|Can you tell me|Can you say] [where {name} lives|where {name}'s home is|which town {name} lives in|which city {name} lives in]?",
        ),
        answer="{name} lives in {place}.",
        draw_slots=_lives,
    ),
)  # fmt: skip
