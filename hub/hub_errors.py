"""What went wrong on the way to huggingface.co, and what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import NybbleError, PullError
from .address import HubAddress

_LOGIN = "set HF_TOKEN to a token of yours (huggingface.co/settings/tokens), or run `hf auth login`"


class Unreachable(PullError):
    """The hub did not answer."""


@contextmanager
def hub_errors(address: HubAddress) -> Iterator[None]:
    """Makes PullError of what `huggingface_hub` and its client of HTTP raise; errors of the disk pass."""
    try:
        yield
    except NybbleError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
            raise  # a full disk, a folder that cannot be written to
        made = _pull_error(address, error)
        if made is None:
            raise
        raise made from error


def _pull_error(address: HubAddress, error: Exception) -> PullError | None:
    """None for an error that is not of the hub."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    repo, said = address.repo, " ".join(str(error).split())[:300]
    if "LocalEntryNotFoundError" in kinds and isinstance(error.__cause__, Exception):
        return _pull_error(address, error.__cause__)
    if "GatedRepoError" in kinds:
        return PullError(
            f"{repo} is gated: accept its terms at https://huggingface.co/{repo} with your account there,"
            f" then {_LOGIN}"
        )
    if "RepositoryNotFoundError" in kinds:
        return PullError(
            f"huggingface.co has no {repo}, or it is private: check its name; if it is, {_LOGIN}"
        )
    if "RevisionNotFoundError" in kinds:
        return PullError(f"{repo} has no revision {address.revision!r}")
    if "EntryNotFoundError" in kinds and "LocalEntryNotFoundError" not in kinds:
        return PullError(f"a file of {address} has been taken away while it was fetched; begin anew")
    if (response := getattr(error, "response", None)) is not None:
        return PullError(_of_status(repo, response.status_code, said))
    if "Consistency check failed" in said:
        return PullError(
            f"what came for {address} has the wrong length; nothing was kept: begin anew ({said})"
        )
    is_client = any(kind.__module__.startswith(("httpx", "requests")) for kind in type(error).__mro__)
    if is_client or kinds & {"OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectionError"}:
        return Unreachable(
            f"huggingface.co cannot be reached for {address}: check the network, the proxy (HTTPS_PROXY),"
            f" HF_ENDPOINT and HF_HUB_OFFLINE ({type(error).__name__}: {said})"
        )
    if type(error).__module__.startswith(("huggingface_hub", "hf_xet")) or isinstance(error, OSError):
        return PullError(f"{address} could not be fetched: {said}")
    return None


def _of_status(repo: str, status: int, said: str) -> str:
    if status == 401:
        return f"huggingface.co does not know the token that came with the request for {repo}; {_LOGIN}"
    if status == 403:
        return f"your token may not read {repo}: give it the permission to read, or {_LOGIN} ({said})"
    if status == 429:
        return f"huggingface.co has had too many requests from here; wait some minutes, and {_LOGIN}"
    return f"huggingface.co answers {status} for {repo}; try again later ({said})"
