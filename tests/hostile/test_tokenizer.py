"""HOSTILE.md G97 to G108: vocabularies that are no vocabularies, and those that are not quite."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forge
import pytest
import tiny_model
import tiny_vocabulary as tiny
from forge import GGUFForge
from hostile_cases import MAX_SECONDS

from nybble.errors import GGUFUnsupportedError, ModelError
from nybble.tokenizer import Tokenizer

UNS, MOD = GGUFUnsupportedError, ModelError
TG = "tokenizer.ggml."


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of a tiny model with each kind of vocabulary."""
    folder = tmp_path_factory.mktemp("sound")
    archs = {"bpe": "llama", "spm": "gemma3"}
    return {kind: tiny_model.write(folder / arch, arch).read_bytes() for kind, arch in archs.items()}


def change(key: str, value: Any, **options: Any) -> Callable[[GGUFForge], object]:
    return lambda file: file.set(TG + key, value, **options)


def remove(key: str) -> Callable[[GGUFForge], object]:
    return lambda file: file.remove(TG + key)


def read(file: GGUFForge, key: str) -> list[str]:
    """The strings of an array."""
    payload = next(entry.payload for entry in file.kv if entry.key == (TG + key).encode())
    values, position = [], 12  # after the element type and the number of elements
    while position < len(payload):
        start = position + 8
        position = start + int.from_bytes(payload[position:start], "little")
        values.append(payload[start:position].decode())
    return values


def edit(key: str, function: Callable[[list[str]], list[Any]]) -> Callable[[GGUFForge], object]:
    return lambda file: file.set(TG + key, function(read(file, key)), array_of=forge.STRING)


def with_value(
    key: str, values: Callable[[int], list[Any]], element_type: int
) -> Callable[[GGUFForge], object]:
    """Replaces a table by `values(number of tokens)`."""
    return lambda file: file.set(TG + key, values(len(read(file, "tokens"))), array_of=element_type)


