"""Prints a story while the model generates it."""

import sys

from onward_client import Client


def main(target: str) -> str:
    """Streams a story, prints its number of tokens, and returns its text."""
    question = "Tell me a story about Mia the fox, the river and a lamp."
    with Client(target) as client, client.stream(question, max_tokens=300) as stream:
        for text in stream.text:
            print(text, end="", flush=True)
        story = stream.final()
    print(f"\n({story.usage.completion_tokens} tokens, {story.finish_reason})")
    return story.text


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["127.0.0.1:50051"]))
