"""The model of lm-evaluation-harness, with the real package: scores against softmaxes of logits, and whole
tasks of a few questions; no network. Skipped without it, unless NYBBLE_REQUIRE_LM_EVAL=1."""

import json
import logging
import os
import subprocess
import sys

import markdown_page
import numpy as np
import pytest
from optional_package import optional_package
from served import served
from stopwatch import HANG

from nybble import RequestError, SamplingParams
from nybble.testing import tiny_model

lm_eval = optional_package("lm_eval")

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

from nybble.adapters.lm_eval import NybbleLM  # noqa: E402

QUESTIONS = [
    {"question": f"How many {thing} are there?", "choices": ["one", "two of them", "three"], "answer": n % 3}
    for n, thing in enumerate(("hands", "others", "doors", "rain", "in the end"))
]
TASKS = {
    "few_choices": """
output_type: multiple_choice
doc_to_text: "Q: {{question}}\\nA:"
doc_to_choice: "{{choices}}"
doc_to_target: answer
num_fewshot: 2
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "few_texts": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
""",
    "few_answers": """
output_type: generate_until
doc_to_text: "Q: {{question}}\\nA:"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\\n", "e"], do_sample: false, max_gen_toks: 9}
metric_list: [{metric: exact_match}]
""",
}


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_DATASETS_OFFLINE", "1")
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        yield


@pytest.fixture(scope="module")
def lm():
    lm = NybbleLM(str(tiny_model()), n_ctx=256)
    yield lm
    lm.llm.close()


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A folder with tasks whose questions lie beside them."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    for name, text in TASKS.items():
        head = f"task: {name}\ndataset_path: json\ntest_split: test\nfewshot_split: test\n"
        files = f"dataset_kwargs: {{data_files: {{test: {folder}/questions.jsonl}}}}\n"
        (folder / f"{name}.yaml").write_text(head + files + text.lstrip())
    return folder


def asked(*arguments):
    return Instance(request_type="", doc={}, arguments=arguments, idx=0)


def softmax(llm, ids, n):
    """The log-probabilities of the last n ids, by logits alone, and whether they are the largest."""
    rows = llm.logits(ids[:-1])[-n:].astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return rows[np.arange(n), ids[-n:]].sum(), bool((rows.argmax(axis=1) == ids[-n:]).all())


def evaluated(model, tasks, names, **options):
    manager = TaskManager(include_path=str(tasks), include_defaults=False)  # reading all takes half a minute
    found = lm_eval.simple_evaluate(model, tasks=names, task_manager=manager, bootstrap_iters=0, **options)
    return found["results"], found["samples"]


def test_scores_are_softmaxes_of_the_logits(lm):
    encode = lm.llm.tokenizer.encode
    greedy = lm.llm.generate("the other", SamplingParams(max_tokens=3)).text
    pairs = [
        ("the other", " hand"),
        ("the other ", "hand"),
        ("the other", greedy),
        ("<|im_start|>user\n", "a"),
    ]
    found = lm.loglikelihood([asked(*pair) for pair in pairs], disable_tqdm=True)
    for (context, continuation), (logprob, is_greedy) in zip(pairs, found, strict=True):
        whole = encode(context + continuation, add_special=False, parse_special=True)
        n = len(whole) - len(encode(context.rstrip(), add_special=False, parse_special=True))
        expected = softmax(lm.llm, whole, n)
        assert logprob == pytest.approx(expected[0], abs=1e-5) and is_greedy == expected[1]
    assert found[2][1] and found[0] == found[1], "a space moves to the continuation"


def test_an_empty_context_is_bos(lm):
    ids = lm.llm.tokenizer.encode("the other", add_special=False)
    (found,) = lm.loglikelihood([asked("", "the other")], disable_tqdm=True)
    assert found[0] == pytest.approx(softmax(lm.llm, [lm.llm.tokenizer.bos_id, *ids], len(ids))[0], abs=1e-5)


