"""Models of huggingface.co, in the hub's own cache, which other programs share.

    CACHE/models--OWNER--REPO/refs/REVISION       the commit that a revision was when it was fetched
    CACHE/models--OWNER--REPO/snapshots/COMMIT/…  the files of a commit: links
    CACHE/models--OWNER--REPO/blobs/DIGITS        to their contents, by SHA-256

What is in the cache is found without the package `huggingface_hub` and without the network.
"""

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import NybbleError, RequestError, did_you_mean
from ..system.file_lock import file_lock
from ..system.notices import is_quiet, say
from .address import HubAddress, is_inside, part_names
from .download import download
from .hub_errors import Unreachable, hub_errors

_DEFAULT_FORMAT = "Q4_K_M"
_MAX_BYTES = 50 * 10**9
"""The largest file that the hub sends by plain HTTP."""
_N_SHOWN = 12


def cached(address: HubAddress) -> Path | None:
    """The path of the first file of a model, if all its files are in the cache; None if not, and for an
    address that leaves the choice of the file to the hub and whose usual format is not here."""
    files = _cached_files(address)
    try:
        chosen = _choose(address, list(files), _DEFAULT_FORMAT)
    except RequestError:
        return None
    return files[chosen[0]] if chosen else None


def pull(address: HubAddress) -> Path:
    """Fetches the files of a model, as far as they are not the newest already; -> the path of the first.

    Raises RequestError if the repository has no such file, PullError if it cannot be fetched, NybbleError if
    `huggingface_hub` is missing, and the OSError of a full disk.
    """
    try:
        files = _listed(address)
    except Unreachable as error:
        return _whatever_is_here(address, error)
    chosen = _choose(address, list(files))
    if not chosen:
        raise RequestError(_no_model(address, list(files)))
    paths = [_pull_file(address, file, files[file]) for file in chosen]
    return paths[0]


def models() -> Iterator[tuple[str, str, str, tuple[Path, ...]]]:
    """The models in the cache: repository, revision, the name of the first file, the paths of all."""
    for ref in sorted(cache().glob("models--*--*/refs/*")):
        _, owner, name = ref.parent.parent.name.split("--", 2)
        address = HubAddress(f"{owner}/{name}", ref.name)
        files = _cached_files(address)
        for file in files:
            if parts := _parts(file, list(files)):
                yield address.repo, address.revision, file, tuple(files[part] for part in parts)


def remove_file(path: Path) -> int:
    """Removes a file of the cache, and its content unless another commit has it too; -> the bytes that are
    free again."""
    content, n_bytes = path.resolve(), path.stat().st_size
    path.unlink()
    repository = next(parent for parent in path.parents if parent.name == "snapshots").parent
    is_shared = any(other.resolve() == content for other in (repository / "snapshots").rglob("*.gguf"))
    if is_shared:
        return 0
    content.unlink(missing_ok=True)
    return n_bytes


def cache() -> Path:
    """The folder of the hub's cache, by the hub's own variables; it may not exist."""
    if chosen := os.environ.get("HF_HUB_CACHE"):
        return Path(chosen).expanduser()
    home = os.environ.get("HF_HOME")
    base = Path(home) if home else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return base.expanduser() / "hub"


def _folder(repo: str) -> Path:
    return cache() / f"models--{repo.replace('/', '--')}"


def _cached_files(address: HubAddress) -> dict[str, Path]:
    """The GGUF files of the repository in the cache: name in the repository -> path."""
    folder = _folder(address.repo)
    try:
        commit = (folder / "refs" / address.revision).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        commit = address.revision  # it may be a commit
    snapshot = folder / "snapshots" / commit
    if not is_inside(commit) or not snapshot.is_dir():
        return {}
    files = (path for path in sorted(snapshot.rglob("*.gguf")) if path.is_file())
    return {path.relative_to(snapshot).as_posix(): path for path in files}


def _choose(address: HubAddress, files: list[str], default: str | None = None) -> list[str]:
    """The files of the model that an address means, all parts in order; [] if there is none.

    Without a file or a format it is the only model of the repository, or that of the usual format; with
    `default`, this only. RequestError if it is not clear which, or if there is no such file.
    """
    models = {file: parts for file in files if is_inside(file) and (parts := _parts(file, files))}
    format = address.format or default
    if address.file is not None:
        found = [file for file in models if address.file in models[file]]
    elif format is not None:
        found = [file for file in models if _has_format(file, format)]
    else:
        found = list(models)
        if len(found) > 1:
            found = [file for file in models if _has_format(file, _DEFAULT_FORMAT)]
    if len(found) == 1:
        return models[found[0]]
    if not models:
        return []
    listed = ", ".join(found[:_N_SHOWN] or list(models)[:_N_SHOWN])
    if found:
        raise RequestError(f"{address} may be any of {listed}; give one: hf:{address.repo}/{found[0]}")
    hint = did_you_mean(address.file or address.format or "", models)
    raise RequestError(f"{address} names none of the models that are there: {listed}{hint}")


