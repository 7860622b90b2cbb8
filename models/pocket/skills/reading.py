"""A short passage, then a question whose answer is a span of it; it does not ask for inference."""

from collections.abc import Callable
from dataclasses import dataclass

from models.pocket.conversation import Check, Conversation, Exchange, Message, said_by_model, said_by_user
from models.pocket.draw import Draw, Pool, pool
from models.pocket.words import COLOURS, DAYS, FOODS, HOBBIES, JOBS, OBJECTS, PETS, PLACES, ROOMS

SKILL = "reading"


@dataclass(frozen=True, slots=True)
class Question:
    """Ways to ask for one slot of a sentence."""

    slot: str
    asked: Pool


@dataclass(frozen=True, slots=True)
class Sentence:
    """Ways to write a fact, and the questions that it answers."""

    written: Pool
    questions: tuple[Question, ...]
    draw_slots: Callable[[Draw], dict[str, str]]


def _home(draw: Draw) -> dict[str, str]:
    name, town = draw.names(2)
    return {"name": name, "town": town}


def _job(draw: Draw) -> dict[str, str]:
    return {"name": draw.name(), "job": draw.of(JOBS)}


def _purchase(draw: Draw) -> dict[str, str]:
    return {
        "name": draw.name(),
        "colour": draw.any(COLOURS),
        "object": draw.of(OBJECTS),
        "number": str(draw.count(2, 99)),
    }


def _meeting(draw: Draw) -> dict[str, str]:
    name, other = draw.names(2)
    return {"name": name, "other": other, "place": draw.of(PLACES), "day": draw.any(DAYS)}


def _hiding(draw: Draw) -> dict[str, str]:
    return {"name": draw.name(), "object": draw.of(OBJECTS), "room": draw.any(ROOMS)}


def _pet(draw: Draw) -> dict[str, str]:
    name, other = draw.names(2)
    return {"name": name, "other": other, "pet": draw.of(PETS)}


def _free_time(draw: Draw) -> dict[str, str]:
    return {"name": draw.name(), "hobby": draw.of(HOBBIES), "food": draw.of(FOODS)}


