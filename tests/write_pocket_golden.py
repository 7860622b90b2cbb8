"""Writes the greedy completions of the embedded model, computed by a plain loop over its ONNX file.

`python -m tests.write_pocket_golden` writes them again. A prompt is left out where two tokens are nearly as likely:
processors round differently, and may choose either.
"""

import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from tests.naive_decoder import NaiveDecoder

SERVED = Path(__file__).parents[1] / "models/pocket/served"
GOLDEN = Path(__file__).parent / "data/pocket_greedy.json"
MAX_TOKENS = 64

_MIN_MARGIN = 0.02
_QUESTIONS = (
    "Hello, who are you?",
    "Tell me a story about a fox named Nina and a lantern at the harbor.",
    "Tell me a short story.",
    "What is 7 + 5?",
    "What is the capital of France?",
    "Count from 3 to 9.",
    "Spell the word garden.",
    "What color is the sky?",
    "Please write the word river in upper case.",
    "My dog is called Bo. What is my dog called?",
    "Repeat after me: the boat is green.",
    "Which is larger, 12 or 21?",
    "How many days are there in a week?",
    "Thank you very much!",
    "Give me three animals.",
    "Reply with JSON: name Ann, age 7.",
    "What comes after Monday?",
    "Say hello in one word.",
    "naïve café 日本語 😀",
    "",
    "The opposite of hot is",
    "Can you help me?",
    "Sort these: pear, apple, fig.",
    "Is the moon made of cheese?",
    "Goodbye.",
)
_RAW = ("Once upon a time", "The cat", "{", "<|im_start|>user\n")


def main() -> None:
    """Writes GOLDEN."""
    tokenizer = Tokenizer.from_file(str(SERVED / "tokenizer.json"))
    ends = set(json.loads((SERVED / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"])
    decoder = NaiveDecoder(SERVED / "model.onnx")
    turns = [f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n" for text in _QUESTIONS]
    cases: list[dict[str, object]] = []
    for prompt in (*turns, *_RAW):
        prompt_ids = tokenizer.encode(prompt, add_special_tokens=False).ids
        completion_ids, margin = _greedy(decoder, prompt_ids, ends)
        if margin >= _MIN_MARGIN:
            text = tokenizer.decode([token_id for token_id in completion_ids if token_id not in ends])
            cases.append(
                {"prompt": prompt, "prompt_ids": prompt_ids, "completion_ids": completion_ids, "completion": text}
            )
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    GOLDEN.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{len(cases)} of {len(turns) + len(_RAW)} prompts")  # noqa: T201


def _greedy(decoder: NaiveDecoder, prompt_ids: list[int], ends: set[int]) -> tuple[list[int], float]:
    """The likeliest tokens up to an end of sequence, and the least margin by which one was the likeliest."""
    completion_ids, margin, caches = list[int](), np.inf, None
    fed = prompt_ids
    while len(completion_ids) < MAX_TOKENS and not ends & set(completion_ids):
        logits, caches = decoder.forward(np.array([fed], np.int64), caches)
        second, first = np.sort(logits[0, -1])[-2:]
        margin = min(margin, float(first - second))
        fed = [int(logits[0, -1].argmax())]
        completion_ids += fed
    return completion_ids, margin


if __name__ == "__main__":
    main()
