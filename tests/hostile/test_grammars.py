"""Grammars, schemas and patterns that would take forever, all memory, or the process with them.

Each runs in a child with little memory: it is refused, or runs bounded, and the child lives.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings, strategies as st

from nybble.engine.grammar.grammar import Grammar
from nybble.errors import RequestError

MEMORY, SECONDS = 2**31, 10
N_STEPS, N_CHILDREN = 40, 4


def chain(n: int, left: str, right: str) -> str:
    """Rules that each refer to the next."""
    return f'start: r0\n{"".join(f"r{i}: {left}r{i + 1}{right}{chr(10)}" for i in range(n))}r{n}: "a"'


def gbnf_chain(n: int) -> str:
    rules = "".join(f'r{i} ::= r{i + 1} "x"\n' for i in range(n))
    return f'root ::= r0\n{rules}r{n} ::= "a"'


def references(n: int) -> dict[str, object]:
    inner = {f"d{i}": {"anyOf": [{"items": {"$ref": f"#/$defs/d{i + 1}"}}, {}]} for i in range(n)}
    return {"$ref": "#/$defs/d0", "$defs": {**inner, f"d{n}": {}}}


def merged(n: int, n_options: int) -> dict[str, object]:
    options = [[{"properties": {f"p{i}_{j}": {"const": j}}} for j in range(n_options)] for i in range(n)]
    return {"type": "object", "allOf": [{"anyOf": each} for each in options]}


CONJUNCTION = " & ".join("/(.*[a-z]){%d}x/" % i for i in range(1, 13))  # noqa: UP031
NESTED = "(" * 60_000 + '"a"' + ")" * 60_000
PATTERNS = [{"pattern": f"(.*[a-z]){{{i}}}x"} for i in range(30)]
CASES: dict[str, Callable[[], Grammar]] = {
    "S26 no root": lambda: Grammar.from_text("x ::= [a]"),
    "S26 left recursion": lambda: Grammar.from_text('root ::= root "a" | root'),
    "S26 syntax": lambda: Grammar.from_text('root ::= ("a"'),
    "S27 60,000 parentheses, GBNF": lambda: Grammar.from_text(f"root ::= {NESTED}"),
    "S27 60,000 parentheses, Lark": lambda: Grammar.from_text(f"start: {NESTED}"),
    "S27 60,000 parentheses, regex": lambda: Grammar.regex("(" * 60_000 + "a" + ")" * 60_000),
    "S28 star of star": lambda: Grammar.from_text('root ::= ("a"*)*'),
    "many rules": lambda: Grammar.gbnf("root ::= r0\n" * 20_000),
    "S28 many repetitions": lambda: Grammar.from_text('root ::= "a"{1,1000000000}'),
    "S28 many repetitions, regex": lambda: Grammar.regex("((a{1,1000000}){1,1000000}b?){1,1000000}"),
    "S28 many items": lambda: Grammar.json_schema({"type": "array", "minItems": 10**9}),
    "S28 itself": lambda: Grammar.json_schema({"$ref": "#"}),
    "S28 itself, merged": lambda: Grammar.json_schema({"allOf": [{"$ref": "#"}, {"type": "object"}]}),
    "S28 bad pattern": lambda: Grammar.json_schema({"pattern": "(("}),
    "S28 unknown type": lambda: Grammar.json_schema({"type": "strin"}),
    "S29 backtracking": lambda: Grammar.json_schema({"type": "string", "pattern": "(a+)+$"}),
    "S29 backtracking, regex": lambda: Grammar.regex("(a|aa)+(a+)+$"),
    "many options": lambda: Grammar.regex("a?" * 1000 + "a" * 1000),
    "too many options": lambda: Grammar.regex("a?" * 30_000),
    "options in Lark": lambda: Grammar.lark("start: X\nX: " + '"a"? ' * 2000),
    "rules in a chain": lambda: Grammar.lark(chain(4000, "", "")),
    "rules in a chain, nested": lambda: Grammar.lark(chain(900, "(" * 25, ' "x"' + ")" * 25)),
    "terminals in a chain": lambda: Grammar.lark(chain(4000, "", "").upper().replace("START", "start")),
    "rules in a chain, GBNF": lambda: Grammar.gbnf(gbnf_chain(990)),
    "references in a chain": lambda: Grammar.json_schema(references(3000)),
    "conjunctions": lambda: Grammar.lark(f"start: X\nX: {CONJUNCTION}"),
    "patterns merged": lambda: Grammar.json_schema({"type": "string", "allOf": PATTERNS[:8]}),
    "patterns merged by references": lambda: Grammar.json_schema(
        {
            "$ref": "#/$defs/0",
            "type": "string",
            "$defs": {str(i): each | {"$ref": f"#/$defs/{i + 1}"} for i, each in enumerate(PATTERNS)}
            | {"30": {}},
        }
    ),
    "schemas merged": lambda: Grammar.json_schema(merged(5, 5)),
    "schemas merged, 2**14": lambda: Grammar.json_schema(merged(14, 2)),
    "3000 properties": lambda: Grammar.json_schema({"properties": {f"p{i}": {} for i in range(3000)}}),
    "an enum of 10,000": lambda: Grammar.json_schema({"enum": [f"value {i}" for i in range(10_000)]}),
    "a large multiple": lambda: Grammar.json_schema({"type": "integer", "multipleOf": 99_991}),
    "too large a multiple": lambda: Grammar.json_schema({"type": "integer", "multipleOf": 1_000_003}),
    "substrings": lambda: Grammar.lark('start: %regex {"substring_chars": "' + "ab" * 20_000 + '"}'),
    "grammars in grammars": lambda: Grammar.lark("start: " + "%lark { start: " * 90 + '"a"' + " }" * 90),
    "a negation": lambda: Grammar.lark("start: X\nX: /(?s:.*)/ & ~/(?s:.*)[ab](?s:.{1000})x(?s:.*)/"),
}


@pytest.mark.parametrize("first", range(N_CHILDREN))
def test_each_is_refused_or_bounded(first):
    cases = [*CASES][first::N_CHILDREN]
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, __file__, *cases], capture_output=True, text=True, env=environment, timeout=120
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{done.returncode} after {found[-1:]}: {done.stderr[-500:]}"
    assert [case for case, _, _ in found] == cases
    for case, seconds, outcome in found:
        assert seconds < SECONDS, case
        assert "backtrace" not in outcome and len(outcome) < 800, case


@settings(max_examples=200)
@given(st.text('()[]{}"/\\|*+?~&:=<>%.,#\n ab01json', max_size=40))
def test_random_texts_are_refused_or_made(text):
    for make in (Grammar.from_text, Grammar.regex, Grammar.json_schema):
        try:
            make(text)
        except RequestError as error:
            assert str(error)


def run(cases: list[str]) -> None:
    """Prints for each case its name, processor seconds, and what became of it."""
    import resource

    from constrained_text import allowed_ids
    from tiny_vocabulary import bpe, make

    from nybble.engine.grammar.compiler import GrammarCompiler

    tokenizer = make(bpe())
    compiler = GrammarCompiler(tokenizer)
    compiler.check(Grammar.choice(["a"]))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for case in cases:
        started = time.process_time()
        try:
            constraint = compiler.constraint(CASES[case]())
            for step in range(N_STEPS):
                allowed = {*allowed_ids(constraint, tokenizer.n_vocab)} - tokenizer.eog_ids
                if constraint.is_stopped or not allowed:
                    break
                constraint.accept(sorted(allowed)[step % len(allowed)])
            outcome = "made"
        except RequestError as error:
            outcome = str(error)
        print(json.dumps([case, time.process_time() - started, outcome]), flush=True)


if __name__ == "__main__":
    run(sys.argv[1:])
