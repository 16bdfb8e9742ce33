"""Seeded mutation of a sound GGUF file, and a survey of what a consumer makes of the mutants.

    survey(data, lambda path: load_gguf(path).close(), path, seed=1, n=20_000)

Any other consumer of a path may be given, such as the loading of a whole model.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from forge import number_fields

from nybble.errors import GGUFFormatError, GGUFUnsupportedError, ModelError

ALLOWED = (GGUFFormatError, GGUFUnsupportedError, ModelError)
_BOUNDARIES = [0, 1, 2, 3, 4, 5, 8, 9, 12, 13, 31, 32, 33, 63, 64, 255, 256, 65535, 65536]
_BOUNDARIES += [2**k + d for k in (20, 24, 30, 31, 32, 40, 62, 63, 64) for d in (-64, -1, 0, 1)]


def mutants(data: bytes, seed: int, n: int) -> Iterator[bytes]:
    """`n` mutants of a sound file: one to three mutations each, most of them ahead of the tensor data.

    Half of the mutations change a number that means something (a count, a length, a type, an offset …) to one
    at a boundary or near the old one; the others flip bits, cut, insert, delete, or copy bytes around.
    """
    rng = random.Random(seed)
    fields = number_fields(data)
    header_end = max(offset + size for offset, size in fields)
    mutations = [_set_number] * 5 + [_flip_bits, _cut, _insert, _delete, _splice]
    for _ in range(n):
        mutant = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 3))):
            rng.choice(mutations)(mutant, rng, fields, header_end)
        yield bytes(mutant)


def survey(
    data: bytes,
    consume: Callable[[Path], object],
    path: Path,
    *,
    seed: int,
    n: int,
    max_seconds: float = 1.0,
) -> Counter[str]:
    """`survey_all` of `n` mutants of `data`."""
    return survey_all(mutants(data, seed, n), consume, path, name=f"seed {seed}", max_seconds=max_seconds)


def survey_all(
    files: Iterable[bytes],
    consume: Callable[[Path], object],
    path: Path,
    *,
    name: str,
    max_seconds: float = 1.0,
) -> Counter[str]:
    """Gives every mutant, as the file `path`, to `consume`; returns how often each outcome occurred.

    An outcome that is not allowed, or a slow one, raises AssertionError and leaves the mutant in the file;
    `name` tells where it came from.
    """
    outcomes: Counter[str] = Counter()
    for index, mutant in enumerate(files):
        path.unlink(missing_ok=True)  # ext4 hurries a file to disk that is cut to nothing and written again
        path.write_bytes(mutant)
        start = time.process_time()
        try:
            consume(path)
            outcome = "OK"
        except ALLOWED as error:
            outcome = type(error).__name__
            if str(path) not in str(error):
                raise AssertionError(f"mutant {index} of {name}: no path in {error!r}") from error
        except BaseException as error:
            raise AssertionError(f"mutant {index} of {name} in {path}: {error!r}") from error
        elapsed = time.process_time() - start
        if elapsed > max_seconds:
            raise AssertionError(f"mutant {index} of {name} in {path} took {elapsed:.2f} s")
        outcomes[outcome] += 1
    return outcomes


_Fields = list[tuple[int, int]]


def _set_number(mutant: bytearray, rng: random.Random, fields: _Fields, header_end: int) -> None:
    offset, size = rng.choice(fields)
    old = int.from_bytes(mutant[offset : offset + size], "little")
    near = [old - 1, old + 1, old + 8, old * 2, old ^ (1 << rng.randrange(8 * size)), -1, -old]
    value = rng.choice(near if rng.random() < 0.5 else _BOUNDARIES) % (1 << 8 * size)
    mutant[offset : offset + size] = value.to_bytes(size, "little")


def _flip_bits(mutant: bytearray, rng: random.Random, fields: _Fields, header_end: int) -> None:
    for _ in range(rng.randint(1, 4)):
        if mutant:
            mutant[_place(mutant, rng, header_end) % len(mutant)] ^= 1 << rng.randrange(8)


def _cut(mutant: bytearray, rng: random.Random, fields: _Fields, header_end: int) -> None:
    del mutant[_place(mutant, rng, header_end) :]


def _insert(mutant: bytearray, rng: random.Random, fields: _Fields, header_end: int) -> None:
    place = _place(mutant, rng, header_end)
    mutant[place:place] = rng.randbytes(rng.choice((1, 4, 8, 32, 1000)))


def _delete(mutant: bytearray, rng: random.Random, fields: _Fields, header_end: int) -> None:
    place = _place(mutant, rng, header_end)
    del mutant[place : place + rng.choice((1, 4, 8, 32, 1000))]


def _splice(mutant: bytearray, rng: random.Random, fields: _Fields, header_end: int) -> None:
    source, place, length = (
        _place(mutant, rng, header_end),
        _place(mutant, rng, header_end),
        rng.randint(1, 64),
    )
    mutant[place : place + length] = mutant[source : source + length]


def _place(mutant: bytearray, rng: random.Random, header_end: int) -> int:
    """Nine times of ten in the header, else anywhere."""
    return rng.randint(0, min(header_end, len(mutant)) if rng.random() < 0.9 else len(mutant))
