"""From plan to program: where threads must meet, which memory buffers share, what is rounded how often."""

from collections import Counter
from itertools import pairwise
from typing import cast

import numpy as np
import pytest
import tiny_model
from numpy.typing import NDArray

from nybble.engine.executors.numba.lower.lowered_plan import lower_plan
from nybble.engine.executors.numba.storage.caches import make_caches, make_pages
from nybble.engine.executors.numba.storage.packing import pack_tensors
from nybble.engine.executors.numba.storage.steps import Step, meeting_points
from nybble.engine.model import Model
from nybble.engine.plan.plan import ops
from nybble.kernels.attention.cache_type import CACHE_TYPES
from nybble.kernels.jit.kernel import Call

A, B, C, D = (np.zeros(8) for _ in range(4))


def step(reads: list[NDArray], writes: list[NDArray]) -> Step:
    return Step(cast(Call, None), tuple(reads), tuple(writes))


@pytest.mark.parametrize(
    ("steps", "meet"),
    [
        ([], []),
        ([step([A], [B])], [False]),
        ([step([A], [B]), step([B], [C])], [True, False]),  # read after write
        ([step([A], [B]), step([C], [A])], [True, False]),  # write after read
        ([step([A], [B]), step([C], [B])], [True, False]),  # write after write
        ([step([A], [B]), step([A], [C])], [False, False]),  # two readers
        ([step([A], [B]), step([C], [D])], [False, False]),  # nothing in common
        ([step([A], [B]), step([A], [C]), step([B, C], [D])], [False, True, False]),
        ([step([A], [B]), step([A], [C]), step([B], [D]), step([C], [A])], [False, True, False, False]),
        ([step([A], [B]), step([B], [C]), step([B], [D]), step([D], [A])], [True, False, True, False]),
        ([step([A], [A]), step([A], [A])], [True, False]),  # in place
        ([step([A], [B[:4]]), step([B[2:]], [C])], [True, False]),  # views that overlap
        ([step([A], [B[:4]]), step([B[4:]], [C])], [False, False]),  # views that do not
    ],
)
def test_meeting_points(steps: list[Step], meet: list[bool]) -> None:
    assert meeting_points(steps) == meet


def test_meeting_points_keep_every_order_that_matters() -> None:
    """Random programs: between any two steps that conflict there is a meeting."""
    rng = np.random.default_rng(1)
    arrays = [np.zeros(1) for _ in range(6)]
    for _ in range(200):
        steps = []
        for _ in range(12):
            chosen = [arrays[i] for i in rng.permutation(6)[:3]]
            steps.append(step(chosen[:2], chosen[2:]))
        meet = meeting_points(steps)
        for later in range(len(steps)):
            for earlier in range(later):
                a, b = steps[earlier], steps[later]
                conflict = {*map(id, a.writes)} & {*map(id, b.reads + b.writes)} | {*map(id, a.reads)} & {
                    *map(id, b.writes)
                }
                assert not conflict or any(meet[earlier:later])


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def built(request, tmp_path_factory):
    path = tiny_model.write(tmp_path_factory.mktemp("program") / "m.gguf", request.param, "Q8_0", n_layers=4)
    model = Model.load(path)

    caches = make_caches(model.plan, make_pages(model.plan, 5, 5, 1, 5), 1, CACHE_TYPES["f16"])
    yield model.plan, lower_plan(model.plan, 5, 3, 1, 1, caches, pack_tensors(model.plan.matrices, 1))
    model.close()


def test_a_buffer_in_use_is_not_overwritten(built) -> None:
    plan, program = built
    last_read = {name: i for i, op in enumerate(plan.ops) for name in op.inputs}
    writers = [(i, op) for i, op in enumerate(plan.ops) if not isinstance(op, ops.SelectRows)]
    for i, op in writers:
        for _, earlier in writers[: writers.index((i, op))]:
            if last_read.get(earlier.out, -1) >= i:
                assert not np.shares_memory(program.buffers[op.out], program.buffers[earlier.out])
    all_bytes = sum(buffer.nbytes for buffer in program.buffers.values())
    assert program.n_buffer_bytes < all_bytes / 2  # and yet memory is used again


def test_activations_are_rounded_once(built) -> None:
    """However many matrices read a buffer, as q, k and v do."""
    plan, program = built
    names = Counter(step.call.kernel.name for step in program.steps)
    linears = [op for op in plan.ops if isinstance(op, ops.Linear)]
    assert names["linear_byte"] == len(linears)
    assert names["quantize"] == len({op.x for op in linears}) < len(linears)


def test_products_of_the_same_input_run_without_a_meeting(built) -> None:
    _, program = built
    meet = meeting_points(program.steps)
    products = [step.call.kernel.name == "linear_byte" for step in program.steps]
    side_by_side = [i for i, both in enumerate(pairwise(products)) if all(both)]
    assert side_by_side
    assert not any(meet[i] for i in side_by_side)


def test_the_head_begins_where_the_wanted_rows_are_taken(built) -> None:
    plan, program = built
    (at,) = (i for i, op in enumerate(plan.ops) if isinstance(op, ops.SelectRows))
    assert plan.ops[at].outputs == ("blk.3.attn_heads", "blk.2.resid_post")
    selected = [program.buffers[name] for name in plan.ops[at].outputs]
    writes = [any(array is s for array in step.writes for s in selected) for step in program.steps]
    assert program.first_step[at] == writes.index(True)
