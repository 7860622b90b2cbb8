"""Greetings, small talk, who the model is, and a polite refusal to guess; it knows no other skill."""

from dataclasses import dataclass

from models.pocket.conversation import Check, Conversation, Exchange, Message
from models.pocket.draw import Draw, Pool, pool
from models.pocket.skills.phrasing import asked, with_article
from models.pocket.words import ANIMALS, DAYS, FOODS, HOBBIES, JOBS, OBJECTS, TOPICS

SKILL = "chat"


@dataclass(frozen=True, slots=True)
class Intent:
    """What a user means, the ways to say it and the ways to answer."""

    said: Pool
    answers: tuple[str, ...]


GREETING = Intent(
    pool(
        "greeting", "Hello!", "Hi!", "Hey!", "Good morning!", "Hi there!", "Hello there!", "Good evening!",
        "Hey there!", "Hello.", "Hi.", "Good day!", "Hello to you!", "Good afternoon!", "Hello, hello!", "Hi, model!",
        "Hello again!", "Howdy!", "Hey, you!", "Hi again!", "Oh, hello!",
    ),
    ("Hello! How can I help you?", "Hi! What can I do for you?", "Hello! Nice to meet you.", "Hi there! How can I help?"),
)  # fmt: skip
HOW_ARE_YOU = Intent(
    pool(
        "how are you", "How are you?", "How are you today?", "How is it going?", "How do you do?",
        "How are you doing?", "Are you well?", "How do you feel?", "How do you feel today?", "How's it going?",
        "Is everything well with you?", "Are you well today?", "Hello, how are you?", "Hi, how are you?",
        "Good morning, how are you?", "Hey, how are you doing?",
    ),
    ("I am well, thank you! How can I help you?", "I'm doing fine, thanks for asking.", "Very well, thank you!"),
)  # fmt: skip
WHO_ARE_YOU = Intent(
    pool(
        "who are you", "Who are you?", "What are you?", "What is your name?", "Tell me who you are.",
        "Are you a robot?", "Are you a person?", "What kind of thing are you?", "Tell me about yourself.",
        "What's your name?", "Who am I talking to?", "Are you human?", "Tell me your name.",
        "Do you have a name?", "Are you a model?", "Are you a real person?", "Say who you are.",
    ),
    (
        "I am Pocket, a very small language model.",
        "I'm Pocket, a small language model that runs right here.",
        "My name is Pocket. I am a small language model.",
    ),
)  # fmt: skip
ABILITIES = Intent(
    pool(
        "abilities", "What can you do?", "What are you good at?", "How can you help me?", "What do you know?",
        "What can I ask you?", "Can you help me?", "What are your skills?", "Tell me what you can do.",
        "What are you able to do?", "What can you help me with?", "How can you help?", "Show me what you can do.",
    ),
    (
        "I can remember what you tell me, add small numbers, sort lists, read short texts, call tools and tell stories.",
        "I can chat, remember facts, add small numbers, read short texts, write JSON, use tools and tell short stories.",
    ),
)  # fmt: skip
THANKS = Intent(
    pool(
        "thanks", "Thanks!", "Thank you!", "Thank you very much.", "Thanks a lot!", "Great, thanks!", "Perfect, thank you.",
        "Many thanks.", "Thank you so much!", "That helps, thank you.", "Good job!", "Nice, thanks.", "Well done, thanks!",
        "Thanks, that helps.", "Very good, thank you.", "Wonderful, thanks!", "Okay, thank you.",
    ),
    ("You're welcome!", "You're welcome! Is there anything else?", "My pleasure!", "Happy to help!"),
)  # fmt: skip
GOODBYE = Intent(
    pool(
        "goodbye", "Goodbye!", "Bye!", "See you later!", "Good night!", "Bye bye!", "See you!", "I have to go now.",
        "Goodbye, and thanks.", "Until next time!", "See you tomorrow!", "Bye for now!", "I must go, bye!", "Farewell!",
        "Good night, see you!", "Okay, bye!",
    ),
    ("Goodbye! Have a nice day.", "Bye! See you soon.", "Goodbye! Take care.", "See you! It was nice to talk."),
)  # fmt: skip
FEELING_BAD = Intent(
    pool(
        "feeling bad", "I am sad.", "I'm tired.", "I had a bad day.", "I feel sad.", "I'm so bored.", "I feel alone.",
        "Today was hard.", "I am tired.", "I'm a bit sad today.", "I slept badly.", "I am not well.", "I had a hard day.",
    ),
    ("I'm sorry to hear that. I hope it gets better soon.", "Oh no, I'm sorry. Would you like a short story?"),
)  # fmt: skip
FEELING_GOOD = Intent(
    pool(
        "feeling good", "I am happy.", "I had a great day.", "I feel great!", "Today was a good day.", "I'm happy today!",
        "Life is good.", "I'm in a good mood.", "I feel good today.", "What a nice day!", "I had a good day.",
        "I slept well.", "I had a nice day.",
    ),
    ("That's great to hear!", "How nice! I'm glad.", "Wonderful! Enjoy it."),
)  # fmt: skip
INTENTS = (
    GREETING,
    GREETING,
    HOW_ARE_YOU,
    WHO_ARE_YOU,
    WHO_ARE_YOU,
    ABILITIES,
    THANKS,
    GOODBYE,
    FEELING_BAD,
    FEELING_GOOD,
)

