"""Requests for text, on an executor and a tokenizer made up for it."""

import codecs

import pytest
import tiny_vocabulary
from hypothesis import example, given, strategies as st
from scripted_stream import ScriptedExecutor, driver_of, executor_of, ids_of, request, stream

from nybble.engine.sampling.params import SamplingParams
from nybble.engine.speculation.drafter import Drafter
from nybble.errors import ModelError


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
    assert executor_of(s).calls[-1] == (7, 1)


def test_a_prompt_as_long_as_the_context_gives_one_token():
    assert "".join(stream("xyz", prompt="abcde", n_ctx=5)) == "x"


@pytest.mark.parametrize(("prompt", "text"), [("hello", " hello hello"), ("hello<|user|>", "hello hello")])
def test_a_text_is_what_decoding_adds_to_its_prompt(prompt, text):
    """Llama 2's vocabulary adds a space to each text, but an answer's first space is its own."""
    tokenizer = tiny_vocabulary.make(tiny_vocabulary.spm())
    ids = tokenizer.encode(prompt, parse_special=True)
    hello = tokenizer.encode("hello", add_special=False)
    driver = driver_of(ScriptedExecutor([0] * (len(ids) - 1) + 2 * hello, 300))
    s = request(driver, ids, SamplingParams(max_tokens=2 * len(hello)), tokenizer)
    assert "".join(s) == text
    assert tokenizer.decode(ids + s.token_ids) == tokenizer.decode(ids) + text


# --- control tokens in the text

MARKS = {"<a>": tiny_vocabulary.CONTROL, "<b>": tiny_vocabulary.CONTROL, "<|end|>": tiny_vocabulary.CONTROL}
MARKED = tiny_vocabulary.make(tiny_vocabulary.bpe(special=MARKS, merges=["a b"]))
END = 2
LETTER_IDS = {letter: MARKED.encode(letter)[0] for letter in "ab<>"}
LETTER_IDS |= dict(zip("Ã©", MARKED.encode("é"), strict=True))  # its bytes as Latin-1 has them


def marked_stream(ids, **params):
    """A stream of the tokens `ids` after a prompt of one token; END ends it."""
    driver = driver_of(ScriptedExecutor(ids, n_vocab=MARKED.n_vocab))
    params = SamplingParams(**{"max_tokens": len(ids)} | params)
    return request(driver, [LETTER_IDS["a"]], params, MARKED)


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
    assert "".join(pieces) == marked_stream(ids, stop=stop, skip_special_tokens=skip).result().text

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
    assert len(executor_of(s).calls) == 2 and s.finish_reason is None


def test_a_prompt_is_run_in_chunks_and_each_token_once():
    s = stream("Hi~", prompt="abcdefghij", n_batch=4)
    assert "".join(s) == "Hi"
    assert executor_of(s).calls == [(0, 4), (4, 4), (8, 2), (10, 1), (11, 1)]
    timings = s.timings
    assert (timings.n_prompt_tokens, timings.n_decode_tokens) == (10, 2)
    assert timings.prefill_tokens_per_second > 0 and timings.decode_tokens_per_second > 0


@pytest.mark.parametrize("drafts, can_go_back", [(False, False), (True, False), (True, True)])
def test_nan_after_a_right_draft_fails_where_it_fails_without(monkeypatch, drafts, can_go_back):
    """What is drafted after sound logits may be right although its own logits are not."""
    s = stream("Hello~")
    executor = executor_of(s)
    executor.poison = 3

    def go_back(seat, n_before, n_after):
        del executor.seen[seat][n_after:]

    if can_go_back:
        monkeypatch.setattr(executor, "can_go_back", lambda *_: True)
        monkeypatch.setattr(executor, "go_back", go_back)
    if drafts:
        s._job.make_drafter = lambda: Drafter(Known(ids_of("abHello")))
        lengths = s._driver.scheduler._speculation._lengths
        monkeypatch.setattr(lengths, "choose", lambda n_rows, texts: [2 for _ in texts])
    with pytest.raises(ModelError, match="NaN or infinite logits at position 3"):
        list(s)
    assert s.token_ids == ids_of("He")
    assert bool(s._job.drafter) == drafts


class Known:
    """Drafts of a text that is known."""

    def __init__(self, ids):
        self.ids, self.n = ids, 0

    def extend(self, ids):
        self.n += len(ids)

    def propose(self, n):
        return self.ids[self.n : self.n + n]
