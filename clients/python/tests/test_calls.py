"""What calls send and return. Every test runs for `Client` and for `AsyncClient`."""

from itertools import count

import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse

from both_clients import Connect
from fake_server import FakeServer
from onward.v1.completion_pb2 import CompleteRequest
from onward.v1.model_service_pb2 import GetModelRequest, GetModelResponse, ListModelsRequest, ListModelsResponse, Model
from onward.v1.tokenizer_service_pb2 import (
    CountTokensRequest,
    CountTokensResponse,
    DetokenizeRequest,
    DetokenizeResponse,
    Token,
    TokenizeRequest,
    TokenizeResponse,
)
from onward_client import Client, RequestError, UnavailableError, complete_request, rpcs, user
from responses import choice, response, text_response


def test_complete_returns_the_generated_response_and_its_text(client: Client, server: FakeServer) -> None:
    server.script.append(text_response("Hello."))

    completion = client.complete("Hi")

    assert completion.proto == text_response("Hello.")
    assert (completion.text, completion.finish_reason, completion.usage.prompt_tokens) == ("Hello.", "stop", 5)
    assert server.seen[0].request == CompleteRequest(messages=[user("Hi")])


def test_every_choice_can_be_read(client: Client, server: FakeServer) -> None:
    server.script.append(response(choice("one"), choice("two", index=1)))

    completion = client.complete("Hi", n=2)

    assert [each.text for each in completion.choices] == ["one", "two"]
    assert completion.text == "one"


def test_the_options_of_a_request_are_sent(client: Client, server: FakeServer) -> None:
    server.script.append(text_response())

    client.complete("Hi", model="pocket", temperature=0.0, stop="END", n=2)

    assert server.seen[0].request == complete_request("Hi", model="pocket", temperature=0.0, stop="END", n=2)


def test_every_call_has_a_deadline(client: Client, server: FakeServer) -> None:
    server.script.extend([text_response()] * 3)

    client.complete("Hi")
    client.complete("Hi", timeout=30)
    client.with_options(timeout=60).complete("Hi")

    default, own, changed = (seen.seconds_left for seen in server.seen)
    assert (round(default, -1), round(own, -1), round(changed, -1)) == (120, 30, 60)


def test_the_api_key_headers_and_request_id_are_sent_as_metadata(connect: Connect, server: FakeServer) -> None:
    server.script.append(text_response())
    client = connect(server.target, api_key="secret", headers={"x-tenant": "a"})

    client.complete("Hi", request_id="mine", headers={"traceparent": "b"})

    sent = server.seen[0].metadata
    assert sent["authorization"] == "Bearer secret"
    assert (sent["x-request-id"], sent["x-tenant"], sent["traceparent"]) == ("mine", "a", "b")
    assert str(sent["user-agent"]).startswith("onward-client ")


def test_without_an_api_key_only_a_random_request_id_is_sent(client: Client, server: FakeServer) -> None:
    server.script.extend([text_response()] * 2)

    client.complete("Hi")
    client.complete("Hi")

    assert "authorization" not in server.seen[0].metadata
    first, second = (seen.metadata["x-request-id"] for seen in server.seen)
    assert first
    assert first != second


def test_a_callable_api_key_is_called_for_every_call(connect: Connect, server: FakeServer) -> None:
    server.script.extend([text_response()] * 2)
    numbers = count(1)
    client = connect(server.target, api_key=lambda: f"key-{next(numbers)}")

    client.complete("Hi")
    client.complete("Hi")

    assert [seen.metadata["authorization"] for seen in server.seen] == ["Bearer key-1", "Bearer key-2"]


def test_with_options_does_not_change_the_original_client(connect: Connect, server: FakeServer) -> None:
    server.script.extend([text_response()] * 2)
    client = connect(server.target, headers={"x-tenant": "a"})

    client.with_options(api_key="secret", headers={"x-more": "b"}).complete("Hi")
    client.complete("Hi")

    changed, first = (seen.metadata for seen in server.seen)
    assert (changed["x-tenant"], changed["x-more"], changed["authorization"]) == ("a", "b", "Bearer secret")
    assert first["x-tenant"] == "a"
    assert not {"x-more", "authorization"} & first.keys()


def test_a_reply_has_the_metadata_and_request_id_of_the_server(client: Client, server: FakeServer) -> None:
    server.script.append(text_response())

    completion = client.complete("Hi", request_id="mine")

    assert completion.request_id == "server-id"
    assert completion.metadata["x-request-id"] == "server-id"


def test_any_rpc_can_be_called_with_its_generated_request(client: Client, server: FakeServer) -> None:
    server.script.append(GetModelResponse(model=Model(id="pocket")))

    reply = client.call(rpcs.GET_MODEL, GetModelRequest(model="p"), timeout=5)

    assert reply.proto == GetModelResponse(model=Model(id="pocket"))
    assert reply.metadata["x-request-id"] == "server-id"


