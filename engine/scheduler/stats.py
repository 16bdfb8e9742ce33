"""What an engine has done, and what it holds, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ...gguf_io.display import Shown


@dataclass(frozen=True, kw_only=True, repr=False)
class Stats(Shown):
    """Counts since the model was loaded, and what is in memory now. A page holds the keys and values of 64
    tokens, in layers of one kind."""

    n_running: int = 0
    """Sequences that have a seat."""
    n_waiting: int = 0
    """Sequences that wait for one."""
    n_pages: int = 0
    """Those below together."""
    n_pages_used: int = 0
    """Of sequences that have a seat."""
    n_pages_cached: int = 0
    """Kept for prompts with the same beginning; they are given away when room is needed."""
    n_pages_free: int = 0
    n_prefix_queries: int = 0
    """Tokens of sequences that might have found their beginning computed."""
    n_prefix_hits: int = 0
    """Of these, tokens that were computed already."""
    n_preemptions: int = 0
    """How often a sequence has lost its seat to an older one, and gone on later."""
    n_drafted: int = 0
    """Tokens that were drafted."""
    n_accepted: int = 0
    """Of these, tokens that were right."""
    n_steps: int = 0
    n_tokens: int = 0
    """Tokens that have run: of prompts, generated, and drafted."""

    @property
    def cache_usage(self) -> float:
        """The part of the pages that sequences use: 0 to 1."""
        return self.n_pages_used / self.n_pages if self.n_pages else 0.0

    def _facts(self) -> dict[str, str]:
        return {each.name: str(getattr(self, each.name)) for each in fields(self)}
