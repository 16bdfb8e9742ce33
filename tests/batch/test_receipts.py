"""Receipts in the results of batches."""

import json

import nybble
from nybble.batch import run_batch
from nybble.testing import tiny_model


def test_a_result_has_one_when_asked(tmp_path):
    body = {"prompt": "the", "max_tokens": 12, "temperature": 1.0, "receipt": True}
    requests, results = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    requests.write_text(json.dumps({"custom_id": "a", "url": "/v1/completions", "body": body}))
    with nybble.LLM(tiny_model(), n_ctx=64) as llm:
        run_batch(llm, requests, results)
        (choice,) = json.loads(results.read_text())["response"]["body"]["choices"]
        assert llm.verify(nybble.Receipt.from_dict(choice["receipt"])).is_same
