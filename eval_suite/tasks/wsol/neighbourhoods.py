"""What a pixel that joins a set of pixels changes, by the code of its ring: bit i is set where neighbour i is in the set.

Neighbours count clockwise from the upper left one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class RingTables(NamedTuple):
    """By ring code: which neighbours stand for the regions joined, and what is added to area and Euler number.

    ``contacts`` (2, 256, 5), without and with contact at corners, holds how many regions the ring shows, and one
    neighbour of each. ``area`` (256,) is in halves of a pixel: a 2x2 block counts two when all four pixels are in the set
    and one when three are. The Euler number (256,), with contact at corners, is (blocks of one - blocks of three - 2
    diagonal blocks) / 4.

    Reference: Gray, IEEE Transactions on Computers 1971.
    """

    contacts: NDArray[np.uint8]
    area: NDArray[np.int8]
    euler: NDArray[np.int8]


def ring_tables() -> RingTables:
    """The tables of all 256 codes, by going through them."""
    contacts = np.zeros((2, 256, 5), np.uint8)
    area, euler = np.zeros(256, np.int8), np.zeros(256, np.int8)
    for code in range(256):
        inside = [bool(code >> k & 1) for k in range(8)]
        for diagonal in (False, True):
            joined = _contacts(inside, diagonal)
            contacts[int(diagonal), code, : len(joined) + 1] = [len(joined), *joined]
        quarters = 0
        for corner in (0, 2, 4, 6):
            trio = [inside[corner - 1], inside[corner], inside[(corner + 1) % 8]]
            area[code] += (0, 0, 1, 1)[sum(trio)]
            before, after = _euler_quarters(trio, False), _euler_quarters(trio, True)
            quarters += after - before
        euler[code] = quarters // 4
    return RingTables(contacts, area, euler)


def _contacts(inside: list[bool], diagonal: bool) -> list[int]:
    """One neighbour of each region around a pixel that it touches, as the ring alone joins them."""
    if diagonal:
        # A side hangs together with the corner before it and, across that corner, with the side before.
        begins = [k for k in range(8) if inside[k] and not inside[k - 1] and not (k % 2 and inside[k - 2])]
        whole = inside[1]
    else:
        # Only sides touch the centre, and two of them hang together through the corner between them.
        begins = [k for k in (1, 3, 5, 7) if inside[k] and not (inside[k - 1] and inside[k - 2])]
        whole = all(inside)
    # A closed ring begins nowhere.
    return begins or ([1] if whole else [])


def _euler_quarters(trio: list[bool], centre: bool) -> int:
    count = sum(trio) + centre
    if count == 2:
        diagonal = (centre and trio[1]) or (not centre and trio[0] and trio[2])
        return -2 if diagonal else 0
    return (0, 1, 0, -1, 0)[count]
