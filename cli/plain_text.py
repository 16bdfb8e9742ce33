"""Text from a file, made safe for a terminal."""


def plain(text: str) -> str:
    """`text` on one line, with escapes for unprintable characters, which may control the terminal."""
    words = " ".join(text.split())
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in words)
