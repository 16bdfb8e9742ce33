"""A draft model must mean by each id what the model means that it drafts for."""

from types import SimpleNamespace

import architecture_fixtures
import numpy as np
import pytest
import tiny_model
from tiny_vocabulary import NORMAL, UNUSED, bpe, make

from nybble.engine.model import Model
from nybble.engine.speculation.same_vocabulary import require_same_vocabulary
from nybble.errors import RequestError


def test_models_from_files(tmp_path):
    models = {
        name: Model.load(tiny_model.write(tmp_path / f"{name}.gguf", arch, n_layers=n_layers))
        for name, arch, n_layers in (("small", "llama", 1), ("large", "llama", 3), ("other", "gemma3", 1))
    }
    require_same_vocabulary(models["small"], models["large"])
    n = [models[name].config.n_vocab for name in ("other", "large")]
    with pytest.raises(RequestError, match=r"^draft must be a model with the same vocabulary") as caught:
        require_same_vocabulary(models["other"], models["large"])
    folder = f"{tmp_path}/"
    assert (
        f"token 0 is '<pad>' in {folder}other.gguf and '<|endoftext|>' in {folder}large.gguf"
        f" ({folder}other.gguf has {n[0]} tokens, {folder}large.gguf {n[1]}); use a smaller model"
    ) in str(caught.value)
    for model in models.values():
        model.close()


def test_an_encoder_drafts_nothing(tmp_path):
    path = tmp_path / "bert.gguf"
    architecture_fixtures.write(path, architecture_fixtures.description("bert"))
    encoder = Model.load(path)
    with pytest.raises(RequestError, match="gives embeddings"):
        require_same_vocabulary(encoder, encoder)
    encoder.close()


def model(name, tokenizer, n_vocab):
    return SimpleNamespace(
        file=SimpleNamespace(path=name),
        config=SimpleNamespace(n_vocab=n_vocab),
        tokenizer=tokenizer,
        require_generation=lambda: None,
    )


def with_tokens(name, *added, change=None):
    """A model with a small vocabulary, in which tokens (text, type) are added at the end, or one is
    changed."""
    metadata = bpe()
    tokens = metadata["tokenizer.ggml.tokens"] + [text for text, _ in added]
    types = [*metadata["tokenizer.ggml.token_type"], *(type for _, type in added)]
    for id_, text in (change or {}).items():
        tokens[id_] = text
    metadata |= {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": np.array(types, np.int32)}
    return model(name, make(metadata), len(tokens))


def test_unused_tokens_do_not_count():
    plain, filled = with_tokens("plain"), with_tokens("filled", ("[PAD1]", UNUSED), ("[PAD2]", UNUSED))
    others = with_tokens("others", ("[PADDED]", UNUSED))
    for draft in (plain, filled, others):
        for target in (plain, filled, others):
            require_same_vocabulary(draft, target)


def test_the_first_difference_is_named():
    n = len(bpe()["tokenizer.ggml.tokens"])
    plain = with_tokens("plain.gguf")
    more = with_tokens("more.gguf", ("[PAD1]", UNUSED), ("extra", NORMAL))
    other = with_tokens("other.gguf", change={1: "<|user|>"})
    for draft, target, message in (
        (plain, more, rf"token {n + 1} is missing in plain.gguf and 'extra' in more.gguf"),
        (more, plain, rf"token {n + 1} is 'extra' in more.gguf and missing in plain.gguf"),
        (plain, more, rf"plain.gguf has {n} tokens, more.gguf {n + 2}"),
        (plain, other, r"token 1 is '<\|im_start\|>' in plain.gguf and '<\|user\|>' in other.gguf"),
    ):
        with pytest.raises(RequestError, match=message):
            require_same_vocabulary(draft, target)


def test_without_a_tokenizer_the_number_decides():
    known, ids, fewer = with_tokens("known"), model("ids", None, 0), model("fewer", None, 5)
    ids.config.n_vocab = known.config.n_vocab
    require_same_vocabulary(ids, known)
    require_same_vocabulary(known, ids)
    for pair in ((fewer, known), (known, fewer), (ids, fewer)):
        with pytest.raises(RequestError, match=r"same vocabulary, but .* has \d+ tokens, .* \d+; use a"):
            require_same_vocabulary(*pair)
