"""An entry of the table of buffers."""

from typing import NamedTuple


class Meaning(NamedTuple):
    """What a buffer holds, in one line, and its name in TransformerLens, "" if it has none."""

    text: str
    hook: str = ""
