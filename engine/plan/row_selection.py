"""Where a plan goes on with the wanted rows alone: as early as it can.

Only the rows whose logits are wanted matter after the last operation that looks at other tokens or at
positions: of the last block that is the output matrix of its attention and the feed-forward layer, some
4 % of the work of a prompt.
"""

from . import ops

_NEED_ALL_ROWS = (ops.Embed, ops.PositionEmbed, ops.Rope, ops.QueryScale)  # they go by ids or positions


def select_early(operations: tuple[ops.Op, ...]) -> tuple[ops.Op, ...]:
    """Moves `SelectRows` up after the last operation that needs all rows; it then selects every buffer that
    is read on both sides of it."""
    place = next((i for i, op in enumerate(operations) if isinstance(op, ops.SelectRows)), None)
    if place is None:
        return operations
    rest = (*operations[:place], *operations[place + 1 :])
    start = max(i + 1 for i, op in enumerate(rest) if _needs_all_rows(op))
    before = {name for op in rest[:start] for name in op.outputs}
    crossing = tuple(dict.fromkeys(n for op in rest[start:] for n in op.inputs if n in before))
    return (*rest[:start], ops.SelectRows(crossing[0], crossing), *rest[start:])


def _needs_all_rows(op: ops.Op) -> bool:
    return isinstance(op, _NEED_ALL_ROWS) or hasattr(op, "state")
