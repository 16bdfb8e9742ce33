"""Markdown on the page at `/`, in Chromium."""

import random

import pytest
from served import served

from nybble.testing import MockBackend

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
def page(opened):
    with served(MockBackend(["An answer"])) as url:
        yield opened(url)


PIECES = [
    *(
        "# head\n",
        "text ",
        "**bold",
        "** ",
        "*",
        "_it_ ",
        "`",
        "``` py\n",
        "```\n",
        "- item\n",
        "  - inner\n",
        "1. one\n",
    ),
    *(
        "\n",
        "\n\n",
        "| a | b |\n|---|---|\n",
        "| 1 | 2 |\n",
        "> quote\n",
        "---\n",
        "[a](https://e.org) ",
        "[",
        "](",
        "~~",
    ),
    *("\\*", "<b>", "https://e.org/x. ", "\t", "    code\n", "é漢🙂", "&lt;", "  \n"),
]
SAME = """async (texts) => {
    const { Markdown } = await import("/page/markdown.js");
    return texts.filter((pieces) => {
        const growing = new Markdown();
        let text = "";
        for (const piece of pieces) growing.show(text += piece);
        const whole = new Markdown();
        whole.show(text);
        return growing.element.innerHTML !== whole.element.innerHTML
            || growing.element.querySelector("script, img, b, iframe, [onerror]");
    });
}"""


def test_a_text_that_grows_is_shown_as_the_whole_one(page):
    draw = random.Random(5)
    texts = [draw.choices(PIECES, k=draw.randint(1, 25)) for _ in range(2000)]
    assert page.evaluate(SAME, texts) == []


HOSTILE = [
    "*",
    "_",
    "`",
    "[",
    "![",
    "](",
    ">",
    "- ",
    "  - ",
    "| ",
    "|",
    "#",
    "~~",
    "`` ` ",
    "*a _b ",
    "[a](",
    " ",
    "\t",
    "\\",
    "a*",
    "\n",
    "> - ",
    "-",
    "(",
    "https://",
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_texts_take_little_time(page, unit):
    script = """async (text) => {
        const { Markdown } = await import("/page/markdown.js");
        const shown = new Markdown();
        const began = performance.now();
        for (const end of ["x", "\\n- \\nx", "\\n\\nx|y\\n" + text]) shown.show(text + end);
        return performance.now() - began;
    }"""
    assert page.evaluate(script, unit * (60_000 // len(unit))) < 3000