CASES: list[tuple[str, str, Callable[[GGUFForge], object], type[Exception], str]] = [
    ("G97-model", "bpe", remove("model"), MOD, r"tokenizer\.ggml\.model is missing"),
    ("G97-tokens", "bpe", remove("tokens"), MOD, r"tokens is missing"),
    ("G97-tokens-spm", "spm", remove("tokens"), MOD, r"tokens is missing"),
    ("G99-model", "bpe", change("model", "gpt9"), UNS, r"model is 'gpt9'; nybble reads llama, gpt2, bert"),
    ("G99-model-type", "bpe", change("model", 7), MOD, r"model must be UTF-8 text, found int"),
    ("G99-model-bytes", "bpe", change("model", b"\xff"), MOD, r"model must be UTF-8 text, found bytes"),
    ("G99-pre", "bpe", change("pre", "gpt-9"), UNS, r"pre is 'gpt-9': nybble does not know it"),
    ("G99-pre-type", "bpe", change("pre", True), MOD, r"pre must be UTF-8 text, found bool"),
    ("G100-empty", "bpe", edit("tokens", lambda t: []), MOD, r"tokens is empty"),
    ("G100-empty-spm", "spm", edit("tokens", lambda t: []), MOD, r"tokens is empty"),
    (
        "G100-short",
        "bpe",
        edit("tokens", lambda t: t[:-1]),
        MOD,
        r"the vocabulary has \d+ tokens, but token_embd\.weight has",
    ),
    ("G100-long", "bpe", edit("tokens", lambda t: [*t, "x!"]), MOD, r"token_type has \d+ elements, but"),
    (
        "G101-u32",
        "bpe",
        change("tokens", [1, 2], array_of=forge.U32),
        MOD,
        r"tokens must be an array of strings",
    ),
    ("G101-scalar", "bpe", change("tokens", "a"), MOD, r"tokens must be an array of strings, found str"),
    ("G102-equal", "bpe", edit("tokens", lambda t: ["a"] * len(t)), MOD, r"tokens: 'a' is there twice"),
    ("G102-equal-spm", "spm", edit("tokens", lambda t: ["a"] * len(t)), MOD, r"tokens: 'a' is there twice"),
    (
        "G102-empty",
        "bpe",
        edit("tokens", lambda t: [""] * len(t)),
        MOD,
        r"none of the \d+ tokens is of any use",
    ),
    ("G102-empty-spm", "spm", edit("tokens", lambda t: [""] * len(t)), MOD, r"none of the \d+ tokens"),
    (
        "G104-short",
        "spm",
        change("scores", [0.0] * 5),
        MOD,
        r"scores has 5 elements, but there are \d+ tokens",
    ),
    (
        "G104-u8",
        "spm",
        with_value("scores", lambda n: [0] * n, forge.U8),
        MOD,
        r"float32 or int32, found uint8",
    ),
    ("G104-scalar", "spm", change("scores", 1.0), MOD, r"scores must be an array of float32 or int32"),
    (
        "G104-nan",
        "spm",
        with_value("scores", lambda n: [float("nan")] * n, forge.FLOAT32),
        MOD,
        r"scores\[0\] is nan",
    ),
    (
        "G104-inf",
        "spm",
        with_value("scores", lambda n: [float("inf")] * n, forge.FLOAT32),
        MOD,
        r"scores\[0\] is inf",
    ),
    ("G105-short", "bpe", change("token_type", [1, 1, 1]), MOD, r"token_type has 3 elements, but"),
    (
        "G105-i8",
        "bpe",
        with_value("token_type", lambda n: [1] * n, forge.I8),
        MOD,
        r"token_type .* found int8",
    ),
    (
        "G105-99",
        "bpe",
        with_value("token_type", lambda n: [1] * (n - 1) + [99], forge.I32),
        MOD,
        r"\] is 99, exp",
    ),
    (
        "G105-neg",
        "spm",
        with_value("token_type", lambda n: [-1] * n, forge.I32),
        MOD,
        r"\[0\] is -1, expected 0",
    ),
    (
        "G105-bytes",
        "spm",
        with_value("token_type", lambda n: [6] * n, forge.I32),
        MOD,
        r"type BYTE but reads",
    ),
    ("G105-no-bytes", "spm", edit("tokens", lambda t: [*t[:8], "<0xzz>", *t[9:]]), MOD, r"reads '<0xzz>'"),
    ("G106-type", "bpe", change("eos_token_id", "2"), MOD, r"eos_token_id must be an integer, found str"),
    ("G106-bool", "bpe", change("eos_token_id", True), MOD, r"eos_token_id must be an integer, found bool"),
    ("G106-add", "bpe", change("add_bos_token", 1), MOD, r"add_bos_token must be a bool, found int"),
    ("G107-missing", "bpe", remove("merges"), MOD, r"merges is missing"),
    ("G107-none", "bpe", edit("merges", lambda m: []), MOD, r"merges is empty"),
    ("G107-type", "bpe", change("merges", [1, 2]), MOD, r"merges must be an array of strings"),
    (
        "G107-space",
        "bpe",
        edit("merges", lambda m: [*m[:3], "ab", *m[4:]]),
        MOD,
        r"merges\[3\] is 'ab': expected",
    ),
    (
        "G107-empty",
        "bpe",
        edit("merges", lambda m: [*m[:3], "", *m[4:]]),
        MOD,
        r"merges\[3\] is '': expected two",
    ),
    (
        "G107-unknown",
        "bpe",
        edit("merges", lambda m: [*m, "日 本"]),
        MOD,
        r"is '日 本': there is no token '日'",
    ),
    ("G107-three", "bpe", edit("merges", lambda m: [*m, "h e r"]), MOD, r"is 'h e r': expected two tokens"),
    (
        "G107-bytes",
        "bpe",
        edit("merges", lambda m: [b"\xff", *m]),
        MOD,
        r"merges\[0\] must be UTF-8 text, found b",
    ),
]


