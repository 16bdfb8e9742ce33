"""Jinja for untrusted templates: no access to Python, and bounded work and memory.

Jinja's sandbox keeps a template away from Python, but lets it loop for hours and build values of gigabytes.
Here each iteration, call, filter and comparison is counted, and each value is measured when it is made, so
that none is larger than `_MAX_SIZE`. For a step that could make a huge value from small ones (`'x' * 10**9`,
`replace`, `center`), the size of the result is bounded before.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from jinja2 import nodes, pass_context
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

_MAX_SIZE = 1 << 23  # of a value, and of the output; see `_size`
_MAX_RESULT = 1 << 27  # of what a single step might make
_MAX_BITS = 1 << 14  # of an integer: dividing long ones takes the square of their length
_MAX_WORK = 500_000  # steps; reading 256 characters is a step too
_ELEMENT_SIZE = 16  # characters that an element of a list counts as
_BUDGET = "the budget of this rendering"  # a name that no template can write
_WIDE_FIELD = re.compile(r"%[^a-zA-Z%]*(\d{4}|\*)|\{[^}]*\d{4}")  # above 999, or as wide as an argument says

_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "format"),
    *("groupby", "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min"),
    *("reject", "rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr", "sort"),
    *("string", "sum", "title", "trim", "unique", "upper"),
)
_GLOBALS = ("dict", "namespace", "range")
_MEASURED, _TURNS, _JOINED = "a measured value", "counted turns", "joined values"  # filters of our own


class LimitError(Exception):
    """A template exceeds the limits of work or memory."""


class RefusedError(Exception):
    """A template has called `raise_exception`: its model does not know such a conversation."""


class LimitedEnvironment(SandboxedEnvironment):
    """Jinja with the settings of Transformers' `apply_chat_template`, and the limits above."""

    intercepted_binops = frozenset(SandboxedEnvironment.default_binop_table)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", _GenerationTag],
            finalize=_counted_output,
            optimized=False,
        )
        plain = SandboxedEnvironment()
        self.filters = {name: _limited_filter(plain, name) for name in _FILTERS}
        self.filters |= {"tojson": _tojson, _MEASURED: _measured, _TURNS: _turns, _JOINED: _joined}
        self.globals = {name: self.globals[name] for name in _GLOBALS}
        self.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now}

    def call(__self, __context: Context, __callee: Any, *args: Any, **kwargs: Any) -> Any:
        """A call in a template; the parameters' names cannot collide with keywords of the call."""
        method = getattr(__callee, "__wrapped__", __callee)  # `str.format` comes wrapped
        receiver, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
        budget = _budget(__context)
        budget.before(receiver, [*args, *kwargs.values()], name)
        result = super().call(__context, __callee, *args, **kwargs)
        budget.after(receiver, result)  # the receiver too: a list may have grown
        return result

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = _budget(context)
        if operator == "*" and isinstance(left, int):
            left, right = right, left
        if operator in "*%" and not isinstance(left, int | float):
            budget.before(left, [right], "format" if operator == "%" else operator)
        if operator == "**" and not abs(right) <= 64:
            raise LimitError("it raises a number to a power above 64")
        result = super().call_binop(context, operator, left, right)
        budget.after(result)
        return result

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_CountedNodes().visit(source), *args, **kwargs)


class Budget:
    """The work and output of one rendering so far; LimitError beyond the limits."""

    def __init__(self) -> None:
        self._n_steps = 0
        self._n_output = 0

    def before(self, base: Any, arguments: Sequence[Any], name: str) -> None:
        """Counts a step called `name` on a value; LimitError if its result could be huge."""
        size = _size(base)
        n_more = 1 + sum(abs(a) if isinstance(a, int) else _size(a) for a in arguments)
        self.step(size)
        if size * n_more > _MAX_RESULT:
            raise LimitError(f"one step ({name}) could make a value of {size:,} x {n_more:,} characters")
        if name in ("format", "format_map") and isinstance(base, str) and _WIDE_FIELD.search(base):
            raise LimitError("it formats something into a field of more than 999 characters")

    def after(self, *values: Any) -> None:
        """Counts the results of a step."""
        for value in values:
            self.step(_size(value))

    def step(self, size: int) -> None:
        """Counts a step that reads a value of this size."""
        self._n_steps += 1 + size // 256
        if self._n_steps > _MAX_WORK:
            raise LimitError(f"it takes more than {_MAX_WORK:,} steps")

    def output(self, size: int) -> None:
        """Counts output of this size."""
        self.step(size)
        self._n_output += size
        if self._n_output > _MAX_SIZE:
            raise LimitError(f"it writes more than {_MAX_SIZE:,} characters")


