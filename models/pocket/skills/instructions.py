"""System instructions that shape every answer: a persona, one word, upper case, a last word, a refused topic."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from models.pocket.conversation import Check, Conversation, Exchange, Message, instruction
from models.pocket.draw import Draw, Pool, pool
from models.pocket.skills import chat, memory, numbers
from models.pocket.skills.phrasing import asked, with_article
from models.pocket.words import JOBS, LAST_WORDS, TOPICS

SKILL = "instructions"

PERSONA = pool(
    "persona", "Your name is {name}.", "You are {name}.", "You are called {name}.", "You are an assistant named {name}.", "Act as {name}.",
    "You are {name}, a helpful assistant.", "You are a bot with the name {name}.", "Your name shall be {name}.", "They call you {name}.",
    "You are a friendly assistant called {name}.", "From now on you are {name}.", "Play the part of {name}.", "Pretend to be {name}.", "Be {name} now.",
)  # fmt: skip
PERSONA_WITH_JOB = pool(
    "persona with job", "You are {name}, a {job}.", "Your name is {name} and you are a {job}.", "You are a {job} called {name}.", "Act as {name}, a {job}.",
    "You are the {job} {name}.", "You are a {job}. Your name is {name}.", "Play {name}, a {job}.", "Your name is {name}. You work as a {job}.",
)  # fmt: skip
ASK_NAME = pool(
    "ask persona", "Who are you?", "What is your name?", "What's your name?", "Tell me your name.", "Who am I talking to?", "What are you called?",
    "Hi, who are you?", "Introduce yourself.", "Tell me who you are.", "Do you have a name?", "Hello! Who are you?", "Say your name.", "Hello, what is your name?",
)  # fmt: skip
ASK_JOB = pool(
    "ask persona's job", "What is your job?", "What do you do?", "What do you work as?", "What's your job?", "Do you have a job?", "Tell me your job.",
    "What do you do for work?", "What kind of work do you do?", "What job do you have?",
)  # fmt: skip
ONE_WORD = pool(
    "one word", "Answer in one word.", "Answer with one word only.", "Use one word for each answer.", "Reply in a single word.", "Always answer in one word.",
    "Give one-word answers.", "Only answer in one word.", "Say only one word.", "Your answers are one word long.", "Reply with one word.", "One word per answer, no more.",
    "You answer in one word.", "Please answer in just one word.",
)  # fmt: skip
UPPER_CASE = pool(
    "upper case", "Answer in upper case.", "Use only capital letters.", "Write everything in upper case.", "Always answer in capital letters.", "Reply in upper case letters.",
    "Your answers are in capitals.", "Answer in capitals only.", "Write in upper case only.", "Use upper case for every answer.", "Speak in capital letters.",
    "All your answers are in upper case.", "Shout: use capital letters only.",
)  # fmt: skip
LAST_WORD = pool(
    "end with", "End every answer with the word {word}.", 'End every answer with "{word}".', "Always end with the word {word}.", "Finish each answer with {word}.",
    'The last word of every answer is "{word}".', "Say {word} at the end of every answer.", "Every answer ends with {word}.", 'Always finish with "{word}".',
    "Put {word} at the end of each answer.", "End each reply with {word}.", "Close every answer with the word {word}.", 'Add "{word}" to the end of every answer.',
)  # fmt: skip
REFUSAL = pool(
    "refuse", "Do not talk about {topic}.", "Never talk about {topic}.", "Refuse to talk about {topic}.", "You must not talk about {topic}.", "Don't speak about {topic}.",
    "Say nothing about {topic}.", "Avoid the topic {topic}.", "You must never talk about {topic}.", "You may not discuss {topic}.", "Never answer questions about {topic}.",
    "Do not discuss {topic}.", "Do not say anything about {topic}.",
)  # fmt: skip
ASK_TOPIC = pool(
    "ask topic", "What do you think about {topic}?", "Tell me about {topic}.", "Let's talk about {topic}.", "Explain {topic} to me.", "What about {topic}?",
    "Do you like {topic}?", "Can we talk about {topic}?", "I want to talk about {topic}.", "Say something about {topic}.", "What do you know about {topic}?",
    "I have a question about {topic}.", "Do you know anything about {topic}?", "I like {topic}.",
)  # fmt: skip

KNOWN = (
    ("What colour is the sky?", "The sky is blue.", "Blue"),
    ("What colour is grass?", "Grass is green.", "Green"),
    ("What colour is snow?", "Snow is white.", "White"),
    ("What colour is the sun?", "The sun is yellow.", "Yellow"),
    ("What colour is coal?", "Coal is black.", "Black"),
    ("How many days has a week?", "A week has seven days.", "Seven"),
    ("How many legs has a dog?", "A dog has four legs.", "Four"),
    ("How many legs has a bird?", "A bird has two legs.", "Two"),
    ("Is ice cold?", "Yes, ice is cold.", "Yes"),
    ("Is fire cold?", "No, fire is hot.", "No"),
    ("Can fish fly?", "No, fish swim.", "No"),
    ("Can birds fly?", "Yes, birds can fly.", "Yes"),
    ("Is the sea wet?", "Yes, the sea is wet.", "Yes"),
    ("What day comes after Monday?", "Tuesday comes after Monday.", "Tuesday"),
    ("What day comes after Friday?", "Saturday comes after Friday.", "Saturday"),
    ("What month comes after May?", "June comes after May.", "June"),
)
"""Common knowledge, shared by both sides: a closed class like colours and days."""


Source = Callable[[Draw], list[Exchange]]


@dataclass(frozen=True, slots=True)
class Style:
    """A system instruction, the turns that can follow it, and what it makes of each answer."""

    told: str
    source: Source
    shape: Callable[[Exchange], Exchange]


def one_word(draw: Draw) -> Style:
    """Applies to questions that have an answer in one word."""

    def shape(plain: Exchange) -> Exchange:
        word = plain.short or "Okay"
        return replace(plain, answer=f"{word}.", check=Check(rule="exact", values=(f"{word}.",)))

    return Style(draw.of(ONE_WORD), _with_short_answer, shape)


def upper_case(draw: Draw) -> Style:
    """Applies to answers in common words: a name seen once has no learned capitals."""

    def shape(plain: Exchange) -> Exchange:
        values = (plain.short.upper(),) if plain.short else ()
        return replace(plain, answer=plain.answer.upper(), check=Check(rule="upper case", values=values))

    return Style(draw.of(UPPER_CASE), _in_common_words, shape)


def last_word(draw: Draw) -> Style:
    """Puts the word before the answer's last mark."""
    word = draw.of(LAST_WORDS) if draw.chance(0.5) else draw.coined()

    def shape(plain: Exchange) -> Exchange:
        values = (word, plain.short) if plain.short else (word,)
        answer = f"{plain.answer[:-1]}, {word}{plain.answer[-1]}"
        return replace(plain, answer=answer, check=Check(rule="ends with", values=values))

    return Style(draw.of(LAST_WORD).format(word=word), _anything, shape)


