"""The conversations that train and evaluate the model. Each is generated from its number alone.

`python -m pocket.corpus` prints samples of every skill and the corpus hash.
"""

import argparse
import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from itertools import chain, islice
from random import Random

from pocket.conversation import Conversation, Message, instruction
from pocket.draw import INVENTED_SHARE, Draw
from pocket.skills import chat, extraction, instructions, memory, numbers, reading, repeating, stories, tools

SEED = "pocket"
HASHED_CONVERSATIONS = 10_000
EVALUATIONS_OF_A_SKILL = 150

SYSTEMS = ("You are a helpful assistant.", "Be helpful.", "You are Pocket, a small language model.", "Answer the user.")

EXCHANGES = (chat.exchange, chat.exchange, numbers.exchange, numbers.exchange, reading.exchange, extraction.exchange)
"""Turns that may come between a fact and the question for it."""


def distractor(draw: Draw) -> list[Message]:
    """A turn of another skill."""
    return draw.any(EXCHANGES)(draw).messages()


def remembered(draw: Draw) -> Conversation:
    """Facts and questions for them, with other turns between."""
    return memory.conversation(draw, distractor)


def long_memory(draw: Draw) -> Conversation:
    """Facts and questions for them over many turns, some of them stories."""
    conversation = memory.conversation(
        draw, lambda inner: [turn for _ in range(inner.count(1, 3)) for turn in _long_distractor(inner)]
    )
    return replace(conversation, skill="long memory")


def _long_distractor(draw: Draw) -> list[Message]:
    return stories.exchange(draw).messages() if draw.chance(0.1) else distractor(draw)


SKILLS: Mapping[str, Callable[[Draw], Conversation]] = {
    "chat": chat.conversation,
    "memory": remembered,
    "long memory": long_memory,
    "instructions": instructions.conversation,
    "lists and sums": numbers.conversation,
    "reading": reading.conversation,
    "extraction": extraction.conversation,
    "tool call": tools.call_conversation,
    "tool result": tools.result_conversation,
    "no tool": tools.no_tool_conversation,
    "stories": stories.conversation,
    "repeating": repeating.conversation,
}
PARTS = (0, 32_768, 1_904_640)
"""The first conversation of each part of training; the later parts start at windows 32 and 1,860."""
TRAINING_SHARES = {
    "chat": (4, 3, 3),
    "memory": (14, 9, 7),
    "long memory": (2, 3, 2),
    "instructions": (12, 10, 8),
    "lists and sums": (14, 5, 4),
    "reading": (12, 8, 7),
    "extraction": (11, 10, 11),
    "tool call": (12, 30, 28),
    "tool result": (3, 4, 3),
    "no tool": (5, 13, 20),
    "stories": (4, 2, 1),
    "repeating": (7, 3, 6),
}
"""Percent of the conversations in each part. The first part teaches copying, the last one functions that nearly fit."""

WITHOUT_COMMON_SYSTEM = {"instructions", "tool call", "tool result", "no tool"}


def training_conversation(number: int) -> Conversation:
    """The conversation with this number. A number always gives the same conversation."""
    return training_draw(number)[0]


def training_draw(number: int, invented_share: float = INVENTED_SHARE) -> tuple[Conversation, Draw]:
    """A conversation with the draw that made it."""
    part = bisect_right(PARTS, number) - 1
    random = Random(f"{SEED} training {number}")
    draw = Draw(random, held_out=False, invented_share=invented_share, is_last_part=part == len(PARTS) - 1)
    weights = [shares[part] for shares in TRAINING_SHARES.values()]
    skill = draw.random.choices(list(TRAINING_SHARES), weights=weights)[0]
    return _with_common_system(draw, SKILLS[skill](draw)), draw


def training_conversations(first: int = 0) -> Iterator[Conversation]:
    """All training conversations from a number on, without end."""
    number = first
    while True:
        yield training_conversation(number)
        number += 1


def evaluation_conversations(count_of_a_skill: int = EVALUATIONS_OF_A_SKILL, first: int = 0) -> list[Conversation]:
    """The evaluation set: `count` conversations per skill. Another `first` gives others of the same kind."""
    return [conversation for conversation, _ in evaluation_draws(count_of_a_skill, first)]


def evaluation_draws(count_of_a_skill: int, first: int = 0) -> Iterator[tuple[Conversation, Draw]]:
    """The evaluation set with the draw of each conversation."""
    for skill, generate in SKILLS.items():
        for number in range(first, first + count_of_a_skill):
            draw = Draw(Random(f"{SEED} evaluation {skill} {number}"), held_out=True)
            yield generate(draw), draw


def familiar_conversations(count_of_a_skill: int) -> list[Conversation]:
    """New conversations with training's words and phrasings. What is wrong here was not learned."""
    found: list[Conversation] = []
    for skill, generate in SKILLS.items():
        for number in range(count_of_a_skill):
            random = Random(f"{SEED} familiar {skill} {number}")
            found.append(generate(Draw(random, held_out=False, invented_share=INVENTED_SHARE)))
    return found


def corpus_hash(count: int = HASHED_CONVERSATIONS) -> str:
    """SHA-256 over the first `count` training conversations of each part and the evaluation set, as JSON lines."""
    digest = hashlib.sha256()
    training = [islice(training_conversations(first), count) for first in PARTS]
    for conversation in chain(*training, evaluation_conversations()):
        digest.update(json.dumps(asdict(conversation), ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def _with_common_system(draw: Draw, conversation: Conversation) -> Conversation:
    if conversation.skill in WITHOUT_COMMON_SYSTEM or not draw.chance(0.15):
        return conversation
    return replace(conversation, messages=[instruction(draw.any(SYSTEMS)), *conversation.messages])


def main() -> None:
    """Print samples of every skill, and the corpus hash."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--samples", type=int, default=2, help="conversations to print per skill (default: %(default)s)"
    )
    samples = parser.parse_args().samples
    for conversation in evaluation_conversations(samples):
        print(json.dumps(asdict(conversation), ensure_ascii=False))
    print(f"corpus sha256 {corpus_hash()}")


if __name__ == "__main__":
    main()
