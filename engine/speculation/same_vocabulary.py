"""The check that the ids of a draft model mean what they mean to the model that it drafts for."""

from ...errors import RequestError
from ..model import Model


def require_same_vocabulary(draft: Model, model: Model) -> None:
    """RequestError unless `draft` generates text, and each id is the same token to it as to `model`.

    The number of ids may differ by unused ones at the end: models of one family are filled up differently. Of
    a file without a tokenizer only the number is known, which then must be the same.
    """
    draft.require_generation()
    sizes = f"{draft.file.path} has {draft.config.n_vocab} tokens, {model.file.path} {model.config.n_vocab}"
    remedy = "use a smaller model of the same family"
    if draft.tokenizer is None or model.tokenizer is None:
        if draft.config.n_vocab != model.config.n_vocab:
            raise RequestError(f"draft must be a model with the same vocabulary, but {sizes}; {remedy}")
        return
    id_ = draft.tokenizer.first_difference(model.tokenizer)
    if id_ is not None:
        raise RequestError(
            f"draft must be a model with the same vocabulary, but token {id_} is {_name(draft, id_)} in"
            f" {draft.file.path} and {_name(model, id_)} in {model.file.path} ({sizes}); {remedy}"
        )


def _name(model: Model, id_: int) -> str:
    tokenizer = model.tokenizer
    if tokenizer is None or id_ >= tokenizer.n_vocab:
        return "missing"
    token = tokenizer.token_bytes(id_, skip_special_tokens=False)
    return repr(token.decode(errors="backslashreplace"))[:100]
