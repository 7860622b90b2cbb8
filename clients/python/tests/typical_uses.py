"""Forty typical uses of the client, which `mypy --strict` and basedpyright accept: see test_types.py."""

# ruff: noqa: ANN401, T201 - like code of callers

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import grpc
from pydantic import BaseModel, Field

from onward.v1.chat_pb2 import FunctionTool, Message, Tool, ToolCall
from onward.v1.completion_pb2 import CompleteRequest
from onward.v1.model_service_pb2 import GetModelRequest, GetModelResponse, Model
from onward_client import (
    TLS,
    APIError,
    AsyncClient,
    Client,
    CompleteOptions,
    Completion,
    Conversation,
    InvalidRequestError,
    LengthFinishError,
    MessageDict,
    Messages,
    OnwardError,
    OutputValidationError,
    OverloadedError,
    ParsedCompletion,
    Reply,
    ResponseFormatDict,
    ToolDict,
    UnavailableError,
    assistant,
    complete_request,
    rpcs,
    system,
    tool_result,
    user,
)


class Cat(BaseModel):
    """A cat."""

    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    """A dog."""

    kind: Literal["dog"]
    name: str


@dataclasses.dataclass
class Point:
    """A point."""

    x: float
    y: float


def get_weather(city: str, unit: Literal["C", "F"] = "C") -> dict[str, str]:
    """Get the weather in a city."""
    return {"city": city, "unit": unit}


def connect_to_the_environment() -> Client:
    """1: the target and the key come from the environment."""
    return Client()


def connect_with_options() -> Client:
    """2: everything is set."""
    return Client(
        "api.example:443",
        api_key="secret",
        tls=TLS(ca="ca.pem"),
        timeout=dt.timedelta(minutes=1),
        max_retries=2,
        headers={"x-tenant": "a", "trace-bin": b"\x00"},
        channel_options=[("grpc.keepalive_time_ms", 10_000)],
    )


def rotate_keys(current: Callable[[], str]) -> Client:
    """3: a function returns the key."""
    return Client("localhost:50051", api_key=current)


def bring_a_channel(channel: grpc.Channel) -> str:
    """4: a channel of one's own."""
    with Client(channel=channel) as client:
        return client.complete("Hi").text


class Logging(grpc.UnaryUnaryClientInterceptor):
    """An interceptor."""

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Passes the call on."""
        return continuation(client_call_details, request)


def intercept() -> Client:
    """5: interceptors."""
    return Client("localhost:50051", interceptors=[Logging()])


def ask(client: Client) -> str:
    """6: one question."""
    return client.complete("What is 7 plus 5?").text


def ask_with_parameters(client: Client) -> tuple[str, int]:
    """7: sampling parameters."""
    completion = client.complete(
        "Hi", model="pocket", temperature=0.2, top_p=0.9, max_tokens=50, stop=["END", "."], seed=7, logit_bias={5: -100}
    )
    return completion.finish_reason, completion.usage.total_tokens


def ask_as_with_openai(client: Client) -> str:
    """8: the shape of a result of OpenAI's client."""
    completion = client.complete(
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        max_completion_tokens=50,
        logprobs=True,
        top_logprobs=3,
        response_format={"type": "json_object"},
    )
    return completion.choices[0].message.content.strip()


def ask_several_times(client: Client) -> list[str]:
    """9: several choices."""
    return [f"{choice.index}: {choice.text}" for choice in client.complete("Hi", n=3, temperature=1.0).choices]


def send_typed_dicts(client: Client) -> Completion:
    """10: annotated dicts."""
    messages: list[MessageDict] = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    return client.complete(messages)


def send_helpers(client: Client) -> Completion:
    """11: messages by helper functions."""
    return client.complete([system("Be brief."), user("Hi", name="Anna"), assistant("Hello."), "And?"])


def send_one_message(client: Client) -> Completion:
    """12: a single message."""
    return client.complete({"role": "user", "content": "Hi"})


def continue_an_answer(client: Client) -> str:
    """13: a message that the model continues."""
    return client.complete(["What is 7 plus 5?", assistant("7 + 5 =", prefix=True)]).text


def send_a_completion_back(client: Client) -> str:
    """14: completions in a list of messages."""
    first = client.complete("Hi")
    return client.complete(["Hi", first, "And?", first.choices[0].message, "Then?"]).text


def hold_a_conversation(client: Client) -> list[Message]:
    """15: a conversation."""
    conversation = Conversation(system("Be brief."))
    for text in ("My name is Anna.", "What is my name?"):
        conversation.append(text)
        conversation.append(client.complete(conversation))
    return list(conversation)


def send_a_prompt(client: Client) -> tuple[str, str]:
    """16: raw text and token ids."""
    return client.complete(prompt="Once").text, client.complete(prompt=[1, 2, 3], no_special_tokens=True).text


def reuse_a_request(client: Client) -> str:
    """17: a generated request."""
    base: CompleteRequest = complete_request("Hi", temperature=0.5)
    return client.complete(request=base, max_tokens=5).text


def pass_options_on(client: Client, messages: Messages) -> str:
    """18: options that are built elsewhere."""
    given: CompleteOptions = {"temperature": 0.5, "timeout": 3, "stop": "END"}
    return client.complete(messages, **given).text


def parse_a_model(client: Client) -> int:
    """19: a pydantic model."""
    return client.parse(Cat, "Which cat?").parsed.lives


def parse_a_list(client: Client) -> list[int]:
    """20: a generic type."""
    return client.parse(list[int], "Which numbers?").parsed


def parse_a_union(client: Client) -> int | str:
    """21: a union."""
    return client.parse(int | str, "A number or a word?").parsed


def parse_an_optional(client: Client) -> Cat | None:
    """22: an optional model."""
    return client.parse(Cat | None, "Which cat, if any?").parsed


