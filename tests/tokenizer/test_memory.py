"""A limited address space (`ulimit -v`): an error that can be caught, where the `tokenizers` package would
end the process; and a long text is encoded without threads if there is no room for them."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")

KINDS = ["bpe", "unigram", "plamo2", "spm"]

# limit(n): from here on the process may take n more megabytes.
START = """
import resource, sys
import tiny_vocabulary
metadata = getattr(tiny_vocabulary, sys.argv[1])()
def limit(n):
    line = next(line for line in open("/proc/self/status") if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, ((int(line.split()[1]) + 1024 * n) * 1024,) * 2)
"""


def run(script: str, kind: str) -> str:
    command = [sys.executable, "-c", START + script, kind]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.parametrize("kind", KINDS)
def test_no_room_for_a_tokenizer(kind: str) -> None:
    script = """
limit(8)
try:
    tiny_vocabulary.make(metadata)
except MemoryError as error:
    print(error)
"""
    message = run(script, kind)
    assert "no memory for the tokenizer, which takes some 21 MB; `ulimit -v`" in message


@pytest.mark.parametrize("kind", KINDS)
def test_no_room_for_threads(kind: str) -> None:
    script = """
tokenizer = tiny_vocabulary.make(metadata)
limit(60)
print(*tokenizer.encode("the quick brown fox\\n" * 4000))
"""
    ids = run(script, kind)
    assert len(ids.split()) > 4000
    assert ids == run(script.replace("limit(60)", ""), kind)
