"""Requests whose completions are compared exactly, and the compared parts of the responses."""

from collections.abc import AsyncIterable, Sequence

from onward.v1.completion_pb2 import CompleteRequest, CompleteResponse, RawPrompt, StreamCompleteResponse, TokenIds
from onward.v1.sampling_pb2 import LogprobOptions, SamplingParams
from tests.serving import Served


def text_of(response: CompleteResponse) -> str:
    """The text of the first choice."""
    return response.choices[0].message.content[0].text


async def streamed_text(events: AsyncIterable[StreamCompleteResponse]) -> str:
    """The joined text of all deltas."""
    return "".join([event.delta.text async for event in events])


def greedy(prompt_ids: Sequence[int], max_tokens: int) -> CompleteRequest:
    """The likeliest tokens after the prompt, with their log probabilities."""
    return CompleteRequest(
        raw_prompt=RawPrompt(token_ids=TokenIds(ids=prompt_ids)),
        sampling=SamplingParams(temperature=0, max_tokens=max_tokens),
        logprobs=LogprobOptions(),
    )


def ids_of(response: CompleteResponse) -> list[int]:
    """The sampled token ids of the first choice."""
    return [logprob.chosen.token_id for logprob in response.choices[0].logprobs]


async def greedy_ids(served: Served, prompt_ids: Sequence[int], max_tokens: int) -> list[int]:
    """The ids of the likeliest tokens after the prompt."""
    return ids_of(await served.completions.Complete(greedy(prompt_ids, max_tokens)))


def sampled(text: str, seed: int, max_tokens: int) -> CompleteRequest:
    """A sampled completion of a raw text."""
    return CompleteRequest(
        raw_prompt=RawPrompt(text=text),
        sampling=SamplingParams(temperature=1, top_p=0.9, seed=seed, max_tokens=max_tokens),
        logprobs=LogprobOptions(top_logprobs=3),
    )
