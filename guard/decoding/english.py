"""How English letters look in their order: what tells a sentence from its rotated or reversed form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.int32]

GAP = 26  # stands for everything that is no letter
# -2 ln p(next letter | letter), rounded, as one base-36 digit for each pair out of a to z and "no letter".
# Counted over the ASCII words of wordfreq's small English list, each weighted with the root of its
# frequency: names and rare words look English too. A millionth of the sum is added to each pair.
_TABLE = """
e766c97b6d8464d7e464889c7b6
48bc3ggd5ah4bd4eg57a5dej8j7
4e8d4gf46i66ef3ed6956hhj9g6
6dc83c9c4df9ab6dg77d7abj9i2
6b74799c9fc675a8b447c8a8ae3
5ecf45dj3jg6eg4fj5a75jeg9j5
5ege4e856kg7b76ei57a6kek9i2
4beb3did4khaaa4ef7a67gbi8f4
6957687gefb67358d755c7ici98
3ddd3ddf7cdddf3bfbcd3ddfff7
6ceb2bca4gd8c68bia5b9fbi8i3
4cb73acf4ja4ad5bld777adl5i4
37bf3cff4ihc6b55kc7e7fei9i5
6d65594c6c9bc87dec5499df9e3
9877a88b8d966367j466576bae6
4dcc4ed65ie5be46k4767ffkai5
abceeeee9eebeeececec0eeeee6
4a873b8c4i99885ag76689ch7i4
7d7d5ce65ka99b67dd647gamam2
5d9f4cf53jh8bc6dk5677fai7e3
67676a7e7gb564b6h445gdhcbc8
4hfd1ffg3jjegj5djdcecggjaj8
3bca3bg54gb9d65di77begcibi4
5c5c5bg84ggbcg93dge48bdb9g3
8a9a6dde7jg98969ja69bfbjjd1
4bfc2cc94ff8ff5cfccd8cff764
5656667669976875b646887fado
"""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of ASCII letters in a text.

    Attributes:
        pairs: for each place between two characters, outer ends included, 27 times the letter in front
            plus the one behind.
        starts: index of each word's first character.
        ends: index behind each word's last one.
    """

    pairs: npt.NDArray[np.int32]
    starts: npt.NDArray[np.intp]
    ends: npt.NDArray[np.intp]

    def cost(self, table: Costs) -> Costs:
        """Each word's cost under a table, the steps into and out of the word included."""
        sums = np.zeros(len(self.pairs) + 1, np.int32)
        np.cumsum(table[self.pairs], out=sums[1:])
        return sums[self.ends + 1] - sums[self.starts]

    def some(self, chosen: npt.NDArray[np.intp]) -> Words:
        """The chosen words alone, as if nothing stood between them."""
        lengths = self.ends[chosen] - self.starts[chosen] + 1
        ends = np.cumsum(lengths) - 1
        starts = ends - lengths + 1
        places = np.arange(lengths.sum()) + np.repeat(self.starts[chosen] - starts, lengths)
        return Words(self.pairs[places], starts, ends)


def words(text: str) -> Words:
    """The words of a text."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    letters = np.full(len(points) + 2, GAP, np.int32)
    letters[1:-1] = _letters()[np.minimum(points, 127)]
    gap = letters == GAP
    borders = np.flatnonzero(gap[1:] != gap[:-1])
    return Words(letters[:-1] * 27 + letters[1:], borders[::2], borders[1::2])


@cache
def costs() -> Costs:
    """The cost of each pair, in half nats; 27 x 27, flat."""
    table = np.array([[int(digit, 36) for digit in row] for row in _TABLE.split()], np.int32)
    table[GAP, GAP] = 0
    return table.ravel()


def rearranged(order: list[int]) -> Costs:
    """The cost of each pair if letter ``i`` stands for letter ``order[i]``."""
    places = np.array([*order, GAP])
    table: Costs = costs().reshape(27, 27)[np.ix_(places, places)]
    return table.ravel()


@cache
def backwards() -> Costs:
    """The cost of each pair if it is read from right to left."""
    return costs().reshape(27, 27).T.ravel()


# In half nats a pair: names cost 5.5 in the middle and 99 in 100 of them less than 7.6; words of six letters
# drawn by lot cost 9.3, and one in four of them less than this.
_LOOKS_ENGLISH = 8.0
_SHORT = 24  # letters of a word for which numpy takes longer than a loop


def looks_english(text: str, most: float = _LOOKS_ENGLISH) -> bool:
    """True unless the text's ASCII letters stand in an order that neither words nor names have.

    Args:
        most: half nats a pair that they may cost.
    """
    if len(text) <= _SHORT and text.isascii() and text.isalpha():
        pairs, lowered = _pairs(), f" {text.lower()} "
        cost = sum(pairs[lowered[i : i + 2]] for i in range(len(lowered) - 1))
        return cost <= most * (len(text) + 1)
    found = words(text)
    return int(found.cost(costs()).sum()) <= most * int((found.ends - found.starts + 1).sum())


@cache
def _pairs() -> dict[str, int]:
    """The cost of each pair by its letters, a blank for no letter."""
    letters = "abcdefghijklmnopqrstuvwxyz "
    return {a + b: int(costs()[27 * i + j]) for i, a in enumerate(letters) for j, b in enumerate(letters)}


@cache
def _letters() -> npt.NDArray[np.int32]:
    table = np.full(128, GAP, np.int32)
    for first in (ord("A"), ord("a")):
        table[first : first + 26] = np.arange(26)
    return table
