"""Streams, stop strings and the shared context, on an executor and a tokenizer made up for it."""

import os
import sys
import threading

import numpy as np
import pytest
import tiny_vocabulary
from hypothesis import given
from hypothesis import strategies as st

from nybble.engine.context import Context
from nybble.engine.generation import StopScanner, TextStream
from nybble.engine.sampling import SamplingParams
from nybble.gguf_io.errors import ModelError, NybbleError

N_VOCAB, EOG = 100, 99


class ScriptedExecutor:
    """The next token is `script[position]`, provided that the state was fed each position once, in order."""

    compile_seconds = 0.0
    weight_bytes_per_token = 0

    def __init__(self, script=()):
        self.script = list(script)
        self.seen: list[int] = []
        self.calls: list[tuple[int, int]] = []
        self.closed = False
        self.poison: int | None = None

    def forward(self, ids, start, rows, taps=None):
        assert start == len(self.seen) and ids.dtype == np.int32
        self.seen += ids.tolist()
        self.calls.append((start, len(ids)))
        logits = np.zeros((len(rows), N_VOCAB), np.float32)
        for i, row in enumerate(rows):
            position = start + int(row)
            token = (
                self.script[position] if position < len(self.script) else sum(self.seen[: position + 1]) % 90
            )
            logits[i, token] = 1.0
            if position == self.poison:
                logits[i, 5] = np.nan
        return logits

    def reset(self):
        self.seen = []

    def truncate(self, n_positions):
        self.seen = self.seen[:n_positions]

    def close(self):
        self.closed = True


class LetterTokenizer:
    """Token i is chr(32 + i); 99 ends the text."""

    eog_ids = frozenset({EOG})

    def encode(self, text, add_special=True, parse_special=False):
        return [ord(letter) - 32 for letter in text]

    def stream_decoder(self, continuation):
        assert continuation

        class Decoder:
            def push_bytes(self, token_id):
                return bytes([32 + token_id])

            def push(self, token_id):
                return chr(32 + token_id)

            def flush(self):
                return ""

        return Decoder()


def ids_of(text):
    return LetterTokenizer().encode(text)


def stream(script_text, prompt="ab", n_ctx=50, n_batch=8, **params):
    """A stream whose executor answers `prompt` with `script_text`, where "~" stands for the end."""
    script = [EOG if letter == "~" else ord(letter) - 32 for letter in script_text]
    executor = ScriptedExecutor([0] * (len(prompt) - 1) + script)
    context = Context(executor, N_VOCAB, n_ctx, n_batch)
    return TextStream(
        context, LetterTokenizer(), np.asarray(ids_of(prompt), np.int32), SamplingParams(**params)
    )


# --- streams


def test_the_end_of_generation_token_ends_the_text():
    s = stream("Hello~!!")
    assert list(s) == list("Hello")
    assert (s.finish_reason, s.token_ids) == ("stop", ids_of("Hello"))
    assert list(s) == []


def test_max_tokens_ends_the_text():
    s = stream("Hello world", max_tokens=4)
    assert ("".join(s), s.finish_reason, len(s.token_ids)) == ("Hell", "length", 4)


def test_the_context_ends_the_text():
    s = stream("x" * 100, prompt="abcde", n_ctx=8)
    assert ("".join(s), s.finish_reason) == ("xxxx", "length")  # the last one needs no place
    assert len(s._context._executor.seen) == 8


def test_a_prompt_as_long_as_the_context_gives_one_token():
    assert "".join(stream("xyz", prompt="abcde", n_ctx=5)) == "x"


@pytest.mark.parametrize(
    ("script", "stop", "text", "reason"),
    [
        ("one two~", [" "], "one", "stop"),
        ("one two~", ["two"], "one ", "stop"),
        ("one two~", ["x", "ne", "e t"], "o", "stop"),
        ("aab aac~", ["aac"], "aab ", "stop"),
        ("abab~", ["abac"], "abab", "stop"),
        ("ab~", ["abc"], "ab", "stop"),
        ("abcdefgh", ["zz"], "abcdef", "length"),
        ("abcdefgh", ["fgh"], "abcdef", "length"),
        ("abcdefgh", ["ef"], "abcd", "stop"),
    ],
)
def test_stop_strings(script, stop, text, reason):
    s = stream(script, max_tokens=6 if "~" not in script else 20, stop=stop)
    pieces = list(s)
    assert ("".join(pieces), s.finish_reason) == (text, reason)
    assert all(pieces)


@given(
    st.lists(st.text("ab", min_size=0, max_size=4), max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=5), max_size=3),
)
def test_the_scanner_never_shows_what_it_should_not(pieces, stop):
    scanner, shown, came = StopScanner(stop), "", ""
    for piece in pieces:
        came += piece
        shown += scanner.push(piece)
        assert not any(s in shown for s in stop)
        if scanner.found:
            break
        assert came.startswith(shown)
    else:
        assert shown + scanner.flush() == came
        assert not any(s in came for s in stop)
        return
    first = min(came.find(s) for s in stop if s in came)
    assert shown == came[:first]


