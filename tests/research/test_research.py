"""Experiments on tiny models, against what NumPy makes of the model's own logits and activations."""

import json
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tiny_model

import nybble
from nybble import RequestError, research
from nybble.cli import main
from nybble.research.patching import patch_sweep
from nybble.research.windows import windows

IDS = np.random.default_rng(3).integers(0, 64, 40).astype(np.int32)


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def llm(request, tmp_path_factory):
    path = tiny_model.write(tmp_path_factory.mktemp("research") / "m.gguf", request.param, "Q8_0")
    with nybble.LLM(path, n_ctx=64) as llm:
        yield llm


@pytest.fixture(scope="module")
def coarse(tmp_path_factory):
    """The weights of the llama above in a coarser format."""
    path = tiny_model.write(tmp_path_factory.mktemp("research") / "m.gguf", "llama", "Q4_0")
    with nybble.LLM(path, n_ctx=64) as llm:
        yield llm


def softmax(logits):
    weights = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("n", [2, 3, 15, 16, 17, 40])
@pytest.mark.parametrize("stride", [1, 5, 15])
def test_strided_windows_score_every_token_once(n, stride):
    ids = np.arange(n, dtype=np.int32)
    found = windows(ids, 16, stride)
    assert np.concatenate([w.ids[w.first_scored :] for w in found]).tolist() == list(range(1, n))
    assert all(len(w.ids) <= 16 and w.first_scored >= min(16 - stride, w.start or 1) for w in found)


def test_windows_score_their_second_halves_as_llama_cpp_does():
    found = windows(np.arange(100, dtype=np.int32), 16, bos_id=7)
    assert [w.start for w in found] == list(range(0, 96, 16))
    assert all(w.ids[0] == 7 and w.ids[w.first_scored :].tolist() == list(range(w.start + 9, w.start + 16))
               for w in found)  # fmt: skip


@pytest.mark.parametrize(
    ("n", "n_ctx", "stride", "message"),
    [
        (1, 16, None, "at least two"),
        (9, 3, None, "at least 4"),
        (9, 8, 8, "from 1 to 7"),
        (9, 8, 0, "not 0"),
    ],
)
def test_windows_that_cannot_be_are_refused(n, n_ctx, stride, message):
    with pytest.raises(RequestError, match=message):
        windows(np.zeros(n, np.int32), n_ctx, stride)


def test_the_loss_of_a_text(llm):
    found = research.text_loss(llm, IDS, n_ctx=16, stride=8)
    expected = np.zeros(len(IDS))
    for window in windows(IDS, 16, 8, llm.tokenizer.bos_id if llm.tokenizer.add_bos else None):
        p = softmax(llm.logits(window.ids))
        for i in range(window.first_scored, len(window.ids)):
            expected[window.start + i] = -np.log(p[i - 1, window.ids[i]])
    assert found.places.tolist() == list(range(1, len(IDS))) and found.ids.tolist() == IDS[1:].tolist()
    np.testing.assert_allclose(found.losses, expected[1:], rtol=1e-6)
    assert found.perplexity == pytest.approx(np.exp(expected[1:].mean()))
    assert found.standard_error == pytest.approx(expected[1:].std(ddof=1) / np.sqrt(len(IDS) - 1))


@pytest.mark.parametrize("stride", [None, 3])
def test_short_windows_run_side_by_side_with_the_same_bits(llm, monkeypatch, stride):
    found = research.text_loss(llm, IDS, n_ctx=8, stride=stride)
    monkeypatch.setattr("nybble.research.windows._DEFAULT_SIZE", 1)
    alone = research.text_loss(llm, IDS, n_ctx=8, stride=stride)
    assert found.losses.tobytes() == alone.losses.tobytes()
    assert found.places.tolist() == alone.places.tolist()


def test_the_loss_says_which_tokens_it_is_of(llm):
    found = research.text_loss(llm, IDS, n_ctx=16)
    assert found.tokens == research.token_texts(llm, found.ids) and found.n_ctx == 16
    assert research.compare(llm, llm, IDS, n_ctx=16).loss_b.tokens == found.tokens


