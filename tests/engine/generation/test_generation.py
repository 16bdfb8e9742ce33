"""Streams, stop strings and the shared context, on an executor and a tokenizer made up for it."""

import codecs
import os
import sys
import threading

import numpy as np
import pytest
import tiny_vocabulary
from hypothesis import example, given
from hypothesis import strategies as st
from stopwatch import HANG

from nybble.engine.generation.context import Context
from nybble.engine.generation.stop import StopScanner
from nybble.engine.generation.stream import TextStream
from nybble.engine.sampling.params import SamplingParams
from nybble.errors import ModelError, NybbleError

N_VOCAB, EOG = 100, 99


class ScriptedExecutor:
    """The next token is `script[position]`, provided that the state was fed each position once, in order."""

    compile_seconds = 0.0
    weight_bytes_per_token = 0

    def __init__(self, script=(), n_vocab=None):
        self.script = list(script)
        self.n_vocab = n_vocab or N_VOCAB
        self.seen: list[int] = []
        self.calls: list[tuple[int, int]] = []
        self.closed = False
        self.poison: int | None = None

    def forward(self, ids, start, rows, taps=None):
        assert start == len(self.seen) and ids.dtype == np.int32
        self.seen += ids.tolist()
        self.calls.append((start, len(ids)))
        logits = np.zeros((len(rows), self.n_vocab), np.float32)
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
    suppressed_ids = np.empty(0, np.intp)

    def encode(self, text, add_special=True, parse_special=False):
        return [ord(letter) - 32 for letter in text]

    def stream_decoder(self, skip_special_tokens, continuation):
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
    st.lists(st.tuples(st.text("ab", min_size=0, max_size=4), st.booleans()), max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=5), max_size=3),
)
def test_the_scanner_shows_all_that_no_stop_string_can_begin_in(pieces, stop):
    """Each letter is shown, or not, as its piece is; the oracle looks at the letters of all that has come."""
    scanner, shown, came, is_shown = StopScanner(stop), "", "", []
    for piece, visible in pieces:
        came += piece
        is_shown += [visible] * len(piece)
        shown += scanner.push(piece, piece if visible else "")
        begins = [came.find(s) for s in stop if s in came] or [
            n for n in range(len(came)) if any(s.startswith(came[n:]) for s in stop)
        ]
        assert shown == "".join(came[n] for n in range(min(begins, default=len(came))) if is_shown[n])
        assert scanner.found == any(s in came for s in stop)
        if scanner.found:
            assert scanner.flush() == ""
            return
    assert shown + scanner.flush() == "".join(came[n] for n in range(len(came)) if is_shown[n])


@pytest.mark.parametrize(("prompt", "text"), [("hello", " hello hello"), ("hello<|user|>", "hello hello")])
def test_a_text_is_what_decoding_adds_to_its_prompt(prompt, text):
    """Llama 2's vocabulary adds a space to each text, but an answer's first space is its own."""
    tokenizer = tiny_vocabulary.make(tiny_vocabulary.spm())
    ids = tokenizer.encode(prompt, parse_special=True)
    hello = tokenizer.encode("hello", add_special=False)
    context = Context(ScriptedExecutor([0] * (len(ids) - 1) + 2 * hello, 300), 300, 50, 8)
    s = TextStream(context, tokenizer, np.asarray(ids, np.int32), SamplingParams(max_tokens=2 * len(hello)))
    assert "".join(s) == text
    assert tokenizer.decode(ids + s.token_ids) == tokenizer.decode(ids) + text


# --- control tokens in the text

MARKS = {"<a>": tiny_vocabulary.CONTROL, "<b>": tiny_vocabulary.CONTROL, "<|end|>": tiny_vocabulary.CONTROL}
MARKED = tiny_vocabulary.make(tiny_vocabulary.bpe(special=MARKS, merges=["a b"]))
END = 2
LETTER_IDS = {letter: MARKED.encode(letter)[0] for letter in "ab<>"}
LETTER_IDS |= dict(zip("Ã©", MARKED.encode("é"), strict=True))  # its bytes as Latin-1 has them


def marked_stream(ids, **params):
    """A stream of the tokens `ids` behind a prompt of one token; END ends it."""
    executor = ScriptedExecutor(ids, n_vocab=MARKED.n_vocab)
    context = Context(executor, MARKED.n_vocab, 50, 8)
    prompt = np.array([LETTER_IDS["a"]], np.int32)
    return TextStream(context, MARKED, prompt, SamplingParams(**{"max_tokens": len(ids)} | params))