def test_a_text_longer_than_the_context_goes_through_windows(lm):
    """The second window is as long as the first, and what it has of it is its context."""
    text = "the other hand and " * 30
    ids, n_ctx = [lm.llm.tokenizer.bos_id, *lm.llm.tokenizer.encode(text, add_special=False)], lm.max_length
    n_left = len(ids) - 1 - n_ctx
    assert 20 < n_left < n_ctx
    expected = softmax(lm.llm, ids[: n_ctx + 1], n_ctx)[0] + softmax(lm.llm, ids[-n_ctx - 1 :], n_left)[0]
    found = lm.loglikelihood_rolling([asked(text), asked("the"), asked("")], disable_tqdm=True)
    assert found[0] == pytest.approx(expected, rel=1e-6) and found[1] < 0 and found[2] == 0


def test_what_is_generated(lm):
    sampled = {"do_sample": True, "temperature": 1.2, "top_p": 0.9, "seed": 5, "repetition_penalty": 1.1}
    found = lm.generate_until(
        [
            asked("the other", {"until": ["\n"], "max_gen_toks": 9}),
            asked("the other", {"until": "e", "max_gen_toks": 9, "num_beams": 1}),
            asked("the other", {"max_new_tokens": 9, **sampled}),
        ],
        disable_tqdm=True,
    )
    params = SamplingParams(max_tokens=9)
    plain = lm.llm.generate("the other", params).text
    own = SamplingParams(max_tokens=9, temperature=1.2, top_p=0.9, seed=5, repeat_penalty=1.1)
    drawn = lm.llm.generate("the other", own).text
    assert found == [plain.split("\n")[0], plain.split("e")[0], drawn] and len(set(found)) == 3


def test_too_long_contexts_lose_their_beginning_and_that_is_said(lm, caplog):
    long = "the other hand " * 100
    ids = lm.llm.tokenizer.encode(long, add_special=False)
    with caplog.at_level(logging.WARNING):
        (scored,) = lm.loglikelihood([asked(long, " and")], disable_tqdm=True)
        (text,) = lm.generate_until([asked(long, {"max_gen_toks": 50})], disable_tqdm=True)
    assert "1 of 1 contexts were cut on the left to fit in n_ctx=256" in caplog.text
    assert "contexts were cut on the left to fit, with what is generated, in n_ctx=256" in caplog.text
    whole = lm.llm.tokenizer.encode(f"{long.rstrip()}  and", add_special=False)
    n = len(whole) - len(lm.llm.tokenizer.encode(long.rstrip(), add_special=False))
    assert scored[0] == pytest.approx(softmax(lm.llm, whole[-257:], n)[0], abs=1e-5)
    assert text == lm.llm.generate(ids[-206:], SamplingParams(max_tokens=50)).text


@pytest.mark.parametrize(
    "given, message",
    [
        ({"num_beams": 4}, "gen_kwargs has 'num_beams', which nybble does not know; there are"),
        ({"max_gen_toks": 256}, "max_gen_toks=256 must be less than n_ctx=256"),
        ({"do_sample": True, "temperature": -1}, "temperature must be"),
    ],
)
def test_what_cannot_be_done_is_said(lm, given, message):
    with pytest.raises(RequestError, match=message):
        lm.generate_until([asked("the", given)], disable_tqdm=True)


def test_arguments_that_cannot_be(lm):
    with pytest.raises(TypeError, match="dtype"):
        NybbleLM.create_from_arg_string(f"pretrained={lm.llm.path},dtype=float16", {"batch_size": 1})
    base = NybbleLM(str(tiny_model(chat_template="")), n_ctx=64)
    with pytest.raises(RequestError, match="has no chat template; leave --apply_chat_template out"):
        base.chat_template(True)


def test_bos_is_there_once(lm):
    bos = lm.llm.tokenizer.bos_id
    name = lm.llm.tokenizer.decode([bos], skip_special_tokens=False)
    with_bos = NybbleLM(lm.llm, add_bos_token=True)
    assert with_bos.tok_encode("the")[0] == bos != lm.tok_encode("the")[0]
    assert with_bos.tok_encode(f"{name}the") == with_bos.tok_encode("the")


def test_conversations_are_rendered_by_the_chat_template(lm):
    talk = [{"role": "user", "content": "the other"}, {"role": "assistant", "content": "hand"}]
    assert lm.apply_chat_template(talk[:1]) == lm.llm.render(talk[:1]).text
    assert lm.apply_chat_template(talk, add_generation_prompt=False).endswith("assistant\nhand")
    assert lm.chat_template(True) == lm.llm.chat_template.source and lm.chat_template(False) is None


