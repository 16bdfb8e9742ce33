"""The input of a reranker, and the meaning of its scores."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError, RequestError
from ...gguf_io.file import GGUFFile
from ...tokenizer import Tokenizer

_TEMPLATE = "tokenizer.chat_template.rerank"


def rerank_template(file: GGUFFile) -> str | None:
    """The file's template, a text with {query} and {document} in it, or None; ModelError if it is no text."""
    template = file.metadata.get(_TEMPLATE)
    if template is not None and not isinstance(template, str):
        found = file.metadata.type_of(_TEMPLATE)
        raise ModelError(f"{file.path}: {_TEMPLATE} has the wrong type: must be text, found {found}")
    return template


def pair_ids(tokenizer: Tokenizer, template: str | None, query: str, document: str) -> list[int]:
    """The ids of a query and a document, in the template, or as a pair without one.

    A template has control tokens, so those in query and document are read as such too. BOS and EOS are added
    to it as to any text; the tokenizer warns if it has them already.
    """
    for name, text in (("query", query), ("document", document)):
        if not isinstance(text, str):
            raise RequestError(f"a {name} is a text, not {text!r:.100}")
    if template is None:
        return tokenizer.encode_pair(query, document)
    if "{query}" not in template.partition("{document}")[0] or "{document}" not in template:
        raise ModelError(f"{_TEMPLATE} has no place for {{query}} and then {{document}}: {template!r:.200}")
    texts = {"{query}": query, "{document}": document}
    filled = re.sub(r"\{query\}|\{document\}", lambda place: texts[place[0]], template)
    return tokenizer.encode(filled, parse_special=True)


def first_probability(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """scores (n, n_classes) -> the probability of the first class (n,)."""
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights[:, 0] / weights.sum(axis=1)


def class_labels(file: GGUFFile, architecture: str) -> list[str]:
    """The names of a classifier's classes; empty if the file has none."""
    key = f"{architecture}.classifier.output_labels"
    labels = file.metadata.get(key, [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        found = file.metadata.type_of(key)
        raise ModelError(f"{file.path}: {key} has the wrong type: must be a list of texts, found {found}")
    return labels
