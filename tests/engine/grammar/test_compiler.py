"""Constraints of texts: where they end, that they share nothing, on all kinds of vocabularies."""

import re
import threading
from typing import Any

import pytest
import tiny_vocabulary as tiny
from constrained_text import accepts, allowed_ids, draw_ids
from shared_files import shared

from nybble.engine.grammar.compiler import GrammarCompiler
from nybble.engine.grammar.grammar import Grammar
from nybble.errors import NybbleError, RequestError
from nybble.tokenizer import IdsOnly, Tokenizer

TOKENIZER = tiny.make(tiny.bpe())
COMPILER = GrammarCompiler(TOKENIZER)


def test_it_stops_when_nothing_more_can_come():
    constraint = COMPILER.constraint(Grammar.choice(["he", "hello"]))
    (hello,) = TOKENIZER.encode("hello", False)
    assert not (constraint.is_stopped or constraint.is_complete)
    constraint.accept(hello)
    assert constraint.is_stopped
    assert constraint.is_complete


def test_ends_are_allowed_where_the_text_is_complete():
    constraint = COMPILER.constraint(Grammar.choice(["he", "hello"]))
    assert not TOKENIZER.eog_ids & {*allowed_ids(constraint, TOKENIZER.n_vocab)}
    constraint.accept(TOKENIZER.encode("he", False)[0])
    assert constraint.is_complete
    assert not constraint.is_stopped
    assert TOKENIZER.eog_ids <= {*allowed_ids(constraint, TOKENIZER.n_vocab)}


def test_a_token_that_is_not_allowed_is_an_error():
    constraint = COMPILER.constraint(Grammar.choice(["yes"]))
    with pytest.raises(RequestError, match="choice"):
        constraint.accept(TOKENIZER.encode("x", False)[0])


def test_texts_do_not_share_a_state():
    grammar = Grammar.json_object()
    alone = [draw_ids(COMPILER, TOKENIZER, grammar, seed, 100) for seed in range(4)]
    found: dict[int, Any] = {}

    def run(seed: int) -> None:
        found[seed] = draw_ids(COMPILER, TOKENIZER, grammar, seed, 100)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[seed] for seed in range(4)] == alone


def test_several_threads_make_the_vocabulary_once():
    compiler = GrammarCompiler(TOKENIZER)
    threads = [threading.Thread(target=compiler.check, args=(Grammar.json_object(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert accepts(compiler, TOKENIZER, Grammar.json_object(), TOKENIZER.encode("{}", False))


@pytest.mark.parametrize(
    ("metadata", "letters"),
    [
        (tiny.bpe(), " helo"),
        (tiny.spm(), " helo"),
        (tiny.characters(), " helo"),
        (tiny.wordpiece(), " helo"),
        (tiny.unigram(), " lox1"),
        (tiny.rwkv(), " helo"),
        (tiny.plamo2(), " helo"),
    ],
    ids=["bpe", "spm", "characters", "wordpiece", "unigram", "rwkv", "plamo2"],
)
def test_every_kind_of_vocabulary(metadata, letters):
    check_vocabulary(tiny.make(metadata), letters)


REAL = ("bert-bge", "deepseek-coder", "falcon", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2")


@pytest.mark.parametrize("name", REAL)
def test_vocabularies_of_real_models(name):
    tokenizer = Tokenizer.from_gguf(shared(f"vocabs/ggml-vocab-{name}.gguf"))
    check_vocabulary(tokenizer, " helo")


def check_vocabulary(tokenizer: Tokenizer, letters: str) -> None:
    compiler = GrammarCompiler(tokenizer)
    pattern = f"[{letters}]{{3,12}}"
    for seed in range(5):
        ids, is_complete = draw_ids(compiler, tokenizer, Grammar.regex(pattern), seed)
        assert is_complete
        assert re.fullmatch(pattern, tokenizer.decode(ids, continuation=True))
        assert not tokenizer.control_ids & {*ids}


def test_without_a_tokenizer():
    with pytest.raises(RequestError, match="`choice`: this model has no tokenizer"):
        GrammarCompiler(IdsOnly(frozenset({0}), TOKENIZER.suppressed_ids)).check(Grammar.choice(["a"]))


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "llguidance", None)
    with pytest.raises(NybbleError, match=r'pip install "nybble\[grammar\]"'):
        GrammarCompiler(TOKENIZER).check(Grammar.choice(["a"]))


def test_a_known_grammar_is_not_checked_again(monkeypatch):
    compiler = GrammarCompiler(TOKENIZER)
    compiler.check(Grammar.choice(["a"]))
    monkeypatch.setattr(compiler, "_check_first", lambda *_: pytest.fail("it is known"))
    compiler.check(Grammar.choice(["a"]))
