"""Constraints: texts that follow a JSON schema, a regular expression, a list of choices, or a grammar.

A `Grammar` is what the user asks for, checked as text; a `GrammarCompiler` compiles it for a model's tokens
by llguidance, and a `Constraint` masks the logits of one text by it.

Sources: llguidance (https://github.com/guidance-ai/llguidance); JSON Schema, draft 2020-12; GBNF, llama.cpp's
grammars.
"""
