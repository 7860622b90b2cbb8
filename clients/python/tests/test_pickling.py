"""Every exception and every result survives pickling, copying and a process pool, with all of its attributes."""

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo
from google.rpc.status_pb2 import Status
from pydantic import BaseModel, field_validator

import onward_client
from fake_server import FakeServer, failure
from onward.v1.tokenizer_service_pb2 import CountTokensResponse
from onward.v1.usage_pb2 import FinishReason
from onward_client import (
    TLS,
    APIError,
    AsyncClient,
    Client,
    Completion,
    Conversation,
    LengthFinishError,
    OnwardError,
    OutputError,
    OutputValidationError,
    ParsedCompletion,
    RequestError,
    complete_request,
)
from onward_client.errors import RpcFailure, trailers_of
from onward_client.replies import to_reply
from onward_client.results import to_completion, to_parsed
from responses import choice, events, response, text_response, tool_call


class City(BaseModel):
    """A city, whose name is checked by code."""

    name: str

    @field_validator("name")
    @classmethod
    def is_not_empty(cls, name: str) -> str:
        if not name:
            raise ValueError("an empty name")
        return name


COMPLETION = to_completion(to_reply(response(choice('{"name": "Rome"}')), "id", [("a", "b"), ("c-bin", b"\x00")]))
STATUS = Status(code=3, message="bad")
STATUS.details.add().Pack(ErrorInfo(reason="INVALID_PARAMETER", domain="onward", metadata={"a": "b"}))
STATUS.details.add().Pack(RequestInfo(request_id="server-id"))
STATUS.details.add().Pack(BadRequest(field_violations=[BadRequest.FieldViolation(field="n", description="too many")]))
FAILURE = RpcFailure(
    grpc.StatusCode.INVALID_ARGUMENT,
    "bad",
    initial_metadata=(("first", "1"),),
    trailing_metadata=(("grpc-status-details-bin", STATUS.SerializeToString()),),
)


def raised(action: Callable[[], object]) -> OnwardError:
    with pytest.raises(OnwardError) as caught:
        action()
    return caught.value


def subclasses(kind: type[OnwardError]) -> list[type[OnwardError]]:
    return [kind, *(found for each in kind.__subclasses__() for found in subclasses(each))]


def examples() -> dict[str, OnwardError]:
    """One exception of each class."""
    truncated = to_completion(to_reply(response(choice("{", finish=FinishReason.FINISH_REASON_LENGTH)), "id"))
    made: list[OnwardError] = [
        OnwardError("anything"),
        RequestError("n: must be a number"),
        OutputError("not what was asked for", COMPLETION),
        raised(lambda: truncated.parse(City)),
        raised(lambda: COMPLETION.parse(int)),
        *(kind(FAILURE, STATUS, "id", 3) for kind in subclasses(APIError) if issubclass(kind, APIError)),
    ]
    return {type(each).__name__: each for each in made}


EXAMPLES = examples()
WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {version}": lambda value, version=version: pickle.loads(pickle.dumps(value, version))  # noqa: S301
        for version in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def facts(error: OnwardError) -> dict[str, object]:
    """The attributes of an exception, in a form that can be compared."""
    attributes = {
        name: str(value) if isinstance(value, BaseException) else value for name, value in vars(error).items()
    }
    return {**attributes, "text": str(error), "args": error.args}


def test_there_is_an_example_of_every_exception() -> None:
    assert EXAMPLES.keys() == {kind.__name__ for kind in subclasses(OnwardError)}
    assert EXAMPLES.keys() == {name for name in onward_client.__all__ if name.endswith("Error")}


@every_way
@pytest.mark.parametrize("error", EXAMPLES.values(), ids=EXAMPLES)
def test_an_exception_keeps_its_type_and_attributes(error: OnwardError, way: Callable[[Any], Any]) -> None:
    """An exception that a process pool cannot unpickle breaks the pool and loses the results of its other jobs."""
    copied = way(error)

    assert type(copied) is type(error)
    assert facts(copied) == facts(error)