def _parts(file: str, files: list[str]) -> list[str]:
    """All files of the model whose first one is `file`; [] if it is another, no model, or incomplete."""
    folder, slash, name = file.rpartition("/")
    parts = [folder + slash + part for part in part_names(name)]
    is_model = name.endswith(".gguf") and not re.search("mmproj|imatrix", name, re.IGNORECASE)
    return parts if is_model and parts[0] == file and set(parts) <= set(files) else []


def _has_format(file: str, format: str) -> bool:
    """Does a word of the name, which "-", "." and "/" part, say this format?"""
    return bool(re.search(rf"(?<![^-./_]){re.escape(format)}(?![^-./])", file, re.IGNORECASE))


def _no_model(address: HubAddress, files: list[str]) -> str:
    endings = {file.rpartition(".")[2] for file in files}
    for ending, what in (("gguf", "no whole model"), ("safetensors", "safetensors"), ("onnx", "ONNX")):
        if ending in endings:
            return (
                f"{address.repo} has {what}, and nybble runs GGUF files; look for a repository of this model"
                " whose name ends in -GGUF, or convert it (llama.cpp's convert_hf_to_gguf.py)"
            )
    return f"{address.repo} has no GGUF file"


def _whatever_is_here(address: HubAddress, error: Unreachable) -> Path:
    """The model in the cache by the rules that hold for the hub; raises `error` if there is none."""
    files = _cached_files(address)
    try:
        chosen = _choose(address, list(files))
    except RequestError:
        raise error from None
    if not chosen:
        raise error
    say(f"huggingface.co cannot be reached; {chosen[0]} is here")
    return files[chosen[0]]


def _package() -> Any:
    """The package; its bars are ours to silence."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise NybbleError(
            f'models of huggingface.co need huggingface_hub: pip install "nybble[hub]" ({error})'
        ) from error
    package: Any = huggingface_hub  # not all that is public is in its type stubs
    if is_quiet():
        package.utils.disable_progress_bars()
    return package


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _listed(address: HubAddress) -> dict[str, str | None]:
    """The files of a repository, each with its SHA-256 if the hub says it."""
    with hub_errors(address):
        api = _package().HfApi(endpoint=_endpoint(), library_name="nybble")
        found = api.model_info(address.repo, revision=address.revision, files_metadata=True, timeout=30)
    return {file.rfilename: file.lfs.sha256 if file.lfs else None for file in found.siblings or []}


def _pull_file(address: HubAddress, file: str, sha256: str | None) -> Path:
    """Fetches one file of a repository: the content by its hash, and what the hub's cache wants around it."""
    folder = _folder(address.repo)
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    wait = partial(say, f"another process is fetching {address}; waiting")
    with file_lock(folder / ".nybble.lock", wait):
        if sha256 is not None and not (folder / "blobs" / sha256).exists():
            say(f"fetching {file} of huggingface.co/{address.repo} into {folder}")
            _pull_content(address, file, folder / "blobs" / sha256)
        with hub_errors(address):
            found = _package().hf_hub_download(
                address.repo,
                file,
                revision=address.revision,
                cache_dir=cache(),
                endpoint=_endpoint(),
                library_name="nybble",
            )
        return Path(found)


def _pull_content(address: HubAddress, file: str, path: Path) -> None:
    """Fetches the content of a file to `path`, whose name is its SHA-256."""
    hub = _package()
    url = hub.hf_hub_url(address.repo, file, revision=address.revision, endpoint=_endpoint())
    with hub_errors(address):
        headers = hub.utils.build_hf_headers(library_name="nybble")
        size = hub.get_hf_file_metadata(url, headers=headers, endpoint=_endpoint()).size
    if size is not None and size > _MAX_BYTES:
        return  # it comes in the hub's own way only
    token = {name: value for name, value in headers.items() if name.lower() == "authorization"}
    download(url, path, title=file.rpartition("/")[2], sha256=path.name, headers=token)
