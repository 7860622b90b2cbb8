"""Whatever a completion returns is valid in the messages of the next request."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from onward.v1 import chat_pb2, completion_pb2
from onward_server.api import decode, encode
from onward_server.completion.answer.choice_stream import ChoiceStream
from onward_server.completion.answer.detokenizer import Detokenizer
from onward_server.completion.answer.output_context import OutputContext
from onward_server.completion.answer.output_format import OutputFormat
from onward_server.completion.answer.output_parser import OutputParser
from onward_server.completion.answer.reasoning_formats import THINK
from onward_server.completion.answer.tool_formats.hermes import HERMES
from onward_server.completion.collect import collect
from onward_server.completion.prompt.chat_template import ChatTemplate
from onward_server.completion.validation import ModelLimits, validate
from onward_server.domain import (
    CompletionEnded,
    CompletionEvent,
    CompletionStarted,
    EndOfSequence,
    FinishReason,
    FunctionTool,
    ModelCapabilities,
    Timings,
    Usage,
)
from onward_server.engine.generation import Finish, TokenSampled
from onward_server.model.tokenizer import Tokenizer
from onward_server.sampling import SamplingParams
from testing.fakes_completion import CARD
from testing.tiny_model import write_tiny_tokenizer
from tests.template_files import template_source

EOS = 2
STOP, LENGTH = Finish(FinishReason.STOP, EndOfSequence(EOS)), Finish(FinishReason.LENGTH)
SAMPLING = SamplingParams(max_tokens=100, seed=9)
ABLE = ModelCapabilities(
    chat=True,
    tools=True,
    system_role=True,
    structured_output=True,
    max_n=1,
    max_top_logprobs=1,
    deterministic=True,
    reasoning=True,
)
CALL = '<tool_call>{"name": "f", "arguments": {"a": [1]}}</tool_call>'


def calling(arguments: str) -> str:
    return f'<tool_call>{{"name": "f", "arguments": {arguments}}}</tool_call>'


OUTPUTS: dict[str, tuple[str, Finish | None, FinishReason]] = {
    "nothing": ("", STOP, FinishReason.STOP),
    "white space": (" \n", STOP, FinishReason.STOP),
    "text": ("It is 12.", STOP, FinishReason.STOP),
    "reasoning only": ("<think>hm</think>", STOP, FinishReason.STOP),
    "reasoning that was cut": ("<think>hm", LENGTH, FinishReason.LENGTH),
    "text that was cut": ("It is", Finish(FinishReason.CONTEXT_LENGTH), FinishReason.CONTEXT_LENGTH),
    "nothing in time": ("", None, FinishReason.TIME_LIMIT),
    "a call": (CALL, STOP, FinishReason.TOOL_CALLS),
    "reasoning, text and two calls": (f"<think>hm</think>So{CALL}{CALL}", STOP, FinishReason.TOOL_CALLS),
    "a call that was cut": ('<tool_call>{"name": "f", "arg', LENGTH, FinishReason.LENGTH),
    "a call, and one that was cut": (f"{CALL}<tool_call>", LENGTH, FinishReason.LENGTH),
    "a call that was cut in time": ("<tool_call>{", None, FinishReason.TIME_LIMIT),
    "a malformed call": ("<tool_call>[1]</tool_call>", STOP, FinishReason.INVALID_TOOL_CALL),
    "a call of an unknown tool": (CALL.replace('"f"', '"g"'), STOP, FinishReason.INVALID_TOOL_CALL),
    "arguments that are no object": (calling("[1]"), STOP, FinishReason.INVALID_TOOL_CALL),
    "a number that is too large": (calling('{"a": 1e400}'), STOP, FinishReason.INVALID_TOOL_CALL),
    "too many digits": (calling(f'{{"a": {"9" * 5000}}}'), STOP, FinishReason.INVALID_TOOL_CALL),
    "half a surrogate pair": (calling(r'{"a": "\ud800"}'), STOP, FinishReason.INVALID_TOOL_CALL),
    "too many levels": (calling('{"a":' * 101 + "1" + "}" * 101), STOP, FinishReason.INVALID_TOOL_CALL),
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tiny_tokenizer(folder)
    return Tokenizer.load(folder)


async def completed(tokenizer: Tokenizer, output: str, finish: Finish | None) -> completion_pb2.Choice:
    """The choice for a model's output. Without `finish`, the time limit ends it."""
    choice = ChoiceStream(
        index=0,
        seed=9,
        sampling=SAMPLING,
        tokenizer=tokenizer,
        detokenizer=Detokenizer(tokenizer, at_text_start=False),
        parser=OutputParser(
            OutputFormat(tools=HERMES, reasoning=THINK), OutputContext(tools=(FunctionTool(name="f"),))
        ),
    )

    async def events() -> AsyncGenerator[CompletionEvent]:
        yield CompletionStarted(
            id="", create_time_s=0, model="", system_fingerprint="", prompt_tokens=1, effective_sampling=SAMPLING
        )
        for token_id in tokenizer.encode(output, add_special_tokens=False).ids:
            for event in choice.add(TokenSampled(request_id="", index=0, token_id=token_id)):
                yield event
        last = TokenSampled(request_id="", index=0, token_id=EOS, finish=finish)
        for event in choice.add(last) if finish else choice.expire():
            yield event
        timings = Timings(queue_s=0, prefill_s=0, decode_s=0, first_token_s=0, total_s=0)
        yield CompletionEnded(usage=Usage(prompt_tokens=1, completion_tokens=1), timings=timings)

    return encode.completion(await collect(events())).choices[0]


def prompt_after(returned: chat_pb2.Message) -> str:
    """The prompt of a request that sends the message back, with a result for each of its calls; it must be valid."""
    user = chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text="Hi")])
    results = [chat_pb2.Message(role=chat_pb2.ROLE_TOOL, tool_call_id=call.id) for call in returned.tool_calls]
    request = completion_pb2.CompleteRequest(messages=[user, returned, *results, user])
    decoded = decode.complete_request(request.SerializeToString())
    limits = ModelLimits(card=replace(CARD, capabilities=ABLE), num_sampleable=100, eos_token_ids=frozenset({EOS}))
    validate(decoded.request, limits, decoded.violations)
    template = ChatTemplate({"default": template_source("chatml_tools")}, named_tokens={})
    return template.render(decoded.request.messages).text


@pytest.mark.parametrize("name", OUTPUTS)
async def test_the_message_of_a_completion_can_be_sent_back(tokenizer: Tokenizer, name: str) -> None:
    output, finish, reason = OUTPUTS[name]
    choice = await completed(tokenizer, output, finish)
    assert choice.finish_reason == encode.FINISH_REASONS[reason]
    assert "Hi" in prompt_after(choice.message)


@pytest.mark.parametrize(
    "name", [name for name in OUTPUTS if "call" in name or OUTPUTS[name][2] is FinishReason.INVALID_TOOL_CALL]
)
async def test_an_invalid_call_can_be_sent_back_as_its_raw_text(tokenizer: Tokenizer, name: str) -> None:
    choice = await completed(tokenizer, *OUTPUTS[name][:2])
    message = choice.message
    message.content.append(chat_pb2.ContentPart(text=choice.invalid_tool_call))
    assert choice.invalid_tool_call.strip() in prompt_after(message)