UNKNOWN = pool(
    "unknown", "What is the capital of {name}?", "Who invented the {object}?", "How far away is {name}?",
    "Who wrote the book {name}?", "Who is {name}?", "How old is {name}?", "What does {name} mean?",
    "Who won the game in {name}?", "How many people live in {name}?", "What is the price of {a_object}?",
    "When was the {object} invented?", "Why do people like {topic}?", "What will happen on {day}?",
    "Where can I buy {a_object}?", "What is the best {object}?", "What is {name} famous for?",
    "Who is the king of {name}?", "Can you teach me {topic}?", "How long does {a_animal} live?", "What do you know about {name}?",
    "Tell me something about {topic}.", "How do I get to {name}?", "When was {name} born?", "How do I repair {a_object}?",
)  # fmt: skip
UNKNOWN_ANSWERS = ("I'm sorry, I don't know that.", "I'm sorry, I don't know. I am only a small model.")

LIKES = pool(
    "likes", "I like {thing}.", "I love {thing}.", "My hobby is {thing}.", "I really like {thing}.", "I enjoy {thing}.",
    "I'm thinking about {thing}.", "My favourite thing is {thing}.", "Today it's {thing} for me.", "Let's talk about {thing}.",
    "I dream of {thing}.", "Nothing beats {thing}.", "What do you think about {thing}?",
)  # fmt: skip
LIKES_ANSWERS = (
    "Oh, {thing} sounds nice!",
    "Oh, {thing}! Tell me more.",
    "How nice! I have never tried {thing} myself.",
)

WORK = pool(
    "work", "I am {job}.", "I work as {job}.", "My job is to be {job}.", "I'm {job}.", "At work I am {job}.",
    "I became {job}.", "I want to be {job}.", "I will be {job} soon.",
)  # fmt: skip
WORK_ANSWERS = ("It must be interesting to be {job}!", "Oh, {job}! Do you like it?")


def exchange(draw: Draw) -> Exchange:
    """One small-talk turn."""
    kind = draw.any(("intent", "intent", "intent", "unknown", "likes", "work"))
    if kind == "unknown":
        return unknown(draw)
    if kind == "likes":
        thing = draw.of(draw.any((FOODS, HOBBIES, TOPICS)))
        return _copied(draw, LIKES, LIKES_ANSWERS, thing, "thing")
    if kind == "work":
        job = draw.of(JOBS)
        return _copied(draw, WORK, WORK_ANSWERS, with_article(job), "job")
    return plain(draw)


def plain(draw: Draw) -> Exchange:
    """A turn whose answer is in set words."""
    intent = draw.any(INTENTS)
    answer = draw.any(intent.answers)
    return Exchange(user=asked(draw, draw.of(intent.said)), answer=answer, check=_one_of(intent.answers))


def unknown(draw: Draw) -> Exchange:
    """A question from outside what the model knows."""
    item, animal = draw.of(OBJECTS), draw.of(ANIMALS)
    user = draw.of(UNKNOWN).format(
        name=draw.name(),
        object=item,
        a_object=with_article(item),
        a_animal=with_article(animal),
        topic=draw.of(TOPICS),
        day=draw.any(DAYS),
    )
    check = Check(rule="mentions", values=("don't know",))
    return Exchange(user=asked(draw, user), answer=draw.any(UNKNOWN_ANSWERS), check=check)


def conversation(draw: Draw) -> Conversation:
    """Small talk of one to four turns."""
    exchanges = [exchange(draw) for _ in range(draw.any((1, 1, 2, 3, 4)))]
    messages: list[Message] = [message for part in exchanges for message in part.messages()]
    return Conversation(skill=SKILL, messages=messages, check=exchanges[-1].check)


def _copied(draw: Draw, said: Pool, answers: tuple[str, ...], thing: str, slot: str) -> Exchange:
    slots = {slot: thing}
    user = asked(draw, draw.of(said).format(**slots))
    forms = tuple(answer.format(**slots) for answer in answers)
    return Exchange(user=user, answer=draw.any(forms), check=_one_of(forms))


def _one_of(answers: tuple[str, ...]) -> Check:
    return Check(rule="one of", values=answers)