def render(template: Any, variables: Mapping[str, Any]) -> str:
    """The output of a template of a LimitedEnvironment for `variables`, plain JSON types, which it may
    change.

    Raises LimitError, RefusedError, and any error of Jinja and Python that a template can cause.
    """
    _size([*variables.values()])
    text: str = template.render({**variables, _BUDGET: Budget()})
    return text


def _budget(context: Context) -> Budget:
    """The budget of the rendering to which `context` belongs."""
    return cast(Budget, context.resolve(_BUDGET))


def _size(value: Any) -> int:
    """The size of a value: characters, and elements of all levels, repeated ones too. LimitError beyond
    `_MAX_SIZE`."""
    size, left = 0, [value]
    while left:
        part = left.pop()
        if isinstance(part, str | bytes):
            size += len(part)
        elif isinstance(part, list | tuple | set):
            left.extend(part)
        elif isinstance(part, dict):
            left.extend(part.keys())
            left.extend(part.values())
        elif isinstance(part, Namespace):
            left.append(part._Namespace__attrs)
        elif isinstance(part, range):
            size += len(part) * _ELEMENT_SIZE
        elif isinstance(part, int):
            size += part.bit_length() // 4
            if part.bit_length() > _MAX_BITS:
                raise LimitError(f"an integer has more than {_MAX_BITS:,} bits")
        size += _ELEMENT_SIZE
        if size + len(left) * _ELEMENT_SIZE > _MAX_SIZE:
            raise LimitError(f"a value has more than {_MAX_SIZE:,} characters")
    return size


class _CountedNodes(NodeTransformer):
    """Puts counting filters around loops, and measuring ones around values that are made without a call."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filter(cast(nodes.Expr, node.iter), _TURNS)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), _JOINED)

    def visit_List(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return _filter(node, _MEASURED)

    visit_Dict = visit_List

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        return self.visit_List(node) if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        return _filter(node, _MEASURED) if isinstance(node.arg, nodes.Slice) else node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _filter(node.expr, _MEASURED)
        for operand in node.ops:
            operand.expr = _filter(operand.expr, _MEASURED)
        return node

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:
        return nodes.Const(node.data, lineno=node.lineno)  # constants pass through `finalize`, which counts


def _filter(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` marks text for training; it is rendered as if without the
    tags."""

    tags = {"generation"}  # noqa: RUF012  # Jinja wants a set

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _limited_filter(plain: SandboxedEnvironment, name: str) -> Any:
    """Jinja's own filter, counted and measured."""

    @pass_context
    def run(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        budget = _budget(context)
        budget.before(value, [*args, *kwargs.values()], name)
        result = plain.call_filter(name, value, args, kwargs, context)
        budget.after(result)
        return result

    return run


@pass_context
def _measured(context: Context, value: Any) -> Any:
    _budget(context).after(value)
    return value


@pass_context
def _turns(context: Context, values: Iterable[Any]) -> Iterator[Any]:
    budget = _budget(context)
    for value in values:
        budget.step(0)
        yield value


@pass_context
def _joined(context: Context, values: list[Any]) -> str:
    _budget(context).after(values)
    return "".join(map(str, values))


@pass_context
def _counted_output(context: Context, value: Any) -> Any:
    _budget(context).output(_size(value))
    return value


@pass_context
def _tojson(
    context: Context, value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any
) -> str:
    """JSON as `json.dumps` writes it, without the escapes for HTML of Jinja's own filter."""
    _budget(context).before(value, [indent], "tojson")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


def _raise_exception(message: Any) -> None:
    raise RefusedError(str(message))


def _strftime_now(form: str) -> str:
    if _WIDE_FIELD.search(form):
        raise LimitError("it formats the time into a field of more than 999 characters")
    return datetime.now().strftime(form)
