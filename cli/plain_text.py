"""Text from a file, made fit for a terminal."""


def plain(text: str) -> str:
    """On one line, with escapes for characters that do not print: they may steer the terminal."""
    words = " ".join(text.split())
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in words)
