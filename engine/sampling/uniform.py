"""The random numbers of sampling: by counter, so that the draw of a token depends on no other draw.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

_WORD = 2**64 - 1
_MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
_KEY_STEPS = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
_N_ROUNDS = 10


def uniform(seed: int, choice: int, index: int, lane: int = 0) -> float:
    """A number in [0, 1) for the generated token number `index` (0 is the first) of alternative `choice` (0
    if there is one only): the same at every call, on every machine. Those of different lanes have nothing to
    do with each other: lane 0 draws the token.

    It is (w >> 11) / 2**53, where w is the first 64-bit word of the block that Philox4x64-10 makes of the key
    (seed, choice) and the counter (index, lane, 0, 0). The four are 0 to 2**64 - 1.
    """
    return (philox((seed, choice), (index, lane, 0, 0))[0] >> 11) * 2.0**-53


def philox(key: tuple[int, int], counter: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The block of Philox4x64-10 for a key and a counter; all are words of 64 bits.

    5 us in Python's integers; `numpy.random.Philox` takes 13 to make, and adds 1 to the counter first.
    """
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(_N_ROUNDS):
        even, odd = x0 * _MULTIPLIERS[0], x2 * _MULTIPLIERS[1]
        x0, x1 = odd >> 64 ^ x1 ^ k0, odd & _WORD
        x2, x3 = even >> 64 ^ x3 ^ k1, even & _WORD
        k0, k1 = k0 + _KEY_STEPS[0] & _WORD, k1 + _KEY_STEPS[1] & _WORD
    return x0, x1, x2, x3
