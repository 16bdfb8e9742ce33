"""What people see of objects at a prompt, in a notebook and in `help`: short, without arrays, with names."""

import inspect
from dataclasses import is_dataclass
from html.parser import HTMLParser

import numpy as np
import pytest
import tiny_model

import nybble
from nybble import NybbleError, research
from nybble.engine.chat.message import FunctionCall
from nybble.gguf_io.display import Table, brief, html_table
from nybble.research import plots

IDS = list(range(20, 34))
OTHER = [*range(20, 30), 5, *range(31, 34)]


class Page(HTMLParser):
    """The cells of a table, and whether every tag is closed again."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        assert tag in ("table", "caption", "tr", "td")
        self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["td"]:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    path = tiny_model.write(tmp_path_factory.mktemp("display") / "<m>.gguf", n_layers=12)
    with nybble.LLM(path, n_ctx=64) as llm:
        yield llm


@pytest.fixture(scope="module")
def objects(llm):
    """One of each kind that is public."""
    infos = []
    trace = llm.trace(IDS, "blk.*.resid_*", edit={"blk.1.resid_post": lambda value, info: infos.append(info)})
    wide = nybble.SamplingParams(stop=["x" * 256] * 16)
    stream = llm.stream(IDS, nybble.SamplingParams(max_tokens=20, logprobs=1))
    output = stream.result()
    receipt = llm.generate(IDS, nybble.SamplingParams(max_tokens=4)).receipt
    chat = nybble.ChatOutput(nybble.ChatMessage("assistant", "Hi"), "stop", output)
    call = nybble.ToolCall("call1", FunctionCall("look", '{"n": 1}'))
    vector = research.train_control_vector(llm, [(IDS, OTHER)])
    metric = research.logit_difference(llm, 5, 9)
    sweep = research.patch_sweep(llm, IDS, OTHER, metric, "blk.1.resid_pre")
    loss = research.text_loss(llm, IDS)
    attribution = research.logit_attribution(llm, IDS, 5, over=9, by_head=True)
    with nybble.load_gguf(llm.path) as file:
        yield [
            llm, llm.config, llm.tokenizer, llm.activations, llm.activations["blk.1.resid_pre"],
            llm.stats(), llm.score([(IDS, [3, 4])])[0], receipt, llm.verify(receipt),
            llm.unembedding, llm.linear_path("blk.1.attn_heads"), trace, stream, output, output.timings,
            infos[0], wide, nybble.SamplingParams(), output.logprobs[0], chat, chat.message, call,
            nybble.ChatDelta("Hi"), nybble.RenderedChat("Hi", IDS), llm.info,
            file, file.tensors, file.metadata,
            file.tensors["token_embd.weight"], nybble.Architecture("mine", {}, lambda graph, config: None),
            research.attention_maps(llm, IDS), research.attention_maps(llm, IDS).layers,
            attribution, attribution.heads, research.compare(llm, llm, IDS), vector, vector.directions,
            research.logit_lens(llm, IDS), loss, sweep,
            research.path_patch_sweep(llm, IDS, OTHER, metric, "blk.1.attn_heads"),
        ]  # fmt: skip


def test_reprs_are_short(objects):
    for thing in objects:
        text = repr(thing)
        assert len(text) < 600 and text.count("\n") < 8, text
        assert max(map(len, text.splitlines())) < 300, text
        assert "array(" not in text and " object at 0x" not in text, text


def test_notebooks_get_a_table_of_what_matters(objects):
    for thing in objects:
        html = thing._repr_html_()
        cells = Page(html).cells
        assert cells and all(cells[::2]) and len(html) < 12_000, thing
        assert "array(" not in html and " object at 0x" not in html


def test_every_public_result_is_among_them(objects):
    public = [getattr(module, name) for module in (nybble, research) for name in module.__all__]
    results = [kind for kind in public if is_dataclass(kind)]
    assert len(results) > 12 and {kind.__name__ for kind in results} <= {type(o).__name__ for o in objects}


def test_what_reprs_say(llm, objects):
    said = {type(thing).__name__: repr(thing) for thing in objects}
    assert "12 layers: 0, 1, 2, 3, …, 11; each float32 (4, 14, 14)" in said["AttentionMaps"]
    assert "perplexity=" in said["TextLoss"] and "kl=mean 0, 99 % 0 nats" in said["Comparison"]
    assert said["Trace"] == "Trace(14 tokens, 36 activations, 14 rows of logits)"
    assert "n_layers=12" in said["Config"] and "clamp_qkv" not in said["Config"], (
        "what differs from the default"
    )
    assert repr(llm.activations).startswith(
        f"<{len(llm.activations)} activations: 'token_embd', 'blk.0.resid_pre'"
    )
    blocks = Page(llm.activations._repr_html_()).cells
    assert blocks[blocks.index("blk.*.resid_pre (12)") + 1 :][:1] == ["n_tokens x 64"]


def test_what_is_not_alike_in_all_blocks_stands_apart():
    alike = {f"blk.{i}.x": np.zeros(3 if i % 2 else 4) for i in range(5)} | {"y": np.zeros(1)}
    assert Page(Table(alike, "arrays")._repr_html_()).cells == [
        "blk.*.x (3)", "float64 (4,)", "blk.*.x (2)", "float64 (3,)", "y", "float64 (1,)",
    ]  # fmt: skip
    by_number = Table({i: np.zeros(2) for i in range(3)}, "layers")
    assert repr(by_number) == "<3 layers: 0, 1, 2; each float64 (2,)>"
    assert Page(by_number._repr_html_()).cells == ["0 … 2 (3)", "float64 (2,)"]
    assert dict(by_number).keys() == {0, 1, 2} and by_number == dict(by_number)
    with pytest.raises(TypeError):
        by_number[3] = np.zeros(2)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.zeros((2, 3), np.float32), "float32 (2, 3)"),
        (np.float64(1 / 3), "0.333333"),
        ("x" * 100, f"'{'x' * 80}'… (100 in all)"),
        (list(range(5)), "[0, 1, 2, 3, 4]"),
        (list(range(6)), "[0, 1, 2, 3, 4, … 6 in all]"),
        ((1,), "(1,)"),
        ([], "[]"),
        ({"a": np.zeros(9)}, "{'a': float64 (9,)}"),
        ({i: [i] for i in range(100)}, "{0: [0], 1: [1], 2: [2], 3: [3], 4: [4], … 100 in all}"),
        (["y" * 150, "z" * 150], f"['{'y' * 80}'… (150 in all), '{'z' * 80}'… (150 in all)]"),
    ],
)
def test_brief(value, shown):
    assert brief(value) == shown


def test_brief_is_short_whatever_is_nested():
    deep = ["a" * 60] * 50
    for _ in range(4):
        deep = [deep] * 50
    assert len(brief(deep)) < 400


def test_html_is_text_and_long_tables_are_cut():
    assert Page(html_table("<b>", [("<script>", "&amp;")])).cells == ["<script>", "&amp;"]
    assert Page(html_table("n", ([str(i)] for i in range(1000)))).cells[-2:] == ["99", "… 1000 in all"]


def test_a_closed_llm_looks_closed(tmp_path):
    llm = nybble.LLM(tiny_model.write(tmp_path / "m.gguf"), n_ctx=64)
    trace = llm.trace([1, 2], "blk.0.resid_post")
    residual, _, stream = trace["blk.0.resid_post"], llm.unembedding, llm.stream([1])
    assert "n_ctx=64" in repr(llm) and "open" in Page(llm._repr_html_()).cells
    llm.close()
    assert repr(llm) == f"LLM({str(llm.path)!r}, closed)" and "closed" in Page(llm._repr_html_()).cells
    for work in (
        lambda: llm.trace([1]), lambda: llm.unembed(residual), lambda: llm.unembedding, lambda: next(stream),
        lambda: llm.linear_path("blk.0.attn_heads"), lambda: llm.class_labels, lambda: llm.classify("a"),
        lambda: llm.rerank("a", ["b"]), lambda: llm.embed("a"), lambda: llm.prompt_ids("a"), llm.__enter__,
    ):  # fmt: skip
        with pytest.raises(NybbleError, match="this LLM has been closed; make a new one"):
            work()
    assert llm.tokenizer.encode("the cat") and trace.logits.shape[0] == 2, "these are still of use"


def test_a_closed_file_looks_closed(tmp_path):
    path = tiny_model.write(tmp_path / "m.gguf")
    with nybble.load_gguf(path) as file:
        assert "'llama'" in Page(file._repr_html_()).cells
    assert repr(file) == f"<GGUFFile {str(path)!r}, closed>"
    assert "closed" in Page(file._repr_html_()).cells


def public_functions():
    """All functions and methods that `help` shows, by name."""
    for module in (nybble, research, plots):
        names = getattr(module, "__all__", [n for n in vars(module) if n.startswith("plot_")])
        for name in names:
            thing = getattr(module, name)
            if inspect.isfunction(thing):
                yield name, thing
            elif inspect.isclass(thing):
                for method, function in inspect.getmembers(thing, inspect.isroutine):
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield f"{name}.{method}", function


@pytest.mark.parametrize("function", [pytest.param(f, id=name) for name, f in public_functions()])
def test_signatures_are_in_the_words_of_the_source(function):
    signature = str(inspect.signature(function))
    assert not [part for part in ("collections.abc", "numpy.", "nybble.", "Union[") if part in signature], (
        signature
    )


def test_aliases_of_signatures_can_be_imported():
    assert "prompt: 'Prompt" in str(inspect.signature(nybble.LLM.generate))
    assert {"Prompt", "Edit", "Edits"} <= set(nybble.__all__)