def test_windows_are_no_larger_than_the_context_unless_they_are_asked_for(llm, tmp_path):
    long = np.tile(IDS, 4)  # 160 tokens; the context has 64
    found = research.text_loss(llm, long)
    assert (found.n_ctx, found.n_windows) == (64, 2)
    assert found.losses.tobytes() == research.text_loss(llm, long, n_ctx=64).losses.tobytes()
    with nybble.LLM(llm.path, n_ctx=32) as smaller:
        for a, b in ((llm, smaller), (smaller, llm)):
            assert research.compare(a, b, long).loss_a.n_ctx == 32
    with pytest.raises(RequestError, match="a window of 65 tokens is more than the context holds, n_ctx=64"):
        research.text_loss(llm, long, n_ctx=65)
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat " * 30)
    assert main(["perplexity", str(llm.path), "-f", str(text), "-c", "32"]) == 0
    out = str(tmp_path / "out")
    assert (
        main(["capture", str(llm.path), "-f", str(text), "-a", "blk.0.attn_out", "-o", out, "-c", "32"]) == 0
    )


def test_a_token_is_named_by_its_text_or_its_id(llm):
    n = llm.config.n_vocab
    for id_ in range(n):
        (text,) = research.token_texts(llm, [id_])  # of a byte, perhaps, that has another token too
        assert research.token_texts(llm, [research.token_id(llm, text)]) == [text]
    for id_ in llm.tokenizer.encode("the cat sat", add_special=False):
        assert research.token_id(llm, research.token_texts(llm, [id_])[0]) == id_
        assert research.token_id(llm, np.int32(id_)) == id_
    cut = llm.tokenizer.encode("the cat", add_special=False)
    parts = ", ".join(map(repr, research.token_texts(llm, cut)))
    for wrong, message in [
        ("the cat", f"'the cat' is not one token of this model, but {len(cut)}: {parts}; name one"),
        ("", "cannot be empty"),
        (n, f"tokens lie in 0 to {n - 1}, not {n}"),
        (-1, f"tokens lie in 0 to {n - 1}, not -1"),
        (True, "not True"),
        (2.0, "not 2.0"),
    ]:
        with pytest.raises(RequestError, match=re.escape(message)):
            research.token_id(llm, wrong)


def test_a_model_does_not_differ_from_itself(llm):
    found = research.compare(llm, llm, IDS, n_ctx=16)
    assert found.mean_kl == 0 and found.top_agreement == 1 and found.perplexity_ratio == 1
    assert set(found.layer_errors.values()) == {0.0}


@pytest.mark.parametrize("llm", ["llama"], indirect=True)
def test_how_far_a_coarser_model_is(llm, coarse):
    found = research.compare(llm, coarse, IDS, n_ctx=40, stride=39)
    ids = IDS.copy()
    if llm.tokenizer.add_bos:
        ids[0] = llm.tokenizer.bos_id
    p, q = (softmax(model.logits(ids)[:-1]) for model in (llm, coarse))
    kl = (p * np.log(p / q)).sum(axis=1)
    np.testing.assert_allclose(found.kl, kl, rtol=1e-4, atol=1e-9)
    assert found.kl_quantiles["max"] == pytest.approx(kl.max(), rel=1e-4)
    assert found.top_agreement == np.mean(p.argmax(1) == q.argmax(1))
    a, b = (model.trace(ids, "blk.1.resid_post")["blk.1.resid_post"] for model in (llm, coarse))
    assert found.layer_errors["blk.1.resid_post"] == pytest.approx(
        np.mean(np.square(a - b).sum(axis=1) / np.square(a).sum(axis=1)), rel=1e-4
    )
    assert len(found.layer_errors) == llm.config.n_layers


@pytest.mark.parametrize("llm", ["llama"], indirect=True)
def test_models_with_other_tokens_are_not_compared(llm, tmp_path):
    other = tiny_model.write(tmp_path / "other.gguf", "gemma3")
    with nybble.LLM(other, n_ctx=64) as b, pytest.raises(RequestError, match="the same tokens"):
        research.compare(llm, b, IDS, n_ctx=16)


