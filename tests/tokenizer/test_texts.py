"""Lists of texts in one piece of memory."""

import pytest

from nybble.tokenizer.texts import Texts


@pytest.mark.parametrize(
    "texts",
    [[], [""], ["", "", ""], ["a", "", "bc"], ["é", "▁the", "", "😀!", "\x00", "名前", "x" * 1000, ""]],
    ids=len,
)
def test_they_are_the_texts_that_were_put_in(texts: list[str]) -> None:
    found = Texts(texts)
    assert len(found) == len(texts)
    assert list(found) == texts
    assert [found[i - len(texts)] for i in range(len(texts))] == texts
    for i in (len(texts), -len(texts) - 1):
        with pytest.raises(IndexError, match=f"there are {len(texts)} texts, and none has the number {i}"):
            found[i]
