"""What a buffer holds: one line of the table of names."""

from typing import NamedTuple


class Meaning(NamedTuple):
    """One line for people, and TransformerLens' name, "" if it has none."""

    text: str
    hook: str = ""
