"""Ids -> text, all at once or as they come."""

import codecs
from collections.abc import Callable, Collection


class StreamDecoder:
    """Turns ids into text one at a time; never emits half a character. Made by `Tokenizer.stream_decoder`.

    The results of `push` and the final `flush`, joined, are the result of `Tokenizer.decode` for all ids.
    Bytes that are not UTF-8 become U+FFFD. A token that is not shown ends an unfinished character, as its
    name would.
    """

    def __init__(
        self, token_bytes: Callable[[int], bytes], prefixed_after: Collection[int] | None, at_prefix: bool
    ) -> None:
        """`token_bytes` gives the bytes of a token.

        `prefixed_after`: the special tokens after which encoding adds a space, which decoding removes; None
        if it never does. `at_prefix`: is there such a space before the first token too?
        """
        self._token_bytes = token_bytes
        self._prefixed_after = prefixed_after
        self._at_prefix = at_prefix and prefixed_after is not None
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id_: int) -> str:
        """The text that this token completes, "" within a character. RequestError if there is no such id."""
        added = self.push_bytes(id_)
        return self._utf8.decode(added, final=not added)

    def push_bytes(self, id_: int) -> bytes:
        """The bytes that this token adds. RequestError if there is no such id."""
        added = self._token_bytes(id_)
        if self._prefixed_after is None:
            return added
        if id_ in self._prefixed_after:
            self._at_prefix = True
        elif self._at_prefix:
            self._at_prefix = False
            added = added.removeprefix(b" ")
        return added

    def flush(self) -> str:
        """Ends the text; an unfinished character becomes U+FFFD."""
        return self._utf8.decode(b"", final=True)
