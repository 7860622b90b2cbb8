"""The model asks for a function, gets its result, and answers with it. Needs pydantic, for the function's schema."""

import json
import sys

from onward_client import Client, Conversation, tool_result


def get_weather(city: str) -> dict[str, str]:
    """Get the weather in a city."""
    return {"weather": "sunny" if city == "Rome" else "rainy"}


def main(target: str) -> str:
    """Asks until the answer calls no function, and returns its text."""
    conversation = Conversation("What is the weather in Rome?")
    with Client(target) as client:
        for _ in range(4):
            answer = client.complete(conversation, tools=[get_weather], temperature=0)
            conversation.append(answer)
            if not answer.tool_calls:
                print(answer.text)
                return answer.text
            for call in answer.tool_calls:
                print(f"{call.function.name} {call.function.arguments}")
                conversation.append(tool_result(call, get_weather(**json.loads(call.function.arguments))))
    raise SystemExit("still no answer after four rounds")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["127.0.0.1:50051"]))
