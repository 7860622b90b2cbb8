"""Runs the evaluation set and prints a table of the skills.

`python -m pocket.evaluate` evaluates the served weights in PyTorch, `--checkpoint FILE` those of a training run.
`--target HOST:PORT` evaluates a running server, and `--compare` also compares its tokens with PyTorch's.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain, islice, zip_longest
from pathlib import Path
from statistics import median
from typing import cast

from pocket.chat_format import TURN_END, prompt_text
from pocket.conversation import Conversation, calls_in
from pocket.corpus import (
    EVALUATIONS_OF_A_SKILL,
    PARTS,
    evaluation_conversations,
    evaluation_draws,
    familiar_conversations,
    training_draw,
)
from pocket.tokenizer import load_tokenizer, token_id

BARS: Mapping[str, int | None] = {
    "memory": 97,
    "long memory": None,
    "instructions": 92,
    "lists and sums": 85,
    "reading": 90,
    "extraction": 95,
    "tool choice": 97,
    "tool call": 93,
    "tool result": 97,
    "no tool": None,
    "chat": None,
    "stories": None,
    "repeating": None,
}
"""The rows of the table, with the percentage that each must reach. Rows without one have no bar."""

MAX_TOKENS = 256
TRAINING_CONVERSATIONS_CHECKED = 20_000
COMPARED_CONVERSATIONS = 200
CLOSE_CALL = 1e-4
"""Kernels that sum in another order may choose either of two logits that are this close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer, from PyTorch or a server."""

    text: str
    ids: list[int]
    """Token ids, including the end token unless a limit ended the answer."""
    margins: list[float] | None = None
    """Difference between each token's logit and the next highest; None from a server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Right answers of a skill."""

    right: int
    asked: int

    @property
    def percent(self) -> float:
        return 100 * self.right / self.asked


def scores(conversations: Sequence[Conversation], answers: Sequence[Answer]) -> dict[str, Score]:
    """A score for every row of the table."""
    verdicts: dict[str, list[bool]] = {}
    for conversation, answer in zip(conversations, answers, strict=True):
        verdicts.setdefault(conversation.skill, []).append(conversation.check.accepts(answer.text))
        if conversation.skill in {"tool call", "no tool"}:
            verdicts.setdefault("tool choice", []).append(_chooses_right(conversation, answer.text))
    return {skill: Score(right=sum(rights), asked=len(rights)) for skill, rights in verdicts.items()}


def table(found: Mapping[str, Score]) -> str:
    """The scores as Markdown."""
    lines = ["| skill | right | of | % | bar |", "| --- | --: | --: | --: | --: |"]
    for skill, bar in BARS.items():
        if skill in found:
            score = found[skill]
            lines.append(f"| {skill} | {score.right} | {score.asked} | {score.percent:.1f} | {bar or ''} |")
    return "\n".join(lines)


def shared_draws(num_training: int = TRAINING_CONVERSATIONS_CHECKED) -> set[str]:
    """Names, objects, sets of numbers, tool words and phrasings in both training and evaluation. There must be none.

    Checks equally many conversations of each part of training, and ignores case.
    """
    of_a_part = num_training // len(PARTS)
    numbers = (number for first in PARTS for number in range(first, first + of_a_part))
    trained = {item.lower() for number in numbers for _, item in training_draw(number)[1].drawn}
    asked = {item.lower() for _, draw in evaluation_draws(EVALUATIONS_OF_A_SKILL) for _, item in draw.drawn}
    return asked & trained


def spread(conversations: Sequence[Conversation], count: int) -> list[int]:
    """The indices of `count` conversations, equally many per skill."""
    places: dict[str, list[int]] = {}
    for place, conversation in enumerate(conversations):
        places.setdefault(conversation.skill, []).append(place)
    in_turn = chain.from_iterable(zip_longest(*places.values()))
    return list(islice((place for place in in_turn if place is not None), count))


def differences(torch_answers: Sequence[Answer], served: Sequence[Answer]) -> Iterator[str]:
    """Describes each conversation whose greedy tokens differ although the logits were not close."""
    for place, (ours, theirs) in enumerate(zip(torch_answers, served, strict=True)):
        if ours.ids == theirs.ids:
            continue
        parted = next(at for at, (a, b) in enumerate(zip_longest(ours.ids, theirs.ids)) if a != b)
        margin = ours.margins[parted] if ours.margins and parted < len(ours.margins) else 0.0
        if margin > CLOSE_CALL:
            yield f"conversation {place}, token {parted}, margin {margin:.5f}: {ours.text!r} / {theirs.text!r}"


def ask_torch(checkpoint: Path | None, conversations: Sequence[Conversation]) -> list[Answer]:
    """Greedy answers of a checkpoint, or of the served weights, in PyTorch."""
    from pocket.generate import generate, load_served  # noqa: PLC0415  evaluating a server needs no PyTorch
    from pocket.train import load_model  # noqa: PLC0415

    model = load_model(checkpoint) if checkpoint else load_served()
    tokenizer = load_tokenizer()
    end = token_id(tokenizer, TURN_END)
    prompts = [tokenizer.encode(prompt_text(one), add_special_tokens=False).ids for one in conversations]
    return [
        Answer(text=tokenizer.decode(one.ids), ids=one.ids, margins=one.margins)
        for one in generate(model, prompts, end=end, max_tokens=MAX_TOKENS)
    ]


