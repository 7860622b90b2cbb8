"""Writes prompts and the greedy tokens of transformers after them, as JSON.

    python -m models.smollm2_references build/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf > tests/data/smollm2/greedy.json

transformers reads the GGUF file itself and computes with its weights in float32. Every token of an answer has a margin:
its logit stands out by more than rounding can change. So a difference is an error and not a tie.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

NUM_TOKENS = 64
MARGIN = 0.001
PROMPTS = (
    "What is the capital of Italy?",
    "Name three animals that live in the sea.",
    "Write one sentence about the moon.",
    "How do I boil an egg?",
    "Translate 'good morning' to Spanish.",
    "What is 7 plus 5?",
    "Why is the sky blue?",
    "Give me a short list of fruit.",
    "Write a Python function that returns the larger of two numbers.",
    "Who wrote Romeo and Juliet?",
    "Summarize: The cat sat on the mat. It was warm there, and the cat fell asleep.",
    "What should I pack for a day at the beach?",
    "Explain what a computer network is.",
    "Tell me a joke about a penguin.",
    'Return a JSON object with the keys "name" and "age".',
    "Is a tomato a fruit or a vegetable?",
    "Write a polite e-mail that asks for a day off.",
    "What comes after Wednesday?",
    "Describe the taste of coffee in a few words.",
    "How many legs does a spider have? And an ant?",
    "Continue: Once upon a time, in a small village by the river,",
    "What does the word 'ephemeral' mean?",
    "List the steps to plant a tree.",
    "Which planet is the largest in our solar system?",
    "Write a slogan for a bakery.",
    "Correct this sentence: she go to school yesterday",
)
NUM_CASES = 20


def main(file: Path) -> None:
    """Prints the first cases whose margins are large enough."""
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32).eval()
    cases = [case for prompt in PROMPTS if (case := case_of(prompt, tokenizer, model)) is not None]
    if len(cases) < NUM_CASES:
        sys.exit(f"only {len(cases)} of {NUM_CASES} prompts have a margin of {MARGIN}")
    sys.stdout.write('{"cases": [\n' + ",\n".join(map(json.dumps, cases[:NUM_CASES])) + "\n]}\n")


@torch.inference_mode()
def case_of(prompt: str, tokenizer: PreTrainedTokenizerBase, model: torch.nn.Module) -> dict[str, object] | None:
    """The prompt, its token ids and the answer's; None if two logits are too close."""
    messages = [{"role": "user", "content": prompt}]
    prompt_ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    greedy_ids: list[int] = []
    while len(greedy_ids) < NUM_TOKENS and greedy_ids[-1:] != [tokenizer.eos_token_id]:
        logits = model(torch.tensor([prompt_ids + greedy_ids])).logits[0, -1]
        (first, second), (likeliest, _) = (found.tolist() for found in logits.topk(2))
        if first - second < MARGIN:
            return None
        greedy_ids.append(likeliest)
    return {"prompt": prompt, "prompt_ids": prompt_ids, "greedy_ids": greedy_ids}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