def test_the_last_layer_of_the_lens_is_the_model(llm):
    with nybble.LLM(llm.path, n_ctx=64, executor="reference") as exact:
        found = research.logit_lens(exact, IDS)
        p = softmax(exact.logits(IDS))
    assert found.names[0] == "blk.0.resid_pre" and len(found.names) == llm.config.n_layers + 1
    assert found.top_ids[-1].tolist() == p.argmax(axis=1).tolist()
    np.testing.assert_allclose(found.top_probabilities[-1], p.max(axis=1), rtol=1e-4)
    following = np.log(p[np.arange(len(IDS) - 1), IDS[1:]])
    np.testing.assert_allclose(found.next_log_probabilities[-1], following, atol=1e-4)


def test_unembedding_wants_a_residual_stream(llm):
    with pytest.raises(RequestError, match=r"\(n_tokens, \d+\), not \(2, 3\)"):
        llm.unembed(np.zeros((2, 3), np.float32))


def test_the_parts_of_a_logit_add_up_to_it(llm):
    found = research.logit_attribution(llm, IDS, token=5, over=9, positions=[3, 39])
    logits = llm.logits(IDS)[[3, 39]].astype(np.float64)
    np.testing.assert_allclose(found.total, logits[:, 5] - logits[:, 9], rtol=0.05, atol=0.05)
    assert found.names[:3] == ["embedding", "blk.0.attn", "blk.0.ffn"]
    texts = research.token_texts(llm, [5, 9])
    assert [found.token, found.over] == texts and found.positions == [3, 39]
    by_text = research.logit_attribution(llm, IDS, *texts, positions=[3, 39])
    assert by_text.values.tobytes() == found.values.tobytes()
    assert len(found.names) == 1 + 2 * llm.config.n_layers
    with pytest.raises(RequestError, match="tokens lie in 0 to"):
        research.logit_attribution(llm, IDS, token=10**6)


def test_patching_the_whole_residual_stream_brings_all_of_the_difference_back(llm):
    corrupted = IDS[:8].copy()
    corrupted[5] = (corrupted[5] + 1) % 64

    def metric(logits):
        return float(logits[5] - logits[9])

    found = patch_sweep(llm, IDS[:8], corrupted, metric, ["blk.0.resid_pre", "blk.*.resid_post"])
    assert np.all(found.effects[:, :5] == 0), "before the difference nothing can matter"
    assert found.effects[0, 5] == pytest.approx(1, abs=1e-3), "the embedding of the one token that differs"
    assert found.effects[-1, 7] == pytest.approx(1, abs=1e-3), "the end of the stream of the last token"
    assert found.effects[-1, 5] == 0, "too late for any other token"
    assert found.tokens == research.token_texts(llm, IDS[:8])
    difference = research.logit_difference(llm, *research.token_texts(llm, [5, 9]))
    assert difference(llm.logits(IDS)[3]) == metric(llm.logits(IDS)[3])
    with pytest.raises(RequestError, match="the same number of tokens"):
        patch_sweep(llm, IDS[:8], IDS[:7], metric)
    with pytest.raises(RequestError, match="no difference to explain"):
        patch_sweep(llm, IDS[:8], IDS[:8], metric)


def test_pictures(llm, tmp_path):
    from nybble.research import plots

    loss = research.text_loss(llm, IDS, n_ctx=16)
    lens = research.logit_lens(llm, IDS[:6])
    attention = softmax(np.random.default_rng(0).standard_normal((6, 3, 6)))
    figures = [
        plots.plot_loss(loss.losses, loss.places),
        plots.plot_loss(loss.losses, loss.places, research.token_texts(llm, loss.ids)),
        plots.plot_attribution(research.logit_attribution(llm, IDS, 5)),
        plots.plot_attribution(research.logit_attribution(llm, IDS, 5, by_head=True)),
        plots.plot_sweep(np.array([[0.5, np.nan], [0.1, -0.2]]), ["a", "b"]),
        plots.plot_comparison(research.compare(llm, llm, IDS, n_ctx=16)),
        plots.plot_lens(lens),
        plots.plot_lens(lens, ["$a_b", "\n", " x", "y", "z", "w"]),
        plots.plot_attention(attention, list("abcdef")),
        plots.plot_sweep(np.eye(3), ["a", "b", "c"], ["x", "y", "z"]),
    ]
    for i, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").read_bytes()[:4] == b"\x89PNG"