def ask_server(target: str, conversations: Sequence[Conversation]) -> list[Answer]:
    """Greedy answers of a server, through the Python client."""
    from pocket.served_answers import ask  # noqa: PLC0415  PyTorch needs no client

    return [Answer(text=one.text, ids=one.ids) for one in ask(target, conversations)]


def speed(target: str) -> str:
    """The speed of a server at one request at a time."""
    from pocket.served_answers import speeds  # noqa: PLC0415

    found = sorted(speeds(target))
    return f"one request: {median(found):.0f} tokens/s ({found[0]:.0f} to {found[-1]:.0f}, {len(found)} runs)"


def transcript(conversations: Sequence[Conversation], answers: Sequence[Answer], skill: str, count: int) -> str:
    """The last turns of a skill's first conversations as Markdown, to be judged by people."""
    pairs = zip(conversations, answers, strict=True)
    wanted = islice(((one, answer) for one, answer in pairs if one.skill == skill), count)
    return "\n".join(f"- *{_line(one.prompt[-1]['content'])}*<br>{_line(answer.text)}" for one, answer in wanted)


def _line(text: str) -> str:
    return text.replace("\n", " ")


def _chooses_right(conversation: Conversation, answer: str) -> bool:
    wanted = [json.loads(value) for value in conversation.check.values] if conversation.check.rule == "calls" else []
    return [_name(call) for call in calls_in(answer)] == [_name(call) for call in wanted]


def _name(call: object) -> object:
    return cast("dict[str, object]", call).get("name") if isinstance(call, dict) else None


def _print_wrong(conversations: Sequence[Conversation], answers: Sequence[Answer], count: int) -> None:
    left = dict.fromkeys(BARS, count)
    for conversation, answer in zip(conversations, answers, strict=True):
        if left[conversation.skill] and not conversation.check.accepts(answer.text):
            left[conversation.skill] -= 1
            print(f"\n--- {conversation.skill}: {conversation.check}\n{prompt_text(conversation)}{answer.text}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--checkpoint", type=Path, help="evaluate the checkpoint.pt of a training run, in PyTorch")
    parser.add_argument("--target", help="evaluate the server at HOST:PORT, through the client")
    parser.add_argument(
        "--compare", action="store_true", help="with --target: evaluate in PyTorch too, and compare tokens"
    )
    parser.add_argument(
        "--speed", action="store_true", help="with --target: also measure the speed at one request at a time"
    )
    parser.add_argument(
        "--count", type=int, default=EVALUATIONS_OF_A_SKILL, help="conversations per skill (default: %(default)s)"
    )
    parser.add_argument(
        "--first", type=int, default=0, help="index of the first conversation; from 150 on, none is in the fixed set"
    )
    parser.add_argument("--wrong", type=int, default=0, help="print this many wrong answers per skill")
    parser.add_argument("--read", type=int, default=0, help="print this many answers of the skills that people judge")
    parser.add_argument(
        "--familiar", action="store_true", help="use training's words and phrasings, to see what was not learned"
    )
    parser.add_argument("--check-split", action="store_true", help="check that training and evaluation share nothing")
    arguments = parser.parse_args()
    if (arguments.compare or not arguments.target) and find_spec("torch") is None:
        parser.error("name a server with --target, or install PyTorch: `make -C models/pocket evaluate` does")
    if arguments.speed and not arguments.target:
        parser.error("--speed times a running server; name it with --target")
    return arguments


def main() -> None:
    """Evaluate the embedded model and print a table of its skills."""
    arguments = _arguments()
    if arguments.check_split:
        print(f"shared with {TRAINING_CONVERSATIONS_CHECKED} training conversations: {shared_draws() or 'nothing'}")
    if arguments.speed:
        print(speed(arguments.target))
    if arguments.familiar:
        conversations = familiar_conversations(arguments.count)
    else:
        conversations = evaluation_conversations(arguments.count, arguments.first)
    by_way: dict[str, list[Answer]] = {}
    if arguments.compare or not arguments.target:
        by_way["PyTorch"] = ask_torch(arguments.checkpoint, conversations)
    if arguments.target:
        by_way["server"] = ask_server(arguments.target, conversations)
    for way, answers in by_way.items():
        print(f"\n{way}\n\n{table(scores(conversations, answers))}")
        _print_wrong(conversations, answers, arguments.wrong)
        for skill in ("chat", "stories") if arguments.read else ():
            print(f"\n### {skill.capitalize()}\n\n{transcript(conversations, answers, skill, arguments.read)}")
    if len(by_way) == 2:
        places = spread(conversations, COMPARED_CONVERSATIONS)
        ours, theirs = ([answers[place] for place in places] for answers in by_way.values())
        parted = list(differences(ours, theirs))
        print(f"\n{len(places)} conversations token for token: {len(parted)} differ", *parted, sep="\n")


if __name__ == "__main__":
    main()