def test_the_tokens_of_a_request_are_counted(client: Client, server: FakeServer) -> None:
    server.script.append(CountTokensResponse(prompt_tokens=7, remaining_tokens=9))

    counted = client.count_tokens("Hi", model="pocket")

    assert (counted.prompt_tokens, counted.remaining_tokens) == (7, 9)
    assert server.seen[0].request == CountTokensRequest(request=complete_request("Hi", model="pocket"))


def test_a_text_is_tokenized(client: Client, server: FakeServer) -> None:
    server.script.append(TokenizeResponse(tokens=[Token(id=3, token=b"Hi")]))

    assert [token.id for token in client.tokenize("Hi", model="pocket", no_special_tokens=True).tokens] == [3]
    assert server.seen[0].request == TokenizeRequest(model="pocket", text="Hi", no_special_tokens=True)


def test_a_whole_request_is_tokenized(client: Client, server: FakeServer) -> None:
    server.script.append(TokenizeResponse(prompt="<user>Hi"))

    assert client.tokenize(complete_request("Hi")).prompt == "<user>Hi"
    assert server.seen[0].request == TokenizeRequest(request=complete_request("Hi"))


def test_token_ids_are_detokenized(client: Client, server: FakeServer) -> None:
    server.script.append(DetokenizeResponse(text="Hi"))

    assert client.detokenize([1, 2], keep_special_tokens=True).text == "Hi"
    assert server.seen[0].request == DetokenizeRequest(token_ids=[1, 2], keep_special_tokens=True)


def test_models_are_listed_over_all_pages(client: Client, server: FakeServer) -> None:
    server.script.append(ListModelsResponse(models=[Model(id="a"), Model(id="b")], next_page_token="next"))
    server.script.append(ListModelsResponse(models=[Model(id="c")]))

    assert [model.id for model in client.models()] == ["a", "b", "c"]
    assert [seen.request for seen in server.seen] == [ListModelsRequest(), ListModelsRequest(page_token="next")]


def test_a_model_is_looked_up_by_name(client: Client, server: FakeServer) -> None:
    server.script.append(GetModelResponse(model=Model(id="pocket", context_length=512)))

    assert client.model("p").context_length == 512
    assert server.seen[0].request == GetModelRequest(model="p")


def test_health_asks_the_standard_health_service(client: Client, server: FakeServer) -> None:
    server.health.set("onward.v1.CompletionService", HealthCheckResponse.NOT_SERVING)

    assert client.health()
    assert not client.health("onward.v1.CompletionService")


def test_health_of_an_unreachable_server_is_an_error(connect: Connect, server: FakeServer) -> None:
    server.stop()

    with pytest.raises(UnavailableError):
        connect(server.target).health()


def test_a_closed_client_rejects_calls(client: Client) -> None:
    other = client.with_options(timeout=5)
    client.close()

    with pytest.raises(RequestError, match="the client is closed"):
        client.complete("Hi")
    with pytest.raises(RequestError, match="the client is closed"):
        other.complete("Hi")
    with pytest.raises(RequestError, match="the client is closed"), client.stream("Hi"):
        pass


def test_leaving_the_block_closes_the_client(connect: Connect, server: FakeServer) -> None:
    server.script.append(text_response())

    with connect(server.target) as client:
        client.complete("Hi")

    with pytest.raises(RequestError, match="the client is closed"):
        client.complete("Hi")


def test_long_prompts_and_long_completions_fit(client: Client, server: FakeServer) -> None:
    long = "a" * 10_000_000
    server.script.append(text_response(long))

    assert client.complete(long).text == long


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "timeout: must be a positive number of seconds, not 0"),
        ({"timeout": float("nan")}, "timeout: must be a positive number of seconds, not nan"),
        ({"max_retries": -1}, "max_retries: must be 0 or more, not -1"),
        ({"request_id": "a\nb"}, "request_id: must be printable ASCII"),
        ({"headers": {"X-Tenant": "a"}}, "headers: 'X-Tenant' must be lower-case"),
        ({"headers": {"x-tenant": "é"}}, "headers['x-tenant']: must be printable ASCII"),
    ],
    ids=str,
)
def test_an_option_that_cannot_be_sent_is_rejected_by_name(
    client: Client, options: dict[str, object], message: str
) -> None:
    with pytest.raises(RequestError) as raised:
        client.complete("Hi", **options)  # pyright: ignore[reportArgumentType] - that is what is tested

    assert str(raised.value).startswith(message)


def test_the_error_for_an_invalid_api_key_does_not_repeat_the_key(connect: Connect, server: FakeServer) -> None:
    with pytest.raises(RequestError, match=r"^api_key: must be printable ASCII$"):
        connect(server.target, api_key="secret\n").complete("Hi")


@pytest.mark.parametrize("method", ["complete", "stream", "parse", "count_tokens", "model", "with_options"])
def test_a_misspelled_option_is_rejected_with_the_right_name(client: Client, method: str) -> None:
    arguments = {"parse": (int, "Hi"), "model": ("pocket",), "with_options": ()}.get(method, ("Hi",))

    with pytest.raises(TypeError, match=r"'timeot'; did you mean 'timeout'\?"):
        getattr(client, method)(*arguments, timeot=1)
