"""G131 for vocabularies: mutants of the metadata are refused, or a tokenizer works."""

from pathlib import Path
from typing import Any

import forge
import fuzz
import numpy as np
import pytest
import tiny_model
import tiny_vocabulary as tiny
from forge import GGUFForge

from nybble.gguf_io.file import load_gguf
from nybble.tokenizer import Tokenizer, has_tokenizer

NEWER = {
    "wordpiece": tiny.wordpiece(),
    "unigram": tiny.unigram(remove_extra_whitespaces=True),
    "characters": tiny.characters(),
    "rwkv": tiny.rwkv(),
    "plamo2": tiny.plamo2(),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of a tiny model with each kind of vocabulary."""
    folder = tmp_path_factory.mktemp("sound")
    archs = {"bpe": "llama", "spm": "gemma3"}
    return {kind: tiny_model.write(folder / arch, arch).read_bytes() for kind, arch in archs.items()}


def vocabulary_file(metadata: dict[str, Any]) -> GGUFForge:
    """A file of a vocabulary alone."""
    file = GGUFForge()
    types = {str: forge.STRING, float: forge.FLOAT32, int: forge.I32}
    for key, value in metadata.items():
        if isinstance(value, bool | int | str):
            file.set(key, value)
        else:
            values = value.tolist() if isinstance(value, np.ndarray) else value
            file.set(key, values, array_of=types[type(values[0])])
    return file


@pytest.mark.parametrize("kind", ["bpe", "spm", *NEWER])
def test_g131_mutants_are_refused_or_work(kind: str, sound: dict[str, bytes], tmp_path: Path) -> None:
    """Mutants of the metadata alone, so that most hit the vocabulary."""
    file = vocabulary_file(NEWER[kind]) if kind in NEWER else GGUFForge.parse(sound[kind])
    file.tensors.clear()

    def use(path: Path) -> None:
        with load_gguf(path) as mutant:
            if has_tokenizer(mutant):
                tokenizer = Tokenizer.from_gguf(mutant)
                tokenizer.decode(tokenizer.encode("then and  the\n<|im_start|> é🦙</s>", parse_special=True))
                tokenizer.decode(range(tokenizer.n_vocab), skip_special_tokens=False)

    outcomes = fuzz.survey(file.build(), use, tmp_path / "mutant.gguf", seed=20261121, n=3000)
    assert outcomes["OK"] > 50, outcomes
    assert outcomes["ModelError"] > 50, outcomes
