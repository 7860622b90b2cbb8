"""Calls the function that the model asks for, until it replies with text. Needs pydantic, for the function's schema."""

import sys

from onward_client import Client, Conversation, tool_result


def get_weather(city: str) -> dict[str, str]:
    """Get the weather in a city."""
    return {"weather": "sunny" if city == "Rome" else "rainy"}


def main(target: str) -> str:
    """Asks for the weather, calls `get_weather` for the model, and returns the final text."""
    conversation = Conversation("What is the weather in Rome?")
    with Client(target) as client:
        for _ in range(4):
            completion = client.complete(conversation, tools=[get_weather], temperature=0)
            conversation.append(completion)
            if not completion.tool_calls:
                print(completion.text)
                return completion.text
            calls = zip(completion.tool_calls, completion.parse_tool_calls(get_weather), strict=True)
            for call, arguments in calls:
                print(f"{call.function.name} {call.function.arguments}")
                conversation.append(tool_result(call, get_weather(**arguments)))
    raise SystemExit("the model still calls functions after four rounds")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["127.0.0.1:50051"]))
