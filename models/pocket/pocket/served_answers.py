"""Gets the answers of a running server to the evaluation set, through the Python client."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from onward_client import Client
from onward_client.messages import MessageDict, ToolCallDict
from onward_client.tools import ToolDict
from pocket.conversation import Conversation, Message, Tool

REQUESTS_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One answer of a server."""

    text: str
    """The content, then each parsed tool call in the form in which the model writes it."""
    ids: list[int]
    """The ids of all sampled tokens, including the end token."""


def ask(target: str, conversations: Sequence[Conversation]) -> list[Served]:
    """The greedy answer to each conversation, with the model's default limit of tokens."""
    with Client(target) as client, ThreadPoolExecutor(REQUESTS_AT_ONCE) as threads:
        return list(threads.map(partial(_ask, client), conversations))


def speeds(target: str, *, runs: int = 7, num_tokens: int = 200) -> list[float]:
    """Answer tokens per second of each of several consecutive requests, prefill included, after one warm-up request."""
    found: list[float] = []
    with Client(target) as client:
        for run in range(1 + runs):
            started_s = time.perf_counter()
            client.complete(f"Tell me story {run}.", max_tokens=num_tokens, ignore_eos=True)
            found.append(num_tokens / (time.perf_counter() - started_s))
    return found[1:]


def message_dicts(turns: Sequence[Message]) -> list[MessageDict]:
    """The turns in the form that the client takes. Tool calls have ids, which the tools' results name."""
    messages: list[MessageDict] = []
    for place, turn in enumerate(turns):
        message: MessageDict = {"role": turn["role"], "content": turn["content"]}
        if turn["role"] == "tool":
            message["tool_call_id"] = f"call_{place - 1}_0"
        if "tool_calls" in turn:
            message["tool_calls"] = [
                ToolCallDict(
                    id=f"call_{place}_{number}",
                    function={
                        "name": call["function"]["name"],
                        "arguments": json.dumps(call["function"]["arguments"]),
                    },
                )
                for number, call in enumerate(turn["tool_calls"])
            ]
        messages.append(message)
    return messages


def tool_dicts(tools: Sequence[Tool]) -> list[ToolDict]:
    """The tools in the form that the client takes, with parameters as JSON text."""
    return [
        {
            "function": {
                "name": function["name"],
                "description": function["description"],
                "parameters": json.dumps(function["parameters"]),
            }
        }
        for function in (tool["function"] for tool in tools)
    ]


def _ask(client: Client, conversation: Conversation) -> Served:
    completion = client.complete(
        message_dicts(conversation.prompt),
        tools=tool_dicts(conversation.tools) or None,
        temperature=0,
        logprobs=True,
    )
    choice = completion.proto.choices[0]
    calls = [_written(call.function.name, call.function.arguments) for call in completion.tool_calls]
    if choice.invalid_tool_call:
        calls.append(f"<tool_call>\n{choice.invalid_tool_call}")
    return Served(
        text="\n".join([*([completion.text] if completion.text else []), *calls]),
        ids=[sampled.chosen.token_id for sampled in choice.logprobs],
    )


def _written(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": {json.dumps(name)}, "arguments": {arguments}}}\n</tool_call>'