@pytest.mark.parametrize(("prompt", "text"), [("hello", " hello hello"), ("hello<|user|>", "hello hello")])
def test_a_text_is_what_decoding_adds_to_its_prompt(prompt, text, monkeypatch):
    """Llama 2's vocabulary adds a space to each text, but an answer's first space is its own."""
    monkeypatch.setattr(sys.modules[__name__], "N_VOCAB", 300)
    tokenizer = tiny_vocabulary.make(tiny_vocabulary.spm())
    ids = tokenizer.encode(prompt, parse_special=True)
    hello = tokenizer.encode("hello", add_special=False)
    context = Context(ScriptedExecutor([0] * (len(ids) - 1) + 2 * hello), 300, 50, 8)
    s = TextStream(context, tokenizer, np.asarray(ids, np.int32), SamplingParams(max_tokens=2 * len(hello)))
    assert "".join(s) == text
    assert tokenizer.decode(ids + s.token_ids) == tokenizer.decode(ids) + text


def test_leaving_the_loop_ends_the_work():
    s = stream("Hello world")
    for piece in s:
        if piece == "e":
            break
    assert len(s._context._executor.calls) == 2 and s.finish_reason is None


def test_a_prompt_is_run_in_chunks_and_each_token_once():
    s = stream("Hi~", prompt="abcdefghij", n_batch=4)
    assert "".join(s) == "Hi"
    assert s._context._executor.calls == [(0, 4), (4, 4), (8, 2), (10, 1), (11, 1)]
    timings = s.timings
    assert (timings.n_prompt_tokens, timings.n_decode_tokens) == (10, 2)
    assert timings.prefill_tokens_per_second > 0 and timings.decode_tokens_per_second > 0


# --- the shared context


def test_streams_that_take_turns_do_not_disturb_each_other():
    executor = ScriptedExecutor()
    context = Context(executor, N_VOCAB, 200, 16)

    def new(prompt):
        ids = np.asarray(ids_of(prompt), np.int32)
        return TextStream(context, LetterTokenizer(), ids, SamplingParams(max_tokens=20))

    alone = ["".join(new("abc")), "".join(new("hello"))]
    first, second = new("abc"), new("hello")
    pairs = list(zip(first, second, strict=True))
    assert ["".join(pieces) for pieces in zip(*pairs, strict=True)] == alone


def test_threads_get_the_texts_they_would_get_alone():
    context = Context(ScriptedExecutor(), N_VOCAB, 200, 16)
    prompts = ["prompt number " + str(i) for i in range(8)]

    def text(prompt):
        ids = np.asarray(ids_of(prompt), np.int32)
        return "".join(TextStream(context, LetterTokenizer(), ids, SamplingParams(max_tokens=15)))

    alone = [text(prompt) for prompt in prompts]
    together: dict[str, str] = {}
    threads = [
        threading.Thread(target=lambda p: together.update({p: text(p)}), args=(prompt,)) for prompt in prompts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert [together[prompt] for prompt in prompts] == alone


def test_a_step_that_fails_leaves_a_context_that_works():
    s = stream("Hello~")
    executor = s._context._executor
    assert next(s) == "H"
    executor.poison = 2
    with pytest.raises(ModelError, match="NaN or infinite logits at position 2"):
        next(s)
    executor.poison = None
    assert "".join(s) == "ello"


def test_logits_come_in_chunks_and_are_checked():
    executor = ScriptedExecutor(range(10))
    context = Context(executor, N_VOCAB, 20, 3)
    logits = context.logits_at(np.arange(7, dtype=np.int32), np.arange(7))
    assert logits.shape == (7, N_VOCAB) and logits.argmax(axis=1).tolist() == list(range(7))
    assert executor.calls == [(0, 3), (3, 3), (6, 1)]
    executor.poison = 4
    with pytest.raises(ModelError, match="position 4"):
        context.logits_at(np.arange(7, dtype=np.int32), np.arange(7))


def test_a_closed_context_says_so():
    s = stream("Hello")
    executor = s._context._executor
    s._context.close()
    s._context.close()
    assert executor.closed
    with pytest.raises(NybbleError, match="closed"):
        next(s)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_gets_an_error_even_if_the_parent_was_busy():
    s = stream("Hello")
    with s._context.exclusive():
        child = os.fork()
        if child == 0:
            try:
                s._context.close()
                next(s)
            except NybbleError as error:
                os._exit(0 if "before a fork" in str(error) else 1)
            finally:
                os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
    assert next(s) == "H"


def test_importing_the_public_face_is_cheap():
    """`import nybble` must not load NumPy, and the sampler must not load Numba."""
    code = (
        "import sys, nybble; assert 'numpy' not in sys.modules; nybble.SamplingParams();"
        "nybble.load_gguf; sys.exit('numba' in sys.modules)"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