def test_what_fonts_lack_is_escaped_and_nothing_is_taken_for_mathematics(tmp_path):
    from nybble.research import plots

    labels = ["\u4e2d", "\U0001f9a5", "\x07", "\n", "a b", "$x_1$", "\u00e9", "x" * 60]
    figure = plots.plot_sweep(np.eye(8), ["a"] * 8, labels, title="\u6587 $y$\nsecond line")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "Glyph 20013 missing from font"
        figure.savefig(tmp_path / "x.png")
    shown = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert shown[:4] == [r"\u4e2d", r"\U0001f9a5", r"\x07", r"\n"]
    assert shown[4:7] == ["a\N{OPEN BOX}b", r"\$x_1\$", "\u00e9"] and len(shown[7]) == 24
    assert figure.get_suptitle() == "\\u6587 \\$y\\$\nsecond line"


def test_pictures_have_titles_and_colour_bars(llm):
    from nybble.research import plots

    attribution = research.logit_attribution(llm, IDS[:6], 5, over=9, by_head=True)
    attention = softmax(np.random.default_rng(0).standard_normal((6, 3, 6)))
    colours = [
        plots.plot_attribution(attribution),
        plots.plot_attention(attention, list("abcdef")),
        plots.plot_lens(research.logit_lens(llm, IDS[:6])),
        plots.plot_sweep(np.eye(3), ["a", "b", "c"]),
    ]
    for figure in colours:
        assert any(axes.get_label() == "<colorbar>" and axes.get_ylabel() for axes in figure.axes)
    loss = research.text_loss(llm, IDS, n_ctx=16)
    others = [
        plots.plot_loss(loss.losses, loss.places),
        plots.plot_comparison(research.compare(llm, llm, IDS, n_ctx=16)),
    ]
    assert all(figure.get_suptitle() for figure in [*colours, *others])
    first, second = (repr(text) for text in research.token_texts(llm, [5, 9]))
    assert first in colours[0].get_suptitle() and second in colours[0].get_suptitle()
    assert plots.plot_loss(loss.losses, loss.places, title="mine").get_suptitle() == "mine"
    assert plots.plot_loss(loss.losses, loss.places, title="").get_suptitle() == ""


def test_a_notebook_shows_a_picture_without_pyplot():
    """Jupyter asks an object for `_repr_png_`."""
    code = (
        "import sys, numpy\nfrom nybble.research import plots\n"
        "png = plots.plot_sweep(numpy.eye(2), ['a', 'b'])._repr_png_()\n"
        "print(png[:4], 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "b'\\x89PNG' False\n", done.stderr


def test_a_picture_of_a_long_text_can_be_drawn(tmp_path):
    from nybble.research import plots

    loss = np.ones(5000)
    figure = plots.plot_loss(loss, np.arange(5000), ["a"] * 5000)
    assert max(figure.get_size_inches()) <= 60


@pytest.mark.parametrize("llm", ["llama"], indirect=True)
def test_the_commands(llm, coarse, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat " * 30)
    options = ["--file", str(text), "--window", "32", "--windows", "2", "--json"]
    assert main(["perplexity", str(llm.path), *options, "--plot", str(tmp_path / "loss.png")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_windows"] == 2 and found["n_tokens"] == 30 and found["perplexity"] > 1
    assert main(["compare", str(llm.path), str(coarse.path), *options]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert compared["perplexity_a"] == pytest.approx(found["perplexity"])
    assert 0 < compared["kl"]["median"] <= compared["kl"]["max"]
    assert main(["compare", str(llm.path), str(coarse.path), *options, "--plot", "kl.txt"]) == 1
    assert "picture to kl.txt; it may end with .png" in capsys.readouterr().err
    text.write_bytes(b"\xff\xfe")
    assert main(["perplexity", str(llm.path), *options]) == 1
    assert "not a text in UTF-8" in capsys.readouterr().err