def test_what_comes_before_the_end_of_thinking_is_left_out(lm):
    whole = lm.llm.generate("the other", SamplingParams(max_tokens=30)).text
    mark = whole[3:6]
    own = NybbleLM(lm.llm, think_end_token=mark)
    request = asked("the other", {"until": [whole[-2:]], "max_gen_toks": 30})
    expected = whole.split(mark)[-1].lstrip().split(whole[-2:])[0]
    assert own.generate_until([request], disable_tqdm=True) == [expected]


def test_whole_tasks(lm, tasks):
    results, samples = evaluated(lm, tasks, list(TASKS))
    llm = lm.llm
    right = total = 0
    for sample in samples["few_choices"]:
        (context,) = {arguments[0] for arguments in sample["arguments"]}
        assert context.count("Q:") == 3, "two examples"
        scores = [
            score.logprob for score in llm.score([(context, f" {c}") for c in sample["doc"]["choices"]])
        ]
        assert [answer[0][0] for answer in sample["resps"]] == pytest.approx(scores)
        right += int(np.argmax(scores)) == sample["doc"]["answer"]
        total += 1
    assert results["few_choices"]["acc,none"] == pytest.approx(right / total)
    texts = [question["question"] for question in QUESTIONS]
    ids = [[llm.tokenizer.bos_id, *llm.tokenizer.encode(text, add_special=False)] for text in texts]
    logprob = sum(softmax(llm, each, len(each) - 1)[0] for each in ids)
    n_bytes = sum(len(text.encode()) for text in texts)
    assert results["few_texts"]["bits_per_byte,none"] == pytest.approx(-logprob / n_bytes / np.log(2))
    for sample in samples["few_answers"]:
        whole = llm.generate(sample["arguments"][0][0], SamplingParams(max_tokens=9)).text
        assert sample["resps"][0][0] == whole.split("\n")[0].split("e")[0]


def test_a_task_in_the_chat_template(lm, tasks):
    _, samples = evaluated(
        lm, tasks, ["few_choices", "few_answers"], apply_chat_template=True, system_instruction="be brief"
    )
    context = samples["few_answers"][0]["arguments"][0][0]
    assert context.startswith("<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nQ: How many")
    assert context.endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_the_command(lm, tasks, tmp_path):
    """As the page has it, but for the model and the task, which it would have to fetch."""
    page = (markdown_page.ROOT / "docs" / "plugs.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if line.startswith("python -m nybble.adapters.lm_eval")]
    words = line.replace("smollm2,n_ctx=2048", f"{lm.llm.path},n_ctx=256,n_threads=1").split()[1:]
    words[words.index("arc_easy")] = "few_choices"
    command = [sys.executable, *words, "--include_path", tasks, "--output_path", tmp_path / "out"]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=HANG, env=os.environ
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (written,) = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(written.read_text())["results"]["few_choices"]
    assert found["acc,none"] == evaluated(lm, tasks, ["few_choices"])[0]["few_choices"]["acc,none"]


def test_the_server_gives_the_same(lm, tasks):
    """The harness's own clients, without a copy of the vocabulary."""
    expected, own = evaluated(lm, tasks, list(TASKS))
    with served(lm.llm) as url:
        arguments = (
            f"model=m,base_url={url}/v1/completions,tokenizer_backend=remote,max_length=256,timeout=60"
        )
        found, samples = evaluated("local-completions", tasks, list(TASKS), model_args=arguments)
        chat_arguments = f"model=m,base_url={url}/v1/chat/completions,timeout=60"
        _, chat = evaluated(
            "local-chat-completions",
            tasks,
            ["few_answers"],
            model_args=chat_arguments,
            apply_chat_template=True,
        )
    for name in TASKS:
        for key, value in expected[name].items():
            if key.endswith(",none") and "stderr" not in key:
                assert found[name][key] == pytest.approx(value, rel=1e-4)
    for a, b in zip(own["few_choices"], samples["few_choices"], strict=True):
        scores = [[answer[0][0] for answer in each["resps"]] for each in (a, b)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    question = [{"role": "user", "content": f"Q: {QUESTIONS[0]['question']}\nA:"}]
    whole = lm.llm.chat(question, SamplingParams(max_tokens=9)).message.content
    assert chat["few_answers"][0]["resps"][0][0] == whole.split("\n")[0].split("e")[0]
