"""Decodes greedily with onnxruntime-genai, in the environment that `make test-models` creates for it.

    .venv-genai/bin/python tests/exports/genai_greedy.py FOLDER MAX_TOKENS

Each line of standard input is a prompt, a list of token ids; each line of standard output has the tokens after one.
"""

import json
import os
import sys
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # noqa: TID251  before ONNX Runtime is loaded

import onnxruntime_genai  # pyright: ignore[reportMissingImports]

genai: Any = onnxruntime_genai


def tokens_after(
    model: Any,  # noqa: ANN401  the library has no types
    prompt: list[int],
    max_tokens: int,
) -> list[int]:
    """The tokens up to an end of sequence, which is the last one then."""
    params = genai.GeneratorParams(model)
    params.set_search_options(max_length=len(prompt) + max_tokens, do_sample=False)
    generator = genai.Generator(model, params)
    generator.append_tokens(prompt)
    tokens: list[int] = []
    while not generator.is_done():
        generator.generate_next_token()
        tokens.append(int(generator.get_next_tokens()[0]))
    return tokens


def main() -> None:
    """Decode until the input ends."""
    model = genai.Model(sys.argv[1])
    for line in sys.stdin:
        sys.stdout.write(f"{json.dumps(tokens_after(model, json.loads(line), int(sys.argv[2])))}\n")


if __name__ == "__main__":
    main()
