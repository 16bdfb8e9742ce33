"""Texts that a constraint allows, drawn without a model; on a tiny vocabulary where none is given."""

import random

import numpy as np
import pytest
import tiny_vocabulary as tiny

from nybble.engine.grammar.compiler import GrammarCompiler
from nybble.engine.grammar.constraint import Constraint
from nybble.engine.grammar.grammar import Grammar
from nybble.errors import RequestError
from nybble.tokenizer import Tokenizer

TOKENIZER = tiny.make(tiny.bpe())
COMPILER = GrammarCompiler(TOKENIZER)
_CLOSING = frozenset(b'"}],')


def allowed_ids(constraint: Constraint, n_vocab: int) -> list[int]:
    bits = np.unpackbits(constraint.allowed().view(np.uint8), bitorder="little")
    return [int(i) for i in np.flatnonzero(bits[:n_vocab])]


def draw_ids(
    compiler: GrammarCompiler, tokenizer: Tokenizer, grammar: Grammar, seed: int, max_tokens: int = 1000
) -> tuple[list[int], bool]:
    """Ids of a text, and whether it is complete. Half of the time what closes a string or a list comes
    first, or the end, so that texts end."""
    draw = random.Random(seed)
    constraint = compiler.constraint(grammar)
    ids: list[int] = []
    while not constraint.is_stopped and len(ids) < max_tokens:
        allowed = allowed_ids(constraint, tokenizer.n_vocab)
        ends = [id_ for id_ in allowed if id_ in tokenizer.eog_ids]
        assert bool(ends) == constraint.is_complete
        rest = [id_ for id_ in allowed if id_ not in tokenizer.eog_ids]
        if ends and (not rest or draw.random() < 0.5):
            break
        closing = [
            id_
            for id_ in rest
            if tokenizer.token_bytes(id_)[:1] and tokenizer.token_bytes(id_)[0] in _CLOSING
        ]
        ids.append(draw.choice(closing if closing and draw.random() < 0.5 else rest))
        constraint.accept(ids[-1])
    return ids, constraint.is_complete


def draw_text(
    compiler: GrammarCompiler, tokenizer: Tokenizer, grammar: Grammar, seed: int, max_tokens: int = 1000
) -> str | None:
    """A text, None if it did not end."""
    ids, is_complete = draw_ids(compiler, tokenizer, grammar, seed, max_tokens)
    return tokenizer.decode(ids, skip_special_tokens=False, continuation=True) if is_complete else None


def accepts(compiler: GrammarCompiler, tokenizer: Tokenizer, grammar: Grammar, ids: list[int]) -> bool:
    """Is this a complete text?"""
    constraint = compiler.constraint(grammar)
    for id_ in ids:
        if constraint.is_stopped or id_ not in allowed_ids(constraint, tokenizer.n_vocab):
            return False
        constraint.accept(id_)
    return constraint.is_complete


def draw(grammar: Grammar, seed: int = 0, max_tokens: int = 1000) -> str | None:
    return draw_text(COMPILER, TOKENIZER, grammar, seed, max_tokens)


def is_allowed(grammar: Grammar, text: str) -> bool:
    return accepts(COMPILER, TOKENIZER, grammar, TOKENIZER.encode(text, add_special=False))


def refusal(grammar: Grammar) -> str:
    with pytest.raises(RequestError) as caught:
        COMPILER.check(grammar)
    return str(caught.value)
