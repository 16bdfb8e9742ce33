"""The MODEL of a command line."""

import os

from ...hub.models import SOURCES

DEFAULT_MODEL = "smollm2"


def is_model(word: str) -> bool:
    """Is it a name, or a path as models have them?"""
    return word in SOURCES or word.lower().endswith(".gguf") or os.path.isfile(os.path.expanduser(word))
