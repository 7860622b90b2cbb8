"""Short passages, and questions whose answers are spans of them."""

from collections.abc import Callable
from dataclasses import dataclass

from pocket.conversation import Check, Conversation, Exchange, Message, said_by_model, said_by_user
from pocket.draw import Draw, Pool, pool
from pocket.words import COLOURS, DAYS, FOODS, HOBBIES, JOBS, OBJECTS, PETS, PLACES, ROOMS

SKILL = "reading"


@dataclass(frozen=True, slots=True)
class Question:
    """Ways to ask for a slot of a sentence."""

    slot: str
    asked: Pool


@dataclass(frozen=True, slots=True)
class Sentence:
    """Ways to state a fact, and the questions that it answers."""

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
            "write home",
            "{name} [lives|now lives|still lives] in [|the town of |the city of ]{town}.",
            "{name} [has|owns] a [|small |new ][house|home] in [|the town of ]{town}.",
            "The [|small |new ][home|house] of {name} is in [|the town of ]{town}.",
            "{name}'s [|small |new ][home|house] is in [|the town of ]{town}.",
            "{name} has [lived|been living] in [|the town of ]{town} for [|some |many ]years.",
            "{name} [moved|has moved] to [|the town of ]{town} and [lives there now|now lives there|still lives there].",
            "{name} [comes|is] from [|the town of ]{town} and [lives there|still lives there].",
        ),
        (
            Question("town", pool(
                "read town",
                "[Where|In which town|In what town] does {name} [live|live now|have a home|have a house]?",
                "[What|Which] town does {name} [live in|live in now|have a home in|have a house in]?",
                "[Where|In which town|In what town] is [{name}'s home|the home of {name}|{name}'s house|the house of {name}]?",
                "[What|Which town] is [{name}'s home town|the home town of {name}]?",
                "What is the [town|name of the town] [where {name} lives|that {name} lives in|{name} lives in]?",
                "[Can you tell me|Do you know|Can you say] [where|in which town|in what town] {name} [lives|has a home]?",
                "[Tell|Please tell] me [where|in which town] {name} [lives|lives now|has a home].",
            )),
            Question("name", pool(
                "read who lives",
                "Who [lives|is living|has a home|has a house|is at home] in [|the town of ]{town}[| now]?",
                "Whose [home|house] is in [|the town of ]{town}?",
                "Which person [lives|is living|has a home|has a house] in [|the town of ]{town}?",
                "What is the name of the person [who lives|who is living|with a home|with a house] in [|the town of ]{town}?",
                "Who is the person [who lives|living|with a home|with a house] in [|the town of ]{town}?",
                "[Can you tell me|Do you know|Can you say] who [lives|is living|has a home|has a house] in [|the town of ]{town}?",
                "[Tell|Please tell] me who [lives|is living|has a home|has a house] in [|the town of ]{town}.",
            )),
        ),
        _home,
    ),
    Sentence(
        pool(
            "write job",
            "{name} [works|now works|still works] as a [|good |young |busy ]{job}.",
            "{name} is [|now |still ]a [|good |young |busy ]{job}.",
            "{name} [became|has become] a [|good |busy ]{job}.",
            "The [|good |young |busy ]{job} is [called|named] {name}.",
            "The name of the [|good |young |busy ]{job} is {name}.",
            "{name} has [been|worked as] a [|good |busy ]{job} for [|some |many ]years.",
            "{name} [has|found|got] [a job|work] as a {job}.",
        ),
        (
            Question("job", pool(
                "read job",
                "What is [{name}'s job|the job of {name}|{name}'s work|the work of {name}][| now]?",
                "What does {name} [work as|do for work|do as a job|do for a living][| now]?",
                "[What|Which|What kind of] job does {name} have[| now]?",
                "What [work|job|kind of work|kind of job] does {name} do[| now]?",
                "[Can you tell me|Do you know|Can you say] what [{name}'s job is|the job of {name} is|{name} works as|{name} does for work|job {name} has|work {name} does|kind of work {name} does]?",
                "[Tell|Please tell] me what [{name}'s job is|the job of {name} is|{name} works as|{name} does for work|job {name} has|work {name} does|kind of work {name} does].",
                "[Tell|Please tell] me [the job of {name}|{name}'s job|which job {name} has].",
            )),
            Question("name", pool(
                "read who works",
                "Who [is the|is a|works as a|works as the|has a job as a] {job}[| now]?",
                "Which person [is the|is a|works as a|works as the|has a job as a] {job}?",
                "What is the [{job} called|{job} named|name of the {job}|{job}'s name|name of the person who works as a {job}]?",
                "Who is the person [who works|working|with a job] as a {job}?",
                "[Can you tell me|Do you know|Can you say] who [is the|is a|works as a|works as the|has a job as a] {job}?",
                "[Can you tell me|Do you know|Can you say] [what the {job} is called|what the {job} is named|what the name of the {job} is|the name of the {job}|the {job}'s name]?",
                "[Tell|Please tell] me who [is the|is a|works as a|works as the|has a job as a] {job}.",
                "[Tell|Please tell] me [what the {job} is called|the name of the {job}|the {job}'s name].",
            )),
        ),
        _job,
    ),
    Sentence(
        pool(
            "write purchase",
            "{name} [bought|got|has bought] a [|new |nice ]{colour} {object} for [|only ]{number} coins.",
            "{name} [paid|gave|has paid] [|only ]{number} coins for a [|new |nice ]{colour} {object}.",
            "{name} [spent|has spent] [|only ]{number} coins on a [|new |nice ]{colour} {object}.",
            "For [|only ]{number} coins[|,] {name} [bought|got] a [|new |nice ]{colour} {object}.",
            "A [|new |nice ]{colour} {object} was bought by {name} for [|only ]{number} coins.",
            "{name} [bought|got] a [|new |nice ]{colour} {object} and [paid|gave] {number} coins for it.",
            "{name} [bought|got] a [|new |nice ]{colour} {object} that cost [|only ]{number} coins.",
        ),
        (
            Question("colour", pool(
                "read colour",
                "[What|Which] colour [is|was] [the {object}|{name}'s {object}|the {object} of {name}|the {object} that {name} bought]?",
                "[What|Which] colour [does|did] [the {object}|{name}'s {object}] have?",
                "What [is|was] the colour of [the {object}|{name}'s {object}|the {object} that {name} bought]?",
                "[Can you tell me|Do you know|Can you say] [what|which] colour [the {object} is|the {object} was|the {object} has|{name}'s {object} is]?",
                "[Can you tell me|Do you know|Can you say] [what the colour of the {object} is|the colour of the {object}|the colour of {name}'s {object}]?",
                "[Tell|Please tell] me [what|which] colour [the {object} is|the {object} was|the {object} has|{name}'s {object} is].",
                "[Tell|Please tell] me the colour of [the {object}|{name}'s {object}|the {object} that {name} bought].",
            )),
            Question("number", pool(
                "read price",
                "How [much|many coins] [was|is] [the {object}|{name}'s {object}|the {colour} {object}]?",
                "How [much|many coins] did [the {object}|{name}'s {object}|the {colour} {object}] cost?",
                "How [much|many coins] did {name} [pay for|give for|spend on] the [|{colour} ]{object}?",
                "What did [the {object}|{name}'s {object}|the {colour} {object}] cost?",
                "What [was|is] the price of [the {object}|{name}'s {object}|the {colour} {object}]?",
                "[Can you tell me|Do you know|Can you say] how [much|many coins] [the {object} cost|the {object} was|{name} paid for the {object}|{name} gave for the {object}]?",
                "[Can you tell me|Do you know|Can you say] [what the {object} cost|what the price of the {object} was|the price of the {object}]?",
                "[Tell|Please tell] me how [much|many coins] [the {object} cost|the {object} was|{name} paid for the {object}|{name} gave for the {object}].",
                "[Tell|Please tell] me [what the {object} cost|what the price of the {object} was|the price of the {object}].",
            )),
            Question("name", pool(
                "read buyer",
                "Who [bought|got|has bought] the [|{colour} ]{object}[| for {number} coins]?",
                "Who paid [|{number} coins ]for the [|{colour} ]{object}?",
                "Which person [bought|got|paid for] the [|{colour} ]{object}?",
                "Who [is|was] the [buyer of|person who bought|person who paid for] the [|{colour} ]{object}?",
                "What is the name of the [buyer of|person who bought|person who paid for] the [|{colour} ]{object}?",
                "[Can you tell me|Do you know|Can you say] who [bought|got|paid for|has bought] the [|{colour} ]{object}?",
                "[Tell|Please tell] me who [bought|got|paid for|has bought] the [|{colour} ]{object}.",
            )),
        ),
        _purchase,
    ),
    Sentence(
        pool(
            "write meeting",
            "{name} [met|saw|visited|met up with|went to see] {other} [at the {place} on {day}|on {day} at the {place}].",
            "On {day}[|,] {name} [met|saw|visited|met up with|went to see] {other} at the {place}.",
            "At the {place}[|,] {name} [met|saw|met up with] {other} on {day}.",
            "{name} and {other} [met|met up|saw each other|were together] [at the {place} on {day}|on {day} at the {place}].",
            "On {day}[|,] {name} and {other} [met|met up|saw each other|were together] at the {place}.",
            "{name} was [with {other} at the {place} on {day}|at the {place} with {other} on {day}|at the {place} on {day} with {other}].",
            "On {day}[|,] {name} was [with {other} at the {place}|together with {other} at the {place}|at the {place} with {other}|at the {place} together with {other}].",
        ),
        (
            Question("place", pool(
                "read where met",
                "[Where|At which place|At what place] did {name} [meet|see|meet up with] {other}[| on {day}]?",
                "[Where|At which place] did {name} and {other} [meet|meet up|see each other][| on {day}]?",
                "[Where|At which place|At what place] [was {name}|were {name} and {other}|was {name} with {other}] on {day}?",
                "[Can you tell me|Do you know|Can you say] where {name} [met|saw|met up with] {other}[| on {day}]?",
                "[Can you tell me|Do you know|Can you say] where {name} [was|was with {other}|and {other} were] on {day}?",
                "[Tell|Please tell] me where {name} [met|saw|met up with] {other}[| on {day}].",
                "[Tell|Please tell] me where {name} [was|was with {other}|and {other} were] on {day}.",
            )),
            Question("day", pool(
                "read when met",
                "[When|On which day|On what day] did {name} [meet|see|meet up with] {other}[| at the {place}]?",
                "[When|On which day] did {name} and {other} [meet|meet up|see each other][| at the {place}]?",
                "[When|On which day|On what day] [was {name}|were {name} and {other}|was {name} with {other}] at the {place}?",
                "[Can you tell me|Do you know|Can you say] when {name} [met|saw|met up with] {other}[| at the {place}]?",
                "[Can you tell me|Do you know|Can you say] [when|on which day] {name} [was|was with {other}|and {other} were] at the {place}?",
                "[Tell|Please tell] me when {name} [met|saw|met up with] {other}[| at the {place}].",
                "[Tell|Please tell] me [when|on which day] {name} [was|and {other} were] at the {place}.",
            )),
            Question("other", pool(
                "read who met",
                "Who did {name} [meet|see|meet up with][| on {day}| at the {place}| at the {place} on {day}]?",
                "Who was [with|together with] {name}[| on {day}| at the {place}| at the {place} on {day}]?",
                "Who [was|met up] [at the {place} with {name}|with {name} at the {place}][| on {day}]?",
                "Which person did {name} [meet|see|meet up with][| on {day}| at the {place}]?",
                "[Can you tell me|Do you know|Can you say] who {name} [met|saw|met up with][| on {day}| at the {place}]?",
                "[Can you tell me|Do you know|Can you say] who was [with|together with] {name} [on {day}|at the {place}]?",
                "[Tell|Please tell] me who {name} [met|saw|met up with][| on {day}| at the {place}].",
            )),
        ),
        _meeting,
    ),
    Sentence(
        pool(
            "write hiding",
            "{name} [hid|put|left|has put|has left] the [|old |new ]{object} in the {room}[| today].",
            "{name} [keeps|always keeps|now keeps|has] the [|old |new ]{object} in the {room}.",
            "The [|old |new ]{object} of {name} is [|now |still |kept ]in the {room}.",
            "{name}'s [|old |new ]{object} is [|now |still |kept ]in the {room}.",
            "In the {room}, {name} [keeps|has|hid|left] the [|old |new ]{object}.",
            "The [|old |new ]{object} was [put|left|kept] in the {room} by {name}.",
        ),
        (
            Question("room", pool(
                "read room",
                "Where is [the {object}|{name}'s {object}|the {object} of {name}][| now]?",
                "[Where|In which room|In what room] did {name} [put|leave|hide] the {object}?",
                "[In which|In what] room is [the {object}|{name}'s {object}|the {object} of {name}][| now]?",
                "[Which|What] room is [the {object}|{name}'s {object}|the {object} of {name}] in[| now]?",
                "Where [can|do] I find [the {object}|{name}'s {object}|the {object} of {name}]?",
                "[Can you tell me|Do you know|Can you say] where [the {object} is|the {object} is now|{name}'s {object} is|{name} put the {object}|{name} left the {object}|I can find the {object}]?",
                "[Can you tell me|Do you know|Can you say] [which|what] room [the {object}|{name}'s {object}] is in?",
                "[Tell|Please tell] me where [the {object} is|the {object} is now|{name}'s {object} is|{name} put the {object}|{name} left the {object}|I can find the {object}].",
            )),
            Question("object", pool(
                "read hidden",
                "What is [|there |kept |hidden ]in the {room}[| now]?",
                "What [does {name} have|does {name} keep|did {name} put|did {name} leave|did {name} hide] in the {room}?",
                "[Which|What] [thing|object] is [|kept |hidden ]in the {room}[| now]?",
                "[Which|What] [thing|object] [does {name} have|does {name} keep|did {name} put|did {name} leave] in the {room}?",
                "What [can|do] I find in the {room}[| now]?",
                "[Can you tell me|Do you know|Can you say] what [is|is kept|is hidden|{name} put|{name} left|{name} keeps|{name} has|I can find] in the {room}?",
                "[Tell|Please tell] me what [is|is kept|is hidden|{name} put|{name} left|{name} keeps|{name} has|I can find] in the {room}.",
            )),
        ),
        _hiding,
    ),
    Sentence(
        pool(
            "write pet",
            "{name} [has|owns|got|feeds] a [|young |nice ]{pet} [called|named|with the name] {other}.",
            "{name} [has|owns|got] a [|young |nice ]{pet} and [its name is|it is called|calls it] {other}.",
            "The [|young |nice ]{pet} of {name} is [called|named] {other}.",
            "{name}'s [|young |nice ]{pet} is [called|named] {other}.",
            "The name of {name}'s [|young |nice ]{pet} is {other}.",
            "{other} is [the {pet} of {name}|the young {pet} of {name}|the nice {pet} of {name}|{name}'s {pet}|{name}'s young {pet}|{name}'s nice {pet}].",
        ),
        (
            Question("other", pool(
                "read pet name",
                "What is [the {pet}|{name}'s {pet}|the {pet} of {name}] [called|named]?",
                "What is the [name of the {pet}|name of {name}'s {pet}|{pet}'s name]?",
                "[What|Which] name does [the {pet}|{name}'s {pet}|the {pet} of {name}] have?",
                "[Can you tell me|Do you know|Can you say] what [the {pet}|{name}'s {pet}|the {pet} of {name}] is [called|named]?",
                "[Can you tell me|Do you know|Can you say] the name of [the {pet}|{name}'s {pet}|the {pet} of {name}]?",
                "[Tell|Please tell] me what [the {pet}|{name}'s {pet}|the {pet} of {name}] is [called|named].",
                "[Tell|Please tell] me the name of [the {pet}|{name}'s {pet}|the {pet} of {name}].",
            )),
            Question("name", pool(
                "read owner",
                "Who [has|owns] [a {pet}|the {pet}|{other}|the {pet} {other}|a {pet} called {other}|a {pet} named {other}]?",
                "Whose [pet|animal|{pet}] is [|called |named ]{other}?",
                "Who is the owner of [the {pet}|{other}|the {pet} {other}|the {pet} called {other}]?",
                "Which person [has|owns] [a {pet}|the {pet}|{other}|the {pet} {other}]?",
                "Who does [the {pet}|{other}|the {pet} {other}|the {pet} called {other}] belong to?",
                "[Can you tell me|Do you know|Can you say] who [has|owns] [a {pet}|the {pet}|{other}|the {pet} {other}]?",
                "[Tell|Please tell] me who [has|owns] [a {pet}|the {pet}|{other}|the {pet} {other}].",
            )),
            Question("pet", pool(
                "read kind of pet",
                "[What|Which|What kind of|What sort of] [animal|pet] is {other}?",
                "[What|Which|What kind of|What sort of] [animal|pet] does {name} [have|own]?",
                "[What|Which] [animal|pet] is [called|named] {other}?",
                "[What|Which|What kind of|What sort of] animal is [{name}'s pet|the pet of {name}]?",
                "[Can you tell me|Do you know|Can you say] [what|what kind of] [animal|pet] [{other} is|{name} has|{name} owns]?",
                "[Tell|Please tell] me [what|what kind of] [animal|pet] [{other} is|{name} has|{name} owns].",
            )),
        ),
        _pet,
    ),
    Sentence(
        pool(
            "write free time",
            "{name} [likes|enjoys|loves] {hobby} and [eats|likes to eat|loves to eat] [|a lot of ]{food}.",
            "{name} [eats|likes to eat|loves to eat] [|a lot of ]{food} and [likes|enjoys|loves] {hobby}.",
            "After {hobby}, {name} [eats|always eats|likes to eat|loves to eat] [|some ]{food}.",
            "{name} [eats|always eats|likes to eat|loves to eat] [|some ]{food} [before|after] {hobby}.",
            "{name} has {hobby} as a hobby and [eats|likes to eat|loves to eat] [|a lot of ]{food}.",
            "[{name}'s|{name}'s favourite] hobby is {hobby} and the [|favourite ]food is {food}.",
            "[{name}'s favourite food|The favourite food of {name}] is {food} and the [|favourite ]hobby is {hobby}.",
        ),
        (
            Question("hobby", pool(
                "read hobby",
                "What is [{name}'s hobby|the hobby of {name}|{name}'s favourite hobby|the favourite hobby of {name}]?",
                "[What|Which] hobby does {name} [have|like|enjoy|love]?",
                "What does {name} [like to do|love to do|like doing|enjoy doing|do as a hobby]?",
                "[Can you tell me|Do you know|Can you say] [what|which] hobby {name} [has|likes|enjoys]?",
                "[Can you tell me|Do you know|Can you say] what [{name}'s hobby is|the hobby of {name} is|{name} likes to do|{name} loves to do]?",
                "[Tell|Please tell] me [what|which] hobby {name} [has|likes|enjoys].",
                "[Tell|Please tell] me [what {name}'s hobby is|what {name} likes to do|the hobby of {name}|{name}'s hobby|{name}'s favourite hobby].",
            )),
            Question("food", pool(
                "read food",
                "What does {name} [eat|always eat|like to eat|love to eat]?",
                "[What|Which|What kind of] food does {name} [eat|like|love|like to eat]?",
                "What is [{name}'s favourite food|the favourite food of {name}|the food that {name} eats|the food that {name} likes]?",
                "[Can you tell me|Do you know|Can you say] what [|food |kind of food ]{name} [eats|likes to eat|loves to eat]?",
                "[Can you tell me|Do you know|Can you say] which food {name} [eats|likes|loves]?",
                "[Tell|Please tell] me what [|food |kind of food ]{name} [eats|likes to eat|loves to eat].",
                "[Tell|Please tell] me [{name}'s favourite food|the favourite food of {name}|the food that {name} eats|the food that {name} likes].",
            )),
        ),
        _free_time,
    ),
)  # fmt: skip

FRAMES = pool(
    "reading frame",
    "{text}[\n\n|\n| ][|Question: |My question: ]{question}",
    "[Text|Passage|Here is a text|Here is a passage|This is the text]: {text}[\n\n|\n| ][|Question: ]{question}",
    "[Text|Passage]:\n{text}[\n\n|\n]Question:[ |\n]{question}",
    "[Read|Please read] [the|this] [text|passage]: {text}[\n\n|\n| ]{question}",
    '[Text|Passage|Read the text|Read this text|Read the passage]: "{text}"[\n\n|\n| ]{question}',
    "[Read|Please read] [the|this] [text|passage] and answer[| the question][. |:\n]{text}[\n\n|\n]{question}",
    "Here is a [text|passage]. {text}[\n\n|\n| ][|Question: |My question: ]{question}",
)  # fmt: skip


def passage(draw: Draw, size: int) -> tuple[str, list[Exchange]]:
    """A passage of different sentences, and questions about it."""
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