@pytest.mark.parametrize(
    ("text", "stop", "shown", "reason"),
    [
        ("ab<a>ab<b>a", [], "ababa", "length"),
        ("ab<a>ab<b>a", ["<b>"], "abab", "stop"),
        ("ab<a>ab<b>a", ["b<a>a"], "a", "stop"),
        ("ab<a>ab<b>a", ["<a>b"], "ababa", "length"),
        ("ab<a>ab<b>a", ["b<b"], "aba", "stop"),
        ("ab<a>ab", [">a"], "ab", "stop"),
        ("ab<a>", ["<a>a"], "ab", "length"),
        ("ab<|end|>a", [], "ab", "stop"),
        ("ab<|end|>a", ["<|end|>"], "ab", "stop"),
        ("ab<|end|>a", ["b<|end|>"], "a", "stop"),
        ("ab<|end|>a", ["b<|end|>a"], "ab", "stop"),
    ],
)
def test_control_tokens_stop_by_their_names(text, stop, shown, reason):
    s = marked_stream(MARKED.encode(text, parse_special=True), stop=stop)
    pieces = list(s)
    assert ("".join(pieces), s.finish_reason) == (shown, reason)
    assert all(pieces)


def test_control_tokens_are_shown_on_demand_but_not_the_end():
    ids = MARKED.encode("a<a>b<b><|end|>", parse_special=True)
    assert list(marked_stream(ids)) == ["a", "b"]
    assert list(marked_stream(ids, skip_special_tokens=False)) == ["a", "<a>", "b", "<b>"]
    assert list(marked_stream(ids, skip_special_tokens=False, stop=["<b>"])) == ["a", "<a>", "b"]


def test_a_hidden_token_holds_back_no_more_than_it_must():
    s = marked_stream(MARKED.encode("a<a>b<a>a<b>", parse_special=True), stop=["<a>a"])
    shown_at = [(piece, len(s.token_ids)) for piece in s]
    assert shown_at == [("a", 1), ("b", 3)] and s.finish_reason == "stop"


@given(
    st.lists(st.sampled_from([*"ab<>Ã©", "<a>", "<b>", "<|end|>"]), min_size=1, max_size=12),
    st.lists(st.text("ab<>é\ufffd", min_size=1, max_size=5), max_size=3),
    st.booleans(),
)
@example(["Ã", "<a>", "©"], ["<a>"], True)
@example(["Ã", "<a>", "©"], [], True)
@example(["Ã", "<|end|>"], ["<|end|>"], True)
def test_a_text_is_all_that_is_shown_before_the_first_stop(tokens, stop, skip):
    """The oracle writes the whole text down, with what is hidden, and cuts it where a stop string begins."""
    ids = [list(MARKS).index(token) if token in MARKS else LETTER_IDS[token] for token in tokens]
    s = marked_stream(ids, stop=stop, skip_special_tokens=skip)
    pieces = list(s)
    assert "".join(pieces) == marked_stream(ids, stop=stop, skip_special_tokens=skip).finish().text

    decoder, letters, cuts, ended = codecs.getincrementaldecoder("utf-8")("replace"), [], [], False
    for token in [*tokens, ""]:  # at last, what is left of a character
        ends_letter = token in MARKS or not token
        letters += [
            (c, True) for c in decoder.decode(b"" if ends_letter else token.encode("latin-1"), ends_letter)
        ]
        letters += [(c, token != "<|end|>" and not skip) for c in token if token in MARKS]
        text = "".join(letter for letter, _ in letters)
        cuts, ended = [text.find(string) for string in stop if string in text], token == "<|end|>"
        if cuts or ended:
            break
    expected = "".join(letter for letter, is_shown in letters[: min(cuts, default=None)] if is_shown)
    assert ("".join(pieces), s.finish_reason) == (expected, "stop" if cuts or ended else "length")


@given(st.lists(st.integers(0, MARKED.n_vocab - 1).filter(lambda i: i != END), min_size=1, max_size=12))
def test_a_text_of_any_bytes_is_that_of_decode(ids):
    for skip in (True, False):
        s = marked_stream(ids, skip_special_tokens=skip, stop=["\ufffdno", "<a>no", "éno"])
        assert "".join(s) == MARKED.decode(ids, skip, continuation=True)
    shown = MARKED.decode(ids, skip_special_tokens=False)
    assert MARKED.decode(ids) == shown.replace("<a>", "").replace("<b>", "")


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
        thread.join(timeout=HANG)
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
