import asyncio

from onward_server.api.fair_queue import FairQueue


async def test_sources_take_turns_and_each_keeps_its_order() -> None:
    queue = FairQueue[str]()
    for source, item in (("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"), ("b", "b2")):
        queue.put(source, item)

    assert [await queue.get() for _ in range(6)] == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_an_item_of_another_source_waits_for_one_item_of_a_long_queue() -> None:
    queue = FairQueue[int]()
    for number in range(1000):
        queue.put("flood", number)
    taken = [await queue.get(), await queue.get()]
    queue.put("other", -1)
    taken += [await queue.get(), await queue.get()]

    assert taken == [0, 1, 2, -1]


async def test_an_empty_queue_waits_for_an_item() -> None:
    queue = FairQueue[int]()
    waiting = [asyncio.ensure_future(queue.get()) for _ in range(2)]
    queue.put("a", 1)
    first = await waiting[0]
    was_waiting = not waiting[1].done()
    queue.put("a", 2)

    assert (first, was_waiting, await waiting[1]) == (1, True, 2)
