"""Randomness without state: each random number is a hash of (choice seed, position), whatever else runs.

The hash is SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
"""

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
MAX_SEED = 2**53
"""Derived seeds and seeds made by the server are below this, so that a double holds them exactly in any client."""


def choice_seed(seed: int, index: int) -> int:
    """The seed of a choice: the request's own for choice 0, else derived from it and the index."""
    return seed if index == 0 else _mix(_mix(seed) + index) % MAX_SEED


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) for the token at `position` of a sequence, counted from the start of the prompt."""
    return (_mix(_mix(seed) + position) >> 11) * 2.0**-53


def _mix(value: int) -> int:
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
