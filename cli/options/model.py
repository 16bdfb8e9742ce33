"""The MODEL of a command line."""

import os

from ...hub.models import is_known

DEFAULT_MODEL = "smollm2"


def is_model(word: str) -> bool:
    """Is it a name, an address, or a path as models have them?"""
    return is_known(word) or word.lower().endswith(".gguf") or os.path.isfile(os.path.expanduser(word))
