"""What a constraint costs a token, and before the first one.

    python bench/constraints.py smollm2 gemma3 -t 2

A text is generated under a JSON schema; its tokens are then gone through again, with the logits of a mask and
of a choice alone: the median over 256 tokens beside the median of a decode step without a constraint. And
what is done once: the vocabulary for a model, and compiling for a text.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from table import print_table

import nybble
from nybble.engine.grammar.compiler import GrammarCompiler
from nybble.engine.grammar.grammar import Grammar
from nybble.kernels.sampling.mask import CompiledMask

N_TOKENS = 256
PROMPT = "A list of people, as JSON:\n"


def person(n_letters: int) -> dict[str, Any]:
    name = {"type": "string", "minLength": 1, "maxLength": n_letters}
    fields = {"name": name, "age": {"type": "integer", "minimum": 0, "maximum": 120}, "notes": name}
    return {"type": "object", "properties": fields, "required": [*fields], "additionalProperties": False}


GRAMMARS: dict[str, Grammar] = {
    "schema": Grammar.json_schema({"type": "array", "items": person(40), "minItems": 50}),
    "schema, maxLength 2000": Grammar.json_schema({"type": "array", "items": person(2000), "minItems": 50}),
    "JSON": Grammar.json_object(),
    "regex": Grammar.regex(r"([A-Z][a-z]+ ){400,}"),
    "GBNF": Grammar.from_text('root ::= line+\nline ::= [a-zA-Z ,]+ ("." | "!") "\\n"'),
}


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def median_step(llm: nybble.LLM) -> float:
    """Seconds of a decode step without a constraint, as a stream's reader sees them."""
    params = nybble.SamplingParams(max_tokens=N_TOKENS, ignore_eos=True)
    times: list[float] = []
    llm.generate(PROMPT, params, on_token=lambda piece: times.append(time.perf_counter()))
    return statistics.median(np.diff(times).tolist())


def per_token(llm: nybble.LLM, compiler: GrammarCompiler, grammar: Grammar) -> list[float]:
    """Seconds for each token of a text: the mask, its kernel, and accepting."""
    params = nybble.SamplingParams(max_tokens=N_TOKENS, temperature=0.8, seed=1, grammar=grammar)
    ids = llm.generate(PROMPT, params).token_ids
    logits, mask = np.zeros(llm.config.n_vocab, np.float32), CompiledMask()
    constraint = compiler.constraint(grammar)
    times = []
    for token_id in ids:
        logits[:] = 0
        started = time.perf_counter()
        mask(logits, constraint.allowed())
        constraint.accept(token_id)
        times.append(time.perf_counter() - started)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a name or the path of a GGUF file")
    parser.add_argument("-t", "--threads", type=int, default=2, metavar="N")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    rows = [
        ("model", "constraint", "compile ms", "median us", "90 % us", "largest us", "of a step", "tokens")
    ]
    for name in args.models:
        with nybble.LLM(name, n_ctx=1024, n_threads=args.threads) as llm:
            compiler = GrammarCompiler(llm.tokenizer)
            set_up = seconds(partial(compiler.check, Grammar.choice(["a"])))
            rows.append((name, "vocabulary", f"{set_up * 1e3:.0f}", "", "", "", "", ""))
            median_step(llm)
            step = median_step(llm)
            for title, grammar in GRAMMARS.items():
                compiling = min(seconds(partial(compiler.constraint, grammar)) for _ in range(9))
                times = np.array(per_token(llm, compiler, grammar)) * 1e6
                middle = float(np.median(times))
                figures = f"{middle:.0f}", f"{np.quantile(times, 0.9):.0f}", f"{times.max():.0f}"
                share = f"{middle / step / 1e4:.2f} %"
                rows.append((name, title, f"{compiling * 1e3:.1f}", *figures, share, str(len(times))))
            rows.append((name, "a step without", "", f"{step * 1e6:.0f}", "", "", "", str(N_TOKENS)))
    print_table(rows, args.markdown)


if __name__ == "__main__":
    main()
