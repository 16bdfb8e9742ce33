"""Files of requests, as the OpenAI API has batches, answered by a model in this process.

from nybble.batch import run_batch

with nybble.LLM("smollm2") as llm:
    run_batch(llm, "requests.jsonl", "results.jsonl")
"""

from typing import TYPE_CHECKING

from .run import BatchSummary, run_batch

if TYPE_CHECKING:
    from .ray_run import run_batch_on_ray

__all__ = ["BatchSummary", "run_batch", "run_batch_on_ray"]


if not TYPE_CHECKING:  # to a type checker every name would exist

    def __getattr__(name):
        if name == "run_batch_on_ray":  # Ray is imported when it is used
            from .ray_run import run_batch_on_ray

            return run_batch_on_ray
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
