"""Compiles grammars for a model's tokens."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from typing import Any

from ...errors import RequestError
from ...tokenizer import IdsOnly, Tokenizer
from .constraint import Constraint
from .deep_call import deep_call
from .gbnf import gbnf_to_lark
from .grammar import Grammar
from .lark import checked_lark, schema_lark
from .schema_place import refused_place
from .vocabulary import import_llguidance, token_trie

_N_KNOWN = 64

# Time and memory of one grammar: a token's mask takes some 50 ms at the most, and a text some 100 MB.
_LIMITS: dict[str, Any] = {
    "max_grammar_size": 100_000,
    "initial_lexer_fuel": 500_000,
    "step_lexer_fuel": 200_000,
    "step_max_items": 50_000,
    "max_items_in_row": 2000,
    "max_lexer_states": 100_000,
    "verbose_errors": False,
}


class GrammarCompiler:
    """Makes constraints for texts of a model with this tokenizer; several threads may use it at once.

    Each text has a compiled grammar of its own: llguidance's copies share a lexer, whose states count towards
    its limits, so that an error in one text would depend on what others have written. Compiling takes
    milliseconds; that a grammar can be compiled is found out once.
    """

    def __init__(self, tokenizer: Tokenizer | IdsOnly) -> None:
        self._tokenizer = tokenizer
        self._known: OrderedDict[Grammar, str] = OrderedDict()
        self._trie: Any = None
        self._lock = threading.Lock()

    def check(self, grammar: Grammar) -> None:
        """Compiles the grammar, unless that was done before.

        Raises RequestError for one that is wrong, too complex, or allows no text; for a schema with the place
        in it. NybbleError if the extra `grammar` is not installed.
        """
        with self._lock:
            is_known = grammar in self._known
        if not is_known:
            self.constraint(grammar)

    def constraint(self, grammar: Grammar) -> Constraint:
        """A constraint at the beginning of a text; raises what `check` raises."""
        if isinstance(self._tokenizer, IdsOnly):
            raise RequestError(
                f"`{grammar.name}`: this model has no tokenizer, so no text can be constrained"
            )
        with self._lock:
            if self._trie is None:
                self._trie = token_trie(self._tokenizer)
            known = self._known.get(grammar)
        lark = known or _lark(grammar)
        constraint = Constraint(self._matcher(lark), self._trie.vocab_size, grammar.name)
        if known is None:
            self._check_first(constraint, grammar)
            with self._lock:
                self._known[grammar] = lark
                if len(self._known) > _N_KNOWN:
                    self._known.popitem(last=False)
        return constraint

    def _check_first(self, constraint: Constraint, grammar: Grammar) -> None:
        """RequestError if the grammar cannot be compiled, or if no text begins by it."""
        try:
            constraint.allowed()
        except RequestError as error:
            if grammar.kind != "json_schema":
                raise
            place = refused_place(json.loads(grammar.source), self._refuses)
            why = str(error).removeprefix(f"`{grammar.name}`: ")
            raise RequestError(f"`{grammar.name}`: at {place} it cannot be enforced: {why}") from error

    def _refuses(self, schema: dict[str, Any]) -> bool:
        return bool(self._matcher(schema_lark(schema)).is_error())

    def _matcher(self, lark: str) -> Any:
        text = json.dumps({"grammars": [{"lark_grammar": lark}]})
        module, trie = import_llguidance(), self._trie
        limits = module.LLParserLimits(**_LIMITS)
        return deep_call(lambda: module.LLMatcher(trie, text, log_level=0, limits=limits))


def _lark(grammar: Grammar) -> str:
    """The grammar as a Lark one."""
    if grammar.kind == "gbnf":
        from llguidance.gbnf_to_lark import gbnf_to_lark as converter  # of the extra

        return checked_lark(gbnf_to_lark(grammar.source, grammar.name, converter), grammar.name)
    if grammar.kind == "regex":
        inner = import_llguidance().regex_to_lark(grammar.source, "")
        return checked_lark(f"start: /{inner}/" if inner else 'start: ""', grammar.name)
    if grammar.kind == "json_schema":
        return schema_lark(json.loads(grammar.source))
    return grammar.source