SENTENCES = (
    Sentence(
        pool(
            "write home", "{name} lives in {town}.", "{name} has a house in {town}.", "{name} comes from {town}.",
            "The home of {name} is in {town}.", "{name} moved to {town}.", "{name} has lived in {town} for years.",
            "{name} is at home in {town}.", "{name} now lives in {town}.",
        ),
        (
            Question("town", pool("read town", "Where does {name} live?", "In which town does {name} live?", "Where is {name}'s home?",
                                  "Which town does {name} live in?", "What town is the home of {name}?", "Where is the home of {name}?",
                                  "What is {name}'s home town?", "Where is {name} at home?")),
            Question("name", pool("read who lives", "Who lives in {town}?", "Who is at home in {town}?", "Whose home is in {town}?", "Who has a home in {town}?",
                                  "Which person lives in {town}?", "Who is the person in {town}?", "Who lives there in {town}?", "Who is living in {town}?")),
        ),
        _home,
    ),
    Sentence(
        pool(
            "write job", "{name} works as a {job}.", "{name} is a {job}.", "{name} became a {job}.", "The {job} is called {name}.",
            "{name} has been a {job} for years.", "{name} is a good {job}.", "{name} is known as a {job}.", "A {job} named {name} is there too.",
        ),
        (
            Question("job", pool("read job", "What is {name}'s job?", "What does {name} work as?", "What job does {name} have?", "What is the job of {name}?",
                                 "Which job does {name} have?", "What does {name} do for work?", "What kind of work does {name} do?", "What work does {name} do?")),
            Question("name", pool("read who works", "Who is the {job}?", "Who works as a {job}?", "What is the {job} called?", "What is the name of the {job}?",
                                  "Who is a {job}?", "Which person is a {job}?", "How is the {job} called?", "Who has the job of a {job}?")),
        ),
        _job,
    ),
    Sentence(
        pool(
            "write purchase", "{name} bought a {colour} {object} for {number} coins.", "For {number} coins {name} bought a {colour} {object}.",
            "{name} paid {number} coins for a {colour} {object}.", "{name} got a {colour} {object} for {number} coins.",
            "{name} gave {number} coins for a {colour} {object}.", "One {colour} {object} was bought by {name} for {number} coins.",
            "{name} sold a {colour} {object} for {number} coins.", "{name} found a {colour} {object} that cost {number} coins.",
        ),
        (
            Question("colour", pool("read colour", "What colour is the {object}?", "What is the colour of the {object}?", "Which colour is the {object}?",
                                    "Which colour does the {object} have?", "What colour was the {object}?", "Which colour was the {object}?",
                                    "What colour does the {object} have?", "Of what colour is the {object}?")),
            Question("number", pool("read price", "How many coins was the {object}?", "How many coins did the {object} cost?", "How much did the {object} cost?",
                                    "What was the price of the {object}?", "How many coins is the {object}?", "How much was the {object}?",
                                    "What did the {object} cost?", "For how many coins was the {object}?")),
            Question("name", pool("read buyer", "Who has to do with the {object}?", "Whose is the {object}?", "Who had the {colour} {object}?", "Which person has the {object}?",
                                  "Which person had the {object}?", "Who had the {object}?", "Who handled the {object}?", "Who was it that had the {object}?")),
        ),
        _purchase,
    ),
    Sentence(
        pool(
            "write meeting", "{name} met {other} at the {place} on {day}.", "On {day} {name} met {other} at the {place}.", "On {day}, {name} saw {other} at the {place}.",
            "{name} and {other} met at the {place} on {day}.", "{name} visited {other} at the {place} on {day}.", "At the {place} {name} met {other} on {day}.",
            "{name} danced with {other} at the {place} on {day}.", "{name} talked to {other} at the {place} on {day}.",
        ),
        (
            Question("place", pool("read where met", "Where did {name} meet {other}?", "Where did {name} see {other}?", "Where were {name} and {other}?", "At which place did {name} meet {other}?",
                                   "Where was {name} on {day}?", "At what place was {name} on {day}?", "Where did they meet on {day}?", "At which place was {name}?")),
            Question("day", pool("read when met", "When did {name} meet {other}?", "On which day did {name} meet {other}?", "When did {name} see {other}?", "On what day did {name} meet {other}?",
                                 "Which day was {name} at the {place}?", "When was {name} at the {place}?", "What day did {name} meet {other}?", "On which day was {name} at the {place}?")),
            Question("other", pool("read who met", "Who did {name} meet?", "Whom did {name} meet?", "Who did {name} meet on {day}?", "Who was with {name} on {day}?",
                                   "Whom did {name} meet at the {place}?", "Who was with {name} at the {place}?", "Who did {name} meet at the {place}?", "Who was there with {name}?")),
        ),
        _meeting,
    ),
    Sentence(
        pool(
            "write hiding", "{name} hid the {object} in the {room}.", "{name} put the {object} in the {room}.", "{name} left the {object} in the {room}.",
            "In the {room} {name} has the {object}.", "{name} keeps the {object} in the {room}.", "{name} stored the {object} in the {room}.",
            "The {object} of {name} is in the {room}.", "{name} placed the {object} in the {room}.",
        ),
        (
            Question("room", pool("read room", "Where is the {object}?", "Where did {name} put the {object}?", "In which room is the {object}?", "Where can I find the {object}?",
                                  "Where is the {object} now?", "In what room is the {object}?", "Where did {name} leave the {object}?", "Where is {name}'s {object}?")),
            Question("object", pool("read hidden", "What is in the {room}?", "What did {name} put in the {room}?", "What can I find in the {room}?", "Which thing is in the {room}?",
                                    "What did {name} leave in the {room}?", "What is there in the {room}?", "What does {name} have in the {room}?", "Which object is in the {room}?")),
        ),
        _hiding,
    ),
    Sentence(
        pool(
            "write pet", "{name} has a {pet} called {other}.", "{name} has a {pet} named {other}.", "The {pet} of {name} is called {other}.", "{name}'s {pet} is called {other}.",
            "{name} owns a {pet} with the name {other}.", "{name} feeds a {pet} named {other}.", "{name} got a {pet}, {other}.", "{name} plays with the {pet} {other}.",
        ),
        (
            Question("other", pool("read pet name", "What is the {pet} called?", "What is the name of the {pet}?", "What is {name}'s {pet} called?", "What is the {pet}'s name?",
                                   "Which name does the {pet} have?", "How is the {pet} called?", "What is {name}'s {pet} named?", "What name does the {pet} have?")),
            Question("name", pool("read owner", "Who has a {pet}?", "Who owns the {pet}?", "Whose {pet} is {other}?", "Who has the {pet} {other}?",
                                  "To whom belongs the {pet}?", "Who owns a {pet}?", "Who is the owner of {other}?", "Who owns {other}?")),
            Question("pet", pool("read kind of pet", "What animal is {other}?", "What kind of animal is {other}?", "Which animal does {name} have?", "What animal does {name} have?",
                                 "What sort of animal is {other}?", "Which animal is {other}?", "What pet does {name} have?", "What kind of pet is {other}?")),
        ),
        _pet,
    ),
    Sentence(
        pool(
            "write free time", "{name} likes {hobby} and eats {food}.", "{name} enjoys {hobby} and loves {food}.", "After {hobby}, {name} eats {food}.", "{name} eats {food} before {hobby}.",
            "{name} is fond of {hobby} and of {food}.", "When {name} is not {hobby}, there is {food} to eat.", "{name} spends the day {hobby} and eating {food}.", "{name} eats {food} and goes {hobby}.",
        ),
        (
            Question("hobby", pool("read hobby", "What is {name}'s hobby?", "What hobby does {name} have?", "Which hobby does {name} have?", "Tell me what hobby {name} has.",
                                   "What is the hobby of {name}?", "What does {name} like to do?", "Which hobby has {name}?", "Tell me the hobby of {name}.")),
            Question("food", pool("read food", "What does {name} eat?", "What food does {name} like?", "Which food does {name} eat?", "What does {name} like to eat?",
                                  "What is there for {name} to eat?", "What is {name}'s food?", "What food does {name} eat?", "Which food does {name} like?")),
        ),
        _free_time,
    ),
)  # fmt: skip