def parse_a_discriminated_union(client: Client) -> str:
    """23: a union with a discriminator."""
    pet = client.parse(Annotated[Cat | Dog, Field(discriminator="kind")], "Which pet?").parsed
    return pet.name if pet.kind == "dog" else str(pet.lives)


def parse_a_literal(client: Client) -> Literal["yes", "no"]:
    """24: a closed set."""
    return client.parse(Literal["yes", "no"], "Yes or no?").parsed


def parse_a_dataclass(client: Client) -> float:
    """25: a dataclass."""
    parsed: ParsedCompletion[Point] = client.parse(Point, "Where?")
    return parsed.parsed.x + parsed.usage.completion_tokens


def parse_afterwards(completion: Completion) -> list[Dog]:
    """26: a completion that exists already."""
    return completion.parse(list[Dog], index=1)


def stream_text(client: Client) -> Iterator[str]:
    """27: text as it arrives."""
    with client.stream("A story?", max_tokens=300) as stream:
        yield from stream.text


def stream_events(client: Client) -> int:
    """28: events, the snapshot and the final completion."""
    with client.stream("Hi", n=2) as stream:
        for event in stream:
            if event.WhichOneof("event") == "delta":
                print(event.delta.index, event.delta.text, stream.snapshot.text)
        return stream.final().usage.completion_tokens


def stream_a_value(client: Client) -> str:
    """29: a typed stream."""
    with client.parse_stream(Dog, "Which dog?") as stream:
        for text in stream.text:
            print(text, end="")
        return stream.final().parsed.name


def constrain(client: Client) -> list[str]:
    """30: response formats."""
    regex: ResponseFormatDict = {"regex": {"pattern": "[A-Z]+"}}
    schema: ResponseFormatDict = {"type": "json_schema", "json_schema": {"schema": {"type": "array"}, "name": "list"}}
    return [
        client.complete("Hi", response_format=wanted).text for wanted in (regex, schema, Dog, dict[str, int], "text")
    ]


def run_tools(client: Client) -> str:
    """31: a tool loop with a function."""
    conversation = Conversation("What is the weather in Rome?")
    while True:
        completion = client.complete(conversation, tools=[get_weather], tool_choice="auto")
        conversation.append(completion)
        if not completion.tool_calls:
            return completion.text
        for call, arguments in zip(completion.tool_calls, completion.parse_tool_calls(get_weather), strict=True):
            conversation.append(tool_result(call, get_weather(**arguments)))


def offer_tools(client: Client) -> list[Cat | Dog]:
    """32: tools of every kind."""
    as_dict: ToolDict = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    tool = Tool(function=FunctionTool(name="g"))
    completion = client.complete("Hi", tools=[Cat, Dog, get_weather, as_dict, tool], parallel_tool_calls=False)
    return completion.parse_tool_calls(Cat, Dog)


def force_a_tool(client: Client) -> list[ToolCall]:
    """33: tool choices, those of OpenAI included."""
    client.complete("Hi", tools=[get_weather], tool_choice={"type": "function", "function": {"name": "get_weather"}})
    return list(client.complete("Hi", tools=[get_weather], tool_choice=["get_weather"]).tool_calls)


def report_results(call: ToolCall) -> list[Message]:
    """34: results of any type."""
    return [tool_result(call, result) for result in ("sunny", {"at": dt.date(2024, 1, 31)}, Point(1, 2), [1.5], None)]


def handle_errors(client: Client) -> str:
    """35: exceptions."""
    try:
        return client.parse(Dog, "Which dog?", max_tokens=10).parsed.name
    except LengthFinishError as error:
        return error.response.text
    except OutputValidationError as error:
        return f"{error.text}: {error.validation_error}"
    except InvalidRequestError as error:
        return ", ".join(violation.field for violation in error.field_violations)
    except (OverloadedError, UnavailableError) as error:
        return f"{error.retry_after or 0:.1f} s after {error.attempts} attempts; {error.hint}"
    except OnwardError as error:
        return f"{error.code.name} {error.reason} {error.request_id}" if isinstance(error, APIError) else str(error)


def count_and_tokenize(client: Client) -> tuple[int, list[int], str]:
    """36: tokens."""
    ids = [token.id for token in client.tokenize("Hello", no_special_tokens=True).tokens]
    return client.count_tokens("Hi", tools=[get_weather]).remaining_tokens, ids, client.detokenize(ids).text


def look_around(client: Client) -> tuple[list[Model], int, bool]:
    """37: models and health."""
    return client.models(timeout=5), client.model("pocket").context_length, client.health(max_retries=0)


def call_an_rpc(client: Client) -> str:
    """38: any RPC, with metadata and options of its own."""
    other = client.with_options(timeout=5, headers={"x-tenant": "a"})
    reply: Reply[GetModelResponse] = other.call(rpcs.GET_MODEL, GetModelRequest(model="pocket"), request_id="mine")
    return f"{reply.proto.model.id} {reply.request_id} {reply.metadata.get('x-request-id')!r}"


async def ask_concurrently() -> list[str]:
    """39: the asyncio client."""
    async with AsyncClient("localhost:50051") as client:
        completions = await asyncio.gather(*(client.complete(f"What is {n} plus 5?") for n in range(4)))
        return [completion.message.content for completion in completions]


async def stream_concurrently(client: AsyncClient) -> tuple[list[str], str, int | None]:
    """40: streams of the asyncio client."""
    async with client.stream("Hi") as stream:
        texts = [text async for text in stream.text]
    async with client.parse_stream(Dog, "Which dog?") as typed:
        name = (await typed.final()).parsed.name
    return texts, name, (await client.parse(int | None, "A number?")).parsed