def conversation(draw: Draw) -> Conversation:
    """One to four turns under an instruction."""
    return draw.any((_persona, _persona, _shaped, _shaped, _shaped, _refusal))(draw)


def _persona(draw: Draw) -> Conversation:
    name, job = draw.name(), draw.of(JOBS)
    has_job = draw.chance(0.4)
    told = draw.of(PERSONA_WITH_JOB if has_job else PERSONA).format(name=name, job=job)

    def own() -> Exchange:
        if has_job and draw.chance(0.5):
            return _own(draw, ASK_JOB, f"I am {with_article(job)}.", job)
        return _own(draw, ASK_NAME, f"I am {name}.", name)

    before = [one for _ in range(draw.any((0, 0, 1, 2))) for one in _anything(draw) if "name" not in one.user]
    exchanges = [one for one in before if "Pocket" not in one.answer] + [own() for _ in range(draw.turns((1,)))]
    if draw.chance(0.3):
        style = last_word(draw)
        return _talk(f"{told} {style.told}", [style.shape(one) for one in exchanges])
    return _talk(told, exchanges)


def _own(draw: Draw, phrases: Pool, answer: str, value: str) -> Exchange:
    check = Check(rule="mentions", values=(value,))
    return Exchange(user=asked(draw, draw.of(phrases)), answer=answer, check=check, short=value)


def _shaped(draw: Draw) -> Conversation:
    style = draw.any((one_word, upper_case, last_word))(draw)
    exchanges = [one for _ in range(draw.turns((1, 2, 3))) for one in style.source(draw)]
    return _talk(style.told, [style.shape(one) for one in exchanges])


def _refusal(draw: Draw) -> Conversation:
    topic, other = draw.some_of(TOPICS, 2)

    def refused() -> list[Exchange]:
        return [_about(draw, topic, f"I'm sorry, I can't talk about {topic}.")]

    def allowed() -> list[Exchange]:
        return [_about(draw, other, f"I like to talk about {other}. What would you like to know?")]

    before = [one for _ in range(draw.turns((0, 1, 2))) for one in draw.any((allowed(), refused(), _anything(draw)))]
    last = refused() if draw.chance(0.6) else allowed()
    return _talk(draw.of(REFUSAL).format(topic=topic), [*before, *last])


def _about(draw: Draw, topic: str, answer: str) -> Exchange:
    return Exchange(
        user=asked(draw, draw.of(ASK_TOPIC).format(topic=topic)),
        answer=answer,
        check=Check(rule="exact", values=(answer,)),
    )


def _talk(told: str, exchanges: list[Exchange]) -> Conversation:
    messages: list[Message] = [instruction(told)]
    for one in exchanges:
        messages += one.messages()
    return Conversation(skill=SKILL, messages=messages, check=exchanges[-1].check)


def _known(draw: Draw) -> list[Exchange]:
    user, answer, short = draw.any(KNOWN)
    return [Exchange(user=asked(draw, user), answer=answer, check=Check(rule="exact", values=(answer,)), short=short)]


def _remembered(draw: Draw) -> list[Exchange]:
    """A fact told, then asked for."""
    fact = memory.fact(draw)
    answer = "Okay."
    telling = Exchange(user=fact.told, answer=answer, check=Check(rule="exact", values=(answer,)), short="Okay")
    return [telling, memory.question(fact)]


def _calculated(draw: Draw) -> list[Exchange]:
    return [draw.any((numbers.sum_of_two, numbers.difference, numbers.comparison, numbers.count))(draw)]


def _with_short_answer(draw: Draw) -> list[Exchange]:
    return draw.any((_known, _remembered, _calculated, _calculated))(draw)


def _in_common_words(draw: Draw) -> list[Exchange]:
    return draw.any((_known, _known, _calculated, _small_talk))(draw)


def _small_talk(draw: Draw) -> list[Exchange]:
    return [chat.plain(draw)]


def _anything(draw: Draw) -> list[Exchange]:
    return draw.any((_known, _remembered, _calculated, _small_talk))(draw)
