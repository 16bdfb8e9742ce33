"""The table of `docs/activations.md`.

python tests/tools/activation_docs.py        puts it there
"""

from pathlib import Path

from nybble.engine.hooks.names import MEANINGS

PAGE = Path(__file__).parents[2] / "docs" / "activations.md"
BEGIN, END = "<!-- table: python tests/tools/activation_docs.py -->\n", "<!-- end of table -->\n"


def table() -> str:
    """Name, meaning and TransformerLens' name of every activation, as Markdown."""
    names = list(MEANINGS)
    in_block = names[names.index("resid_pre") : names.index("output_norm")]
    rows = ["| nybble | what it is | TransformerLens |", "| --- | --- | --- |"]
    for name, (text, hook) in MEANINGS.items():
        ours, theirs = (f"blk.N.{name}", f"blocks.N.{hook}") if name in in_block else (name, hook)
        rows.append(f"| `{ours}` | {text} | {f'`{theirs}`' if hook else ''} |")
    return "\n".join(rows) + "\n"


def page() -> str:
    """The page with the table of today."""
    text = PAGE.read_text(encoding="utf-8")
    return text[: text.index(BEGIN) + len(BEGIN)] + table() + text[text.index(END) :]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
