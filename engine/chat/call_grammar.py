"""Grammars that make an answer call tools, or follow a schema after its reasoning."""

from __future__ import annotations

from collections.abc import Callable

from ...tokenizer import Tokenizer
from ..grammar.lark import lark_text
from .answer_format import AnswerFormat, HarmonyFormat
from .formats.base import Schemas, ToolFormat
from .formats.lark_writer import LarkWriter

_SPACE = "\n_SPACE: /[ \\n]{0,4}/"
