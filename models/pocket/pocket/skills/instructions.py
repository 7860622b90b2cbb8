"""System instructions that change every answer: a persona, one word, upper case, a last word, a refused topic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pocket.conversation import Check, Conversation, Exchange, Message, instruction
from pocket.draw import Draw, Pool, pool
from pocket.skills import chat, memory, numbers
from pocket.skills.phrasing import asked, with_article
from pocket.words import JOBS, LAST_WORDS, TOPICS

SKILL = "instructions"

PERSONA = pool(
    "persona",
    "[You are|You are now|Now you are|From now on you are] {name}.",
    "[Your name is|Your name is now|Your new name is|From now on your name is] {name}.",
    "You are [called|named] {name}[ now| from now on|].",
    "You are {name}, a [helpful|friendly|small] [assistant|bot].",
    "You are a [helpful |friendly |small |][assistant|bot] [called|named|with the name] {name}.",
    "You are a [helpful|friendly|small] [assistant|bot][. Your name is|. You are called| and your name is] {name}.",
    "[Act as|Pretend to be|Play the part of] {name}[, a helpful assistant|, a friendly bot|, a small assistant| now| from now on|].",
    "[Users|People|All users|All people] call you {name}[ now| from now on|].",
)  # fmt: skip
PERSONA_WITH_JOB = pool(
    "persona with job",
    "[Your name is|You are called|You are named|You are] {name}[ and you are| and you work as|. You are|. You work as] a {job}.",
    "You are a [friendly |helpful |good |]{job} [called|named|with the name] {name}.",
    "You [are|work as] a [friendly |helpful |]{job}[. Your name is|. You are called| and your name is| and you are called] {name}.",
    "[You are|Act as|Pretend to be|Play] {name}, a [friendly |helpful |good |]{job}.",
    "[You are|Act as|Pretend to be|Play] the [friendly |helpful |good |]{job} {name}.",
    "[You are now|Now you are|From now on you are] [{name}, a {job}|the {job} {name}|a {job} called {name}|a {job} named {name}].",
)  # fmt: skip
ASK_NAME = pool(
    "ask persona",
    "[Who are you|What is your name|What's your name|What are you called][ again|, please|]?",
    "[Hi|Hello|Hey], [who are you|what is your name|what's your name|what are you called]?",
    "Who am I [talking|speaking|writing] to[ again|, please|]?",
    "[Tell me|Please tell me|Say|Please say] [your name|who you are|what your name is][ again|].",
    "[Can you tell me|Can you say|Could you tell me|May I know] [your name|who you are|what your name is|what you are called]?",
    "[Introduce yourself|Please introduce yourself][ again| to me|].",
)  # fmt: skip
ASK_JOB = pool(
    "ask persona's job",
    "[What is|What's] your [job|work][ again|, please|]?",
    "What do you [do|do for work|do for a living|work as][ again|, please|]?",
    "[What|Which] job do you have[ again|, please|]?",
    "What kind of [work do you do|job do you have][ again|, please|]?",
    "[Tell me|Please tell me|Say|Please say] [your job|what your job is|what you work as|which job you have][ again|].",
    "[Can you tell me|Can you say|Could you tell me|May I know] [your job|what your job is|what you work as|which job you have]?",
)  # fmt: skip
ONE_WORD = pool(
    "one word",
    "[Answer|Reply|Always answer|Always reply|Please answer] [in|with] [one word|only one word|just one word|a single word].",
    "[Give|Use|Write|Say] [only|just] [one|a single] word [for each|for every|per] answer.",
    "[You answer|You must answer|You always answer|You reply] [in|with] [one word|only one word|a single word].",
    "[Give|Write|Always give|Please give] [only |just |]one-word [answers|replies].",
    "[All your|Your] [answers|replies] [are|must be] [one word|only one word|just one word] long.",
    "[One word|Only one word|Just one word|A single word] per [answer|reply][, no more|, please|].",
)  # fmt: skip
UPPER_CASE = pool(
    "upper case",
    "[Answer|Reply|Write|Speak|Always answer|Please answer] in [upper case|capital letters|capitals][ only|].",
    "[Use|Always use|Please use] [upper case|capital letters|capitals][ only| for every answer| for all answers|].",
    "Write [everything|all answers|every word|every answer] in [upper case|capital letters|capitals].",
    "[All your|Your] [answers|replies] [are|must be] in [upper case|capital letters|capitals][ only|].",
    "[Every|Each] [answer|reply|word] [is|must be] in [upper case|capital letters|capitals].",
)  # fmt: skip
LAST_WORD = pool(
    "end with",
    '[End|Finish] [every|each] [answer|reply] with [the word {word}|{word}|"{word}"].',
    '[Always end|Always finish] [with|your answers with|every answer with] [the word {word}|{word}|"{word}"].',
    'The last word of [every|each] [answer|reply] [is|must be] [{word}|"{word}"].',
    '[Every|Each] [answer|reply] [ends|must end] with [the word {word}|{word}|"{word}"].',
    '[Say|Put|Add] [the word {word}|{word}|"{word}"] at the end of [every|each] [answer|reply].',
)  # fmt: skip
REFUSAL = pool(
    "refuse",
    "[Do not|Don't|Never|You must not|You must never|You may not] [talk about|speak about|say anything about|discuss] {topic}.",
    "[Never|Do not|Don't|You must not] answer [questions|any questions|a question] about {topic}.",
    "[Refuse|Always refuse|You must refuse] to [talk about|speak about|say anything about|discuss|answer questions about] {topic}.",
    "[Say nothing|Always say nothing|You must say nothing] about {topic}[ at all|].",
    "[Avoid|Always avoid|You must avoid] [the topic|all talk about|all questions about|any questions about] {topic}.",
)  # fmt: skip
ASK_TOPIC = pool(
    "ask topic",
    "[What do you think|What do you know|What can you say|What can you tell me] about {topic}?",
    "[What|How] about {topic}[ now| today|]?",
    "[Tell me|Please tell me|Say|Please say] [something|a bit|more] about {topic}.",
    "[Let's|We could|I want to|I would like to] [talk|speak] about {topic}[ now| a bit|].",
    "[Can we|Could we|Can you|Could you] [talk|speak] about {topic}[ now| a bit|]?",
    "I have [a question|some questions|a few questions] about {topic}[ now| today|].",
    "[Explain|Please explain] {topic} to me[ now| a bit|].",
    "Do you [like {topic}|know {topic}|know something about {topic}|know a bit about {topic}|think about {topic}]?",
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
"""Common knowledge. Training and evaluation share it, as they share colors and days."""


Source = Callable[[Draw], list[Exchange]]


@dataclass(frozen=True, slots=True)
class Style:
    """A system instruction, the turns that can follow it, and how it changes each answer."""

    told: str
    source: Source
    shape: Callable[[Exchange], Exchange]


def one_word(draw: Draw) -> Style:
    """Applies only to questions with a one-word answer."""

    def shape(plain: Exchange) -> Exchange:
        word = plain.short or "Okay"
        return replace(plain, answer=f"{word}.", check=Check(rule="exact", values=(f"{word}.",)))

    return Style(draw.of(ONE_WORD), _with_short_answer, shape)


def upper_case(draw: Draw) -> Style:
    """Applies only to answers in common words, because the model does not know how to write a new name in capitals."""

    def shape(plain: Exchange) -> Exchange:
        values = (plain.short.upper(),) if plain.short else ()
        return replace(plain, answer=plain.answer.upper(), check=Check(rule="upper case", values=values))

    return Style(draw.of(UPPER_CASE), _in_common_words, shape)


def last_word(draw: Draw) -> Style:
    """Inserts the word before the answer's final punctuation."""
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

    others = [talk for talk in (_anything(draw) for _ in range(draw.any((0, 0, 1, 2)))) if not _names_the_model(talk)]
    exchanges = [one for talk in others for one in talk] + [own() for _ in range(draw.turns((1,)))]
    if draw.chance(0.3):
        style = last_word(draw)
        return _talk(f"{told} {style.told}", [style.shape(one) for one in exchanges])
    return _talk(told, exchanges)


def _names_the_model(talk: Sequence[Exchange]) -> bool:
    """Whether the persona would answer differently, or its name was used for something else."""
    return any("name" in one.user or "Pocket" in one.answer for one in talk)


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
