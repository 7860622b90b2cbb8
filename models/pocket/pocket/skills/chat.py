"""Greetings, small talk, questions about the model, and declining to guess."""

from dataclasses import dataclass

from pocket.conversation import Check, Conversation, Exchange, Message
from pocket.draw import Draw, Pool, pool
from pocket.skills.phrasing import asked, with_article
from pocket.words import ANIMALS, DAYS, FOODS, HOBBIES, JOBS, OBJECTS, TOPICS

SKILL = "chat"


@dataclass(frozen=True, slots=True)
class Intent:
    """An intent, the ways to express it, and the ways to answer it."""

    said: Pool
    answers: tuple[str, ...]


GREETING = Intent(
    pool(
        "greeting",
        "[Hello|Hi|Hey|Good morning|Good evening][ there| Pocket| again|][!|.|]",
        "[Hello|Hi|Hey|Good morning], [Pocket|my friend|you]!",
        "[Oh|Ah|Well], [hello|hi|hey|good morning|good evening][ again|]!",
        "Good [day|afternoon|morning|evening][| to you][!|.]",
        "[Hello|Hi][ to you|, it is me|, here I am][| again]!",
        "[Nice|Good] to see you[| again|, Pocket][!|.]",
    ),
    ("Hello! How can I help you?", "Hi! What can I do for you?", "Hello! Nice to meet you.", "Hi there! How can I help?"),
)  # fmt: skip
HOW_ARE_YOU = Intent(
    pool(
        "how are you",
        "How are you[| doing| feeling][| today| now| this morning]?",
        "[Hello|Hi|Hey|Good morning|Good evening], how are you[| doing| feeling][| today]?",
        "[How is it|How's it|How is everything|How are things] going[| today| now]?",
        "How do you feel[| today| now| this morning]?",
        "[Are you|Do you feel|Are you feeling] [well|okay|good][| today| now]?",
        "Is everything [well|okay|good][| with you][| today| now]?",
    ),
    ("I am well, thank you! How can I help you?", "I'm doing fine, thanks for asking.", "Very well, thank you!"),
)  # fmt: skip
WHO_ARE_YOU = Intent(
    pool(
        "who are you",
        "[Who|What] are you[| really| exactly]?",
        "[Hello|Hi|Hey], [who are you|what are you|what is your name|what's your name]?",
        "[What is|What's] your [|real |own ]name?",
        "[Tell me|Please tell me|Say] [who you are|what you are|your name|what your name is].",
        "[Can|Could] you tell me [who you are|what you are|your name|what your name is]?",
        "[Tell me|Please tell me|Say] [something|more|a bit] about yourself.",
        "Are you [a|a real|really a] [robot|person|human|model|machine]?",
        "[Who|What] am I talking to[| here| now]?",
        "Do you have a [|real ]name?",
    ),
    (
        "I am Pocket, a very small language model.",
        "I'm Pocket, a small language model that runs right here.",
        "My name is Pocket. I am a small language model.",
    ),
)  # fmt: skip
ABILITIES = Intent(
    pool(
        "abilities",
        "What can you [do|do for me|help with|help me with][| today| now| here]?",
        "What can I [ask|ask you|do with you][| today| now| here]?",
        "How can you help[| me][| today| now| here]?",
        "[Tell me|Please tell me|Show me|Please show me] what you [can do|can do for me|can help with|are good at|are able to do].",
        "What are you [good at|able to do|able to help with]?",
        "What [are your skills|skills do you have|things can you do|things are you good at][| now]?",
        "[Can|Could] you [tell me|show me] what you [can do|can help with|are good at]?",
    ),
    (
        "I can remember what you tell me, add small numbers, sort lists, read short texts, call tools and tell stories.",
        "I can chat, remember facts, add small numbers, read short texts, write JSON, use tools and tell short stories.",
    ),
)  # fmt: skip
THANKS = Intent(
    pool(
        "thanks",
        "[Thanks|Thank you][| very much| so much| again][!|.|]",
        "[Great|Perfect|Nice|Good|Okay|Very good], [thanks|thank you][| very much| so much][!|.]",
        "[Thanks|Thank you], [that helps|that is great|that is good|that was good][!|.]",
        "[That helps|That is great|That is good|That was good], [thanks|thank you][!|.]",
        "[Good job|Well done|Good work][|, thanks|, thank you][!|.]",
        "[Many thanks|Thanks a lot][| again| for that| for the help][!|.]",
    ),
    ("You're welcome!", "You're welcome! Is there anything else?", "My pleasure!", "Happy to help!"),
)  # fmt: skip
GOODBYE = Intent(
    pool(
        "goodbye",
        "[Goodbye|Bye|Bye bye|Good night][| now| then| Pocket][!|.|]",
        "[See you|Talk to you][ later| soon| tomorrow| again][!|.|]",
        "[Okay|Well|So], [goodbye|bye|good night|see you later|see you soon|see you tomorrow][!|.]",
        "I [have to|must|need to] go[| now][|, bye|, goodbye|, good night|, see you later].",
        "[Goodbye|Bye|Good night], [see you|see you later|see you soon|see you tomorrow|and thanks][!|.]",
    ),
    ("Goodbye! Have a nice day.", "Bye! See you soon.", "Goodbye! Take care.", "See you! It was nice to talk."),
)  # fmt: skip
FEELING_BAD = Intent(
    pool(
        "feeling bad",
        "[I am|I'm|I feel] [|very |a bit ][sad|tired|bored|alone][| today].",
        "I had a [|very |really ][bad|hard|sad] [day|week|night|morning].",
        "[Today|My day|My week] was [|very |really ][bad|hard|sad].",
        "I slept [|so |very |really ]badly[| today| last night].",
        "[I am|I'm] not [well|happy|feeling well|feeling good][| today].",
        "I do not feel [well|happy|good][| today].",
    ),
    ("I'm sorry to hear that. I hope it gets better soon.", "Oh no, I'm sorry. Would you like a short story?"),
)  # fmt: skip
FEELING_GOOD = Intent(
    pool(
        "feeling good",
        "[I am|I'm|I feel] [|so |very |really ][happy|good][| today].",
        "[I am|I'm|I feel] [happy|great][| today][.|!]",
        "I had a [good|great|nice|very good|very nice|really good|really nice] [day|week|night|morning].",
        "[Today|My day|My week] was [|very |really ][good|nice].",
        "I slept [|so |very |really ]well[| today| last night].",
        "What a [good|great|nice] [day|week|morning]!",
        "[Life|Everything] is [good|great|so good|really good][| today].",
        "[I am|I'm] in a [|very |really ]good mood[| today].",
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
    "unknown",
    "[What is the capital of|What is the language of|Who is the king of|Who was the king of|Who is the president of] {name}?",
    "[Who is|Who was|Who wrote the book|Who wrote the song|Who won the game in|Who lost the game in|How do I get to] {name}?",
    "How [old is {name}|big is {name}|far away is {name}|many people live in {name}|many animals live in {name}|big is {a_object}|old is {a_object}|heavy is {a_object}|old can {a_animal} get|big can {a_animal} get|heavy is {a_animal}]?",
    "[Who invented|Who built|When did they invent|When did they build|Why did they invent] the [|first |best ]{object}?",
    "[Where can I|How can I|How do I] [buy|repair|build|sell] [{a_object}|a good {object}|the best {object}]?",
    "[Can you teach me about|Could you teach me about|How can I learn about|Why do people like|Why do people talk about] {topic}?",
    "[What do you know|What do people know|Can you teach me something|Could you tell me something] about [{name}|{topic}]?",
    "[Tell me|Please tell me|Teach me] [something|more] about [{name}|{topic}].",
    "[What will happen|What will people do|Who will win|Who will win the game] [on|next|this] {day}?",
)  # fmt: skip
UNKNOWN_ANSWERS = ("I'm sorry, I don't know that.", "I'm sorry, I don't know. I am only a small model.")

LIKES = pool(
    "likes",
    "I [|really |also |always ][like|love|enjoy] {thing}[.|!]",
    "I [like|love|enjoy] {thing} [a lot|best|most of all].",
    "[I'm|I am] [|always |often |also ][thinking|dreaming|talking] about {thing}.",
    "What I [like|love|enjoy] [|most |best ]is {thing}[.|!]",
    "My favourite [thing|topic] [|now |today |always ]is {thing}[.|!]",
    "[Let's|Let us|Now let's|Today let's] [talk|think] [|more |a bit ]about {thing}.",
    "What do you [|really ]think [about|of] {thing}?",
    "Do you [|also |really ][like|love|enjoy] {thing}?",
    "[Nothing is|Nothing can be|There is nothing] better than {thing}[.|!]",
)  # fmt: skip
LIKES_ANSWERS = (
    "Oh, {thing} sounds nice!",
    "Oh, {thing}! Tell me more.",
    "How nice! I have never tried {thing} myself.",
)

WORK = pool(
    "work",
    "[I am|I'm] [|now |also |still |really ]{job}[.|!]",
    "I [|now |also |still |really ][work|have a job] as {job}.",
    "[I am|I'm] [|now |also |still ]working as {job}.",
    "My [|new |real ]job is to be {job}[| now| here].",
    "I [want|would like] to [be|become|work as] {job}[| soon| this year].",
    "I [became|will be|will become|have become] {job}[| this year].",
    "At work [I am|I'm] [|now |also |still ]{job}.",
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
    """A turn whose answer is one of a few fixed texts."""
    intent = draw.any(INTENTS)
    answer = draw.any(intent.answers)
    return Exchange(user=asked(draw, draw.of(intent.said)), answer=answer, check=_one_of(intent.answers))


def unknown(draw: Draw) -> Exchange:
    """A question that the model cannot answer."""
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
