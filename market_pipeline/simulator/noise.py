"""Random numbers that are looked up instead of drawn: a name and an index always give the same
ones, in any order, in any process."""

from functools import lru_cache
from hashlib import blake2b

import numpy as np

_MASK = (1 << 64) - 1


@lru_cache(maxsize=4096)
def name_key(name: str) -> int:
    """64 bits that depend on every character of `name`."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")


def uniform(name: str, index: int) -> float:
    """A number in [0, 1) for `index` of the sequence `name`.

    The finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", 2014).
    """
    bits = (name_key(name) + index * 0x9E3779B97F4A7C15) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((bits ^ (bits >> 31)) >> 11) / (1 << 53)


def generator(name: str, index: int) -> np.random.Generator:
    """The generator of block `index` of the sequence `name`; blocks are independent."""
    return np.random.Generator(np.random.Philox(key=[name_key(name), index & _MASK]))