FRAMES = pool(
    "reading frame", "{text}\n\n{question}", "Read this: {text} {question}", "Text: {text}\nQuestion: {question}", "{text} {question}",
    'Read the text: "{text}" {question}', "Here is a text. {text}\n{question}", "{text}\nQuestion: {question}", "Read: {text}\n{question}",
    "Passage: {text}\n\n{question}", "Read the passage and answer. {text} {question}", "Text: {text} {question}", "Read this text. {text}\n\n{question}",
)  # fmt: skip


def passage(draw: Draw, size: int) -> tuple[str, list[Exchange]]:
    """A text of different sentences, and the questions to it."""
    texts: list[str] = []
    questions: list[Exchange] = []
    for sentence in draw.random.sample(SENTENCES, size):
        slots = sentence.draw_slots(draw)
        texts.append(draw.of(sentence.written).format(**slots))
        for question in sentence.questions:
            value = slots[question.slot]
            user = draw.of(question.asked).format(**slots)
            check = Check(rule="mentions", values=(value,))
            questions.append(Exchange(user=user, answer=f"{value}.", check=check, short=value))
    return " ".join(texts), draw.shuffled(questions)


def exchange(draw: Draw) -> Exchange:
    """A passage with its question in one turn."""
    text, questions = passage(draw, draw.count(2, 4))
    first = questions[0]
    user = draw.of(FRAMES).format(text=text, question=first.user)
    return Exchange(user=user, answer=first.answer, check=first.check, short=first.short)


def conversation(draw: Draw) -> Conversation:
    """A passage, then one to four questions."""
    text, questions = passage(draw, draw.count(2, 5))
    first, *more = questions[: draw.turns((1, 2, 4, 5))]
    opening = draw.of(FRAMES).format(text=text, question=first.user)
    messages: list[Message] = [said_by_user(opening), said_by_model(first.answer)]
    for question in more:
        messages += question.messages()
    return Conversation(skill=SKILL, messages=messages, check=[first, *more][-1].check)