@every_way
def test_a_failed_call_keeps_what_grpc_raised(client: Client, server: FakeServer, way: Callable[[Any], Any]) -> None:
    server.script.append(failure(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMETER"))
    error = raised(lambda: client.complete("Hi"))
    assert isinstance(error, APIError)

    copied = way(error)

    assert isinstance(copied.rpc_error, grpc.RpcError)
    assert copied.__cause__ is copied.rpc_error
    assert (copied.rpc_error.code(), copied.rpc_error.details()) == (error.code, error.message)
    assert trailers_of(copied.rpc_error) == trailers_of(error.rpc_error) != ()
    assert {name: value for name, value in facts(copied).items() if name != "rpc_error"} == {
        name: value for name, value in facts(error).items() if name != "rpc_error"
    }


@every_way
def test_a_validation_error_of_a_validator_is_kept(way: Callable[[Any], Any]) -> None:
    error = raised(lambda: to_completion(to_reply(response(choice('{"name": ""}')), "id")).parse(City))
    assert isinstance(error, OutputValidationError)

    copied = way(error)

    assert isinstance(copied.validation_error, ValueError)
    assert str(copied.validation_error) == str(error.validation_error)
    assert (copied.text, copied.response, str(copied)) == ('{"name": ""}', error.response, str(error))


@every_way
def test_a_cause_that_cannot_be_pickled_is_kept_as_text(way: Callable[[Any], Any]) -> None:
    class LocalError(ValueError):
        """An exception whose class another process cannot import."""

    error = OutputValidationError("wrong", COMPLETION, "text", LocalError("too long"))

    copied = way(error)

    assert type(copied.validation_error) is ValueError
    assert str(copied.validation_error) == "too long"
    assert facts(copied) == facts(error)


def results() -> dict[str, object]:
    made = [
        COMPLETION,
        COMPLETION.choices[0],
        COMPLETION.message,
        COMPLETION.usage,
        to_parsed(City, COMPLETION),
        to_parsed(dict[str, str], COMPLETION),
        to_reply(CountTokensResponse(prompt_tokens=3), "id"),
        Conversation("Hi", COMPLETION),
        TLS(ca="ca.pem"),
        complete_request("Hi", tools=[City]),
        tool_call("f", "{}"),
    ]
    return {f"{number} {type(value).__name__}": value for number, value in enumerate(made)}


RESULTS = results()


@every_way
@pytest.mark.parametrize("value", RESULTS.values(), ids=RESULTS)
def test_a_result_keeps_its_type_and_value(value: object, way: Callable[[Any], Any]) -> None:
    copied = way(value)

    assert type(copied) is type(value)
    assert _plain(copied) == _plain(value)


@every_way
def test_the_snapshot_of_a_stream_can_be_kept(client: Client, server: FakeServer, way: Callable[[Any], Any]) -> None:
    server.script.append([*events(text_response("Hello."))])

    with client.stream("Hi") as stream:
        final = stream.final()

    assert way(final) == way(stream.snapshot) == final


def fail(name: str) -> None:
    raise EXAMPLES[name]


def parse(text: str) -> ParsedCompletion[City]:
    return to_parsed(City, to_completion(to_reply(response(choice(text)), "id")))


def test_a_process_pool_returns_exceptions_and_results() -> None:
    names = sorted(EXAMPLES)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        failed = [pool.submit(fail, name) for name in names]
        parsed = pool.submit(parse, '{"name": "Rome"}')
        invalid = pool.submit(parse, '{"name": ""}')

        errors = [each.exception() for each in failed]
        assert [type(each).__name__ for each in errors] == names
        assert [str(each) for each in errors] == [str(EXAMPLES[name]) for name in names]
        assert parsed.result().parsed == City(name="Rome")
        assert isinstance(invalid.exception(), OutputValidationError)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_that_is_pickled_says_what_to_do(kind: type[Client] | type[AsyncClient]) -> None:
    client = kind("localhost:1")

    for way in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or deeply copied; create one in each process"):
            way(client)
    assert type(copy.copy(client)) is kind


def test_a_length_error_keeps_the_partial_output() -> None:
    error = pickle.loads(pickle.dumps(EXAMPLES["LengthFinishError"]))  # noqa: S301

    assert isinstance(error, LengthFinishError)
    assert isinstance(error.response, Completion)
    assert error.response.text == "{"


def _plain(value: object) -> object:
    return list(value) if isinstance(value, Conversation) else value
