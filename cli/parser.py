"""The parser of the command line: argparse's, with "did you mean" and texts that begin with a dash."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import did_you_mean

_MARK = "\0"  # which no word of a command line can contain


class Parser(argparse.ArgumentParser):
    """Takes options only by their whole names, so that new options do not change the meaning of short
    ones."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def parse_intermixed_args(  # type: ignore[override]  # one of its three forms
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        """Options may stand between the words; after `--` all are words, whatever they begin with.

        argparse drops the `--` before Python 3.12.5, so the words after it are marked during parsing.
        """
        words = list(sys.argv[1:] if args is None else args)
        end = words.index("--") if "--" in words else len(words)
        words[end:] = [_MARK + word for word in words[end + 1 :]]
        found, unknown = self.parse_known_intermixed_args(words, namespace)
        for name, value in vars(found).items():
            is_list = isinstance(value, list)
            setattr(found, name, [_unmarked(element) for element in value] if is_list else _unmarked(value))
        if options := [word.partition("=")[0] for word in unknown if word.startswith("-")]:
            option, known = options[0], [name for action in self._actions for name in action.option_strings]
            longer = [name for name in known if name.startswith(option)]
            hint = did_you_mean(option, longer, 0) or did_you_mean(option, known)
            hint = hint or "; a text that begins with a dash stands after --"
            self.error(f"there is no option {option}{hint}")
        if unknown:
            self.error(f"too many words: {' '.join(map(_unmarked, unknown))}; a text stands in quotes")
        return found


def _unmarked(value: Any) -> Any:
    return value.removeprefix(_MARK) if isinstance(value, str) else value
