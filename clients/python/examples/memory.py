"""A conversation of several turns: what was said before goes along with every question."""

import sys

from onward_client import Client, Conversation


def main(target: str) -> str:
    """Tells two facts, asks for the first, and returns the last answer."""
    conversation = Conversation()
    with Client(target) as client:
        for said in ("My name is Anna.", "I have a dog called Rex.", "What is my name?"):
            conversation.append(said)
            answer = client.complete(conversation, temperature=0)
            conversation.append(answer)
            print(f"> {said}\n{answer.text}")
    return answer.text


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["127.0.0.1:50051"]))
