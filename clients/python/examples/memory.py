"""Holds a conversation of several turns, each sent with all turns before it."""

import sys

from onward_client import Client, Conversation


def main(target: str) -> str:
    """States two facts, asks for the first, and returns the last reply."""
    conversation = Conversation()
    with Client(target) as client:
        for said in ("My name is Anna.", "I have a dog called Rex.", "What is my name?"):
            conversation.append(said)
            completion = client.complete(conversation, temperature=0)
            conversation.append(completion)
            print(f"> {said}\n{completion.text}")
    return completion.text


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["127.0.0.1:50051"]))
