"""What a draft is, and which of its tokens are kept.

The model runs the drafted tokens as rows of one step, and an id is drawn from the logits of each row as it
would be without drafts, by its own random number. While the id drawn is the one drafted, the next row is what
comes next in the text; so speculation changes no token, at any temperature, and only saves steps.
"""

from collections.abc import Callable, Sequence
from typing import Protocol


class Draft(Protocol):
    """Proposes how one text goes on."""

    def extend(self, ids: Sequence[int]) -> None:
        """Tells the ids that come next in the text: of the prompt first, then those generated."""

    def propose(self, n: int) -> list[int]:
        """Up to `n` ids that may come next. None of them belongs to the text until `extend` is told."""


def verified(drafted: Sequence[int], choose: Callable[[int], int]) -> list[int]:
    """The ids that come next in the text: 1 to len(drafted) + 1, those of `drafted` that are right first.

    `choose(i)` draws the id after the first i drafted ones from the model's logits. It is called in this
    order, and only while the drafted ids are right.
    """
    chosen = [choose(0)]
    for i, id_ in enumerate(drafted):
        if id_ != chosen[i]:
            break
        chosen.append(choose(i + 1))
    return chosen
