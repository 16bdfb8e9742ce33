"""Whole files: what is kept, what is written, what is refused, and what an interruption leaves."""

import errno
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import forge
import gguf
import numpy as np
import pytest
import tiny_model
from forge import GGUFForge
from stopwatch import HANG, wait_until

import nybble
from nybble import GGUFUnsupportedError, ModelError, RequestError, quantize_gguf
from nybble.cli import main
from nybble.gguf_io import quantize_file

SPLIT_NAME = "m-{:05}-of-00002.gguf"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Rows of 256, so that K-quants fit; 0.5 MB a layer."""
    return tiny_model.write(tmp_path / "source.gguf", n_embd=256, n_ff=256)


def of_gguf(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    """Name -> format and values, as `gguf` reads them."""
    return {
        tensor.name: (
            tensor.tensor_type.name,
            gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64),
        )
        for tensor in gguf.GGUFReader(path).tensors
    }


@pytest.mark.parametrize(
    ("format", "largest_error"),
    [
        ("F16", 3e-4),
        ("BF16", 3e-3),
        ("Q8_0", 6e-3),
        ("Q5_1", 0.04),
        ("Q4_0", 0.09),
        ("Q4_K_M", 0.08),
        ("Q2_K", 0.3),
    ],
)
def test_a_file_in_another_format(format: str, largest_error: float, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.gguf"
    chosen = quantize_gguf(source, target, format, n_threads=3)
    before, after = of_gguf(source), of_gguf(target)
    assert list(after) == list(before)
    assert {name: kind for name, (kind, _) in after.items()} == {n: f.name for n, f in chosen.items()}
    for name, (kind, values) in after.items():
        x = before[name][1]
        if x.ndim == 1:
            assert kind == "F32" and np.array_equal(values, x)
        else:
            assert kind != "F32"
            assert np.sqrt(np.mean((values - x) ** 2)) < largest_error * np.sqrt(np.mean(x**2)), name
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_the_metadata_are_kept_to_the_byte(source: Path, tmp_path: Path) -> None:
    """Types too, and strings that are no text; but for the two keys that say how it is quantized."""
    made = GGUFForge.parse(source.read_bytes())
    made.set("a.short", -3, forge.I16).set("a.double", 0.1, forge.FLOAT64).set(
        "a.name", b"\xff", forge.STRING
    )
    made.set("general.file_type", 0, forge.U32).set("a.list", [1, 2], array_of=forge.I8)
    source.write_bytes(made.build())
    quantize_gguf(source, tmp_path / "target.gguf", "Q3_K_S")
    found = GGUFForge.parse((tmp_path / "target.gguf").read_bytes())
    expected = made.set("general.file_type", 11).set("general.quantization_version", 2)
    assert found.kv == expected.kv


def test_the_slices_make_no_difference(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quantize_gguf(source, tmp_path / "a.gguf", "Q4_K_M", n_threads=1)
    monkeypatch.setattr(quantize_file, "_VALUES_IN_A_SLICE", 1000)
    monkeypatch.setattr(quantize_file, "_BYTES_IN_A_COPY", 100)
    quantize_gguf(source, tmp_path / "b.gguf", "Q4_K_M", n_threads=5)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_the_same_format_is_a_copy(tmp_path: Path) -> None:
    source = tiny_model.write(tmp_path / "source.gguf", weight_format="Q5_0")
    quantize_gguf(source, tmp_path / "target.gguf", "Q5_0", pure=True)
    before, after = (
        GGUFForge.parse((tmp_path / f"{name}.gguf").read_bytes()) for name in ("source", "target")
    )
    assert after.tensors == before.tensors


def test_experts_scalars_and_empty_tensors(tmp_path: Path) -> None:
    """Stacked matrices are quantized, and what has no rows passes."""
    rng = np.random.default_rng(0)
    experts = rng.standard_normal((3, 5, 256)).astype(np.float32)
    made = GGUFForge(alignment=64).set("general.alignment", 64).set("general.architecture", "llama")
    made.add_tensor("blk.0.ffn_down_exps.weight", [256, 5, 3], data=experts.tobytes())
    made.add_tensor("empty.weight", [256, 0, 2]).add_tensor("scalar", []).add_tensor(
        "ids", [4], forge.I64_TENSOR
    )
    (tmp_path / "source.gguf").write_bytes(made.build())
    quantize_gguf(tmp_path / "source.gguf", tmp_path / "target.gguf", "Q8_0")
    with nybble.load_gguf(tmp_path / "target.gguf") as file:
        assert [tensor.format.name for tensor in file.tensors.values()] == ["Q8_0", "Q8_0", "F32", "I64"]
        found = file.tensors["blk.0.ffn_down_exps.weight"].dequantize()
        # half a level, and the rounding of the scale to float16
        np.testing.assert_allclose(found, experts, rtol=2.0**-11, atol=abs(experts).max() / 254)
        assert (file.alignment, file.trailing_bytes) == (64, 0)


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    made = GGUFForge().set("general.architecture", "llama").add_tensor("blk.0.ffn_up.weight", [4096, 4096])
    (tmp_path / "source.gguf").write_bytes(made.build())
    tracemalloc.start()
    quantize_gguf(tmp_path / "source.gguf", tmp_path / "target.gguf", "Q8_0", n_threads=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # of 67 MB, and 18 MB written


def test_a_split_model_becomes_one_file(source: Path, tmp_path: Path) -> None:
    whole = GGUFForge.parse(source.read_bytes())
    for number in range(2):
        part = GGUFForge(kv=list(whole.kv) if number == 0 else [], tensors=whole.tensors[number::2])
        part.set("split.no", number, forge.U16).set("split.count", 2, forge.U16)
        part.set("split.tensors.count", len(whole.tensors), forge.I32)
        (tmp_path / SPLIT_NAME.format(number + 1)).write_bytes(part.build())
    quantize_gguf(tmp_path / SPLIT_NAME.format(2), tmp_path / "joined.gguf", "Q6_K")
    quantize_gguf(source, tmp_path / "target.gguf", "Q6_K")
    found, expected = (
        GGUFForge.parse((tmp_path / f"{name}.gguf").read_bytes()) for name in ("joined", "target")
    )
    assert found.kv == expected.kv
    assert sorted(found.tensors, key=lambda t: t.name) == sorted(expected.tensors, key=lambda t: t.name)
    with pytest.raises(RequestError, match="is the model that is to be quantized"):
        quantize_gguf(
            tmp_path / SPLIT_NAME.format(1), tmp_path / SPLIT_NAME.format(2), "Q6_K", overwrite=True
        )


def test_progress_ends_with_all(source: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    quantize_gguf(
        source, tmp_path / "target.gguf", "Q4_1", progress=lambda done, all_: told.append((done, all_))
    )
    assert sorted(told) == told and len({all_ for _, all_ in told}) == 1
    assert told[-1][0] == told[-1][1] < (tmp_path / "target.gguf").stat().st_size


@pytest.mark.parametrize("format", ["F16", "Q8_0", "Q4_K_M"])
@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "holds nan; "), (np.inf, "holds inf; "), (1e20, "large")]
)
def test_values_that_cannot_be(format: str, value: float, message: str, source: Path, tmp_path: Path) -> None:
    made = GGUFForge.parse(source.read_bytes())
    tensor = made.tensor("blk.1.ffn_up.weight")
    values = np.frombuffer(tensor.data, np.float32).copy()
    values[-1] = value
    tensor.data = values.tobytes()
    source.write_bytes(made.build())
    with pytest.raises(
        ModelError, match=rf"source\.gguf: tensor 'blk\.1\.ffn_up\.weight\[0:256\]' .*{message}"
    ):
        quantize_gguf(source, tmp_path / "target.gguf", format)
    assert list(tmp_path.iterdir()) == [source]


def test_requests_that_are_refused(source: Path, tmp_path: Path) -> None:
    existing = tmp_path / "existing.gguf"
    existing.write_bytes(b"precious")
    with pytest.raises(RequestError, match="is no format to quantize to"):
        quantize_gguf(source, tmp_path / "x.gguf", "Q9_0")
    with pytest.raises(RequestError, match="n_threads must be at least 1, not 0"):
        quantize_gguf(source, tmp_path / "x.gguf", "Q4_0", n_threads=0)
    with pytest.raises(RequestError, match=r"existing\.gguf exists; .*overwrite=True"):
        quantize_gguf(source, existing, "Q4_0")
    os.link(source, tmp_path / "hard.gguf")
    os.symlink(source, tmp_path / "soft.gguf")
    for same in (source, tmp_path / "hard.gguf", tmp_path / "soft.gguf"):
        with pytest.raises(RequestError, match="is the model that is to be quantized"):
            quantize_gguf(source, same, "Q4_0", overwrite=True)
    for place in (tmp_path, Path("/dev/null")):
        with pytest.raises(RequestError, match="is not a regular file"):
            quantize_gguf(source, place, "Q4_0", overwrite=True)
    with pytest.raises(FileNotFoundError):
        quantize_gguf(source, tmp_path / "nowhere" / "x.gguf", "Q4_0")
    assert existing.read_bytes() == b"precious"
    quantize_gguf(source, existing, "Q4_0", overwrite=True)
    assert of_gguf(existing)["blk.0.ffn_up.weight"][0] == "Q4_0"


def test_a_link_stays_a_link(source: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.symlink(tmp_path / "folder" / "real.gguf", tmp_path / "link.gguf")
    quantize_gguf(source, tmp_path / "link.gguf", "Q4_0")
    assert (tmp_path / "link.gguf").is_symlink() and (tmp_path / "folder" / "real.gguf").is_file()


def test_a_tensor_that_cannot_be_read(source: Path, tmp_path: Path) -> None:
    made = GGUFForge.parse(source.read_bytes())
    made.add_tensor("odd.weight", [256, 2], forge.Q8_1)
    source.write_bytes(made.build())
    with pytest.raises(GGUFUnsupportedError, match=r"tensor 'odd\.weight'.*Q8_1"):
        quantize_gguf(source, tmp_path / "target.gguf", "Q4_0")
    assert list(tmp_path.iterdir()) == [source]


def test_a_full_disk_leaves_nothing(source: Path, tmp_path: Path) -> None:
    """Here it is the process that may write no more than so much."""
    code = (
        "import resource, signal, sys; from nybble.cli import main;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000));"
        "sys.exit(main(['quantize', sys.argv[1], sys.argv[2], 'Q8_0']))"
    )
    target = tmp_path / "target.gguf"
    done = subprocess.run([sys.executable, "-c", code, source, target], capture_output=True, text=True)
    assert (done.returncode, os.strerror(errno.EFBIG) in done.stderr) == (1, True), done.stderr
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    source = tiny_model.write(tmp_path / "source.gguf", n_embd=1024, n_ff=1024, n_layers=4)
    command = [
        sys.executable,
        "-m",
        "nybble",
        "quantize",
        source,
        tmp_path / "target.gguf",
        "Q2_K",
        "-t",
        "1",
    ]
    child = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert wait_until(lambda: list(tmp_path.glob("*.partial")))
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=HANG)
    assert child.returncode == 130 and b"Traceback" not in err
    assert list(tmp_path.iterdir()) == [source]


def test_the_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "target.gguf"
    assert main(["quantize", str(source), str(target), "q4_k_s", "-t", "2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{target}: ") and " MB; tensors: " in said and " Q4_K" in said
    assert main(["quantize", str(source), str(target), "Q8_0"]) == 1
    assert "exists; give another name, or replace it with --force" in capsys.readouterr().err
    assert main(["quantize", "--pure", "--force", str(source), str(target), "Q4_K_M"]) == 0
    assert "tensors: 16 Q4_K, 5 F32\n" in capsys.readouterr().out


def test_a_quantized_model_still_says_the_same(tmp_path: Path) -> None:
    source = tiny_model.write(tmp_path / "source.gguf", "gemma3", n_embd=256, n_ff=256)
    quantize_gguf(source, tmp_path / "target.gguf", "Q8_0")
    ids = [3, 40, 50, 60]
    logits = []
    for path in (source, tmp_path / "target.gguf"):
        with nybble.LLM(path, executor="reference") as llm:
            logits.append(llm.logits(ids))
    assert np.square(logits[0] - logits[1]).mean() < 1e-3 * np.square(logits[0]).mean()
