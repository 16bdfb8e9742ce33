"""Files of requests, as the OpenAI API has batches, answered by a model in this process.

from nybble.batch import run_batch

with nybble.LLM("smollm2") as llm:
    run_batch(llm, "requests.jsonl", "results.jsonl")
"""

from .run import BatchSummary, run_batch

__all__ = ["BatchSummary", "run_batch"]
