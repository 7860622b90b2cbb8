"""KV slots: which one is taken, and that a lost slot is noticed."""

import pytest

from onward_server.engine.kv_slots import KvSlots


def test_the_lowest_free_slot_is_taken() -> None:
    slots = KvSlots(3)
    assert [slots.take(), slots.take(), slots.take()] == [0, 1, 2]
    slots.give_back(2)
    slots.give_back(0)
    assert (slots.num_free, slots.take()) == (2, 0)
    slots.check_integrity()


def test_a_slot_is_taken_only_while_one_is_free() -> None:
    slots = KvSlots(1)
    slots.take()
    with pytest.raises(IndexError):
        slots.take()


def test_a_slot_cannot_be_given_back_twice() -> None:
    slots = KvSlots(2)
    slot = slots.take()
    slots.give_back(slot)
    with pytest.raises(KeyError):
        slots.give_back(slot)


def test_a_lost_slot_fails_the_integrity_check() -> None:
    slots = KvSlots(2)
    slots._used.discard(slots.take())
    with pytest.raises(AssertionError, match=r"slots free \[1\], used \[\], of 2"):
        slots.check_integrity()