@pytest.mark.parametrize(
    ("kind", "corrupt", "error", "pattern"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_case(
    sound: dict[str, bytes],
    kind: str,
    corrupt: Callable[[GGUFForge], object],
    error: type[Exception],
    pattern: str,
    tmp_path: Path,
) -> None:
    file = GGUFForge.parse(sound[kind])
    corrupt(file)
    path = tmp_path / "hostile.gguf"
    path.write_bytes(file.build())
    start = time.process_time()
    with pytest.raises(error, match=pattern) as caught:
        Tokenizer.from_gguf(path)
    assert time.process_time() - start < MAX_SECONDS
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"{path}: ")


def test_g97_a_bos_to_add_that_is_not_there() -> None:
    with pytest.raises(
        ModelError, match=r"f: tokenizer\.ggml\.add_bos_token is true, but there is no bos_token_id"
    ):
        Tokenizer.from_metadata(tiny.bpe(add_bos_token=True), "f")


ACCEPTED: list[tuple[str, str, Callable[[GGUFForge], object], str]] = [
    ("G98-scores", "spm", remove("scores"), r"tokenizer\.ggml\.scores is missing"),
    (
        "G104-long",
        "spm",
        with_value("scores", lambda n: [-float(i) for i in range(n + 2)], forge.FLOAT32),
        r"tokenizer\.ggml\.scores has \d+ elements, .* the last 2 are left out",
    ),
    (
        "G105-long",
        "bpe",
        with_value("token_type", lambda n: [1] * n + [99], forge.I32),
        r"tokenizer\.ggml\.token_type has \d+ elements, .* the last 1 are left out",
    ),
    *(
        (
            f"G106-{kind}-{key}-{value}",
            kind,
            change(f"{key}_token_id", value, type=forge.I32 if value < 0 else forge.U32),
            rf"{key}_token_id is {value}, but",
        )
        for kind in ("bpe", "spm")
        for key in ("bos", "eos", "eot", "unknown", "padding", "mask", "fim_pre", "fim_sep", "middle")
        for value in (100_000, 2**32 - 1, -1)
    ),
    ("G107-result", "bpe", edit("merges", lambda m: [*m, "q q"]), r"1 merges make no token, .*, 'q q'"),
]


@pytest.mark.parametrize(
    ("kind", "change", "pattern"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED]
)
def test_looser_vocabularies_are_read_with_one_warning(
    sound: dict[str, bytes],
    kind: str,
    change: Callable[[GGUFForge], object],
    pattern: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = GGUFForge.parse(sound[kind])
    change(file)
    path = tmp_path / "loose.gguf"
    path.write_bytes(file.build())
    tokenizer = Tokenizer.from_gguf(path)
    (message,) = caplog.messages
    assert re.match(rf"{re.escape(str(path))}: .*{pattern}", message)
    text = "then and qqqé\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_g21_a_token_that_is_not_utf_8(sound: dict[str, bytes], tmp_path: Path) -> None:
    for kind in sound:
        file = GGUFForge.parse(sound[kind])
        edit("tokens", lambda tokens: [*tokens[:-1], b"ab\xff"])(file)
        if kind == "bpe":
            edit("merges", lambda merges: merges[:-1])(file)
        path = tmp_path / f"{kind}.gguf"
        path.write_bytes(file.build())
        tokenizer = Tokenizer.from_gguf(path)
        assert tokenizer.token_bytes(tokenizer.n_vocab - 1) == b"ab\xff"


def test_g98_unigram_needs_no_scores(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = Tokenizer.from_metadata(tiny.unigram(scores=None), "f")
    assert caplog.messages[0].startswith("f: tokenizer.ggml.scores is missing")
    assert tokenizer.decode(tokenizer.encode("hello")) == "hello"


def test_g98_bpe_needs_no_scores(sound: dict[str, bytes]) -> None:
    assert b"tokenizer.ggml.scores" not in sound["bpe"]


@pytest.mark.parametrize("kind", ["bpe", "spm"])
@pytest.mark.parametrize("n_more", [1, -1])
def test_g100_embedding_of_another_length(
    sound: dict[str, bytes], kind: str, n_more: int, tmp_path: Path
) -> None:
    file = GGUFForge.parse(sound[kind])
    embedding = file.tensor("token_embd.weight")
    n_embd, n_vocab = embedding.dims
    file.drop_tensor("token_embd.weight").add_tensor("token_embd.weight", [n_embd, n_vocab + n_more])
    path = tmp_path / "hostile.gguf"
    path.write_bytes(file.build())
    with pytest.raises(
        ModelError, match=rf"has {n_vocab} tokens, but token_embd.weight has {n_vocab + n_more}"
    ):
        Tokenizer.from_gguf(path)


@pytest.mark.parametrize("forged", [tiny.bpe, tiny.spm], ids=["bpe", "spm"])
def test_g102_some_empty_tokens(forged: Callable[..., dict[str, Any]]) -> None:
    """Real files have some. They are never encoded, and stand for nothing."""
    metadata = forged()
    metadata[TG + "tokens"][0] = ""
    tokenizer = Tokenizer.from_metadata(metadata, "f")
    assert tokenizer.decode([0]) == ""
    assert tokenizer.decode(tokenizer.encode("hello [EMPTY_0]", parse_special=True)) == "hello [EMPTY_0]"
    assert 0 not in tokenizer.encode("hello [EMPTY_0]")
