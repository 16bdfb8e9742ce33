"""Model files of any web server, kept in the cache: FOLDER/HASH/NAME.gguf, with the address beside it."""

import hashlib
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import RequestError
from ..system.atomic_file import atomic_file
from ..system.cache_folder import cache_folder
from ..system.file_lock import file_lock
from ..system.notices import say
from .address import WebAddress, part_names
from .download import download

ADDRESS = "address"
"""The file beside a model that says where it came from."""

_END = len("-00001-of-00003.gguf")


def cached(address: WebAddress) -> Path | None:
    """The path of the first file, if all files of the model are here."""
    paths = [_folder(address) / name for name, _ in _parts(address)]
    return paths[0] if all(path.is_file() for path in paths) else None


def pull(address: WebAddress) -> Path:
    """Fetches the files of a model that are not here; -> the path of the first.

    Raises PullError, RequestError for the hash of one of several files, or the OSError of a full disk.
    """
    folder, parts = _folder(address), _parts(address)
    if len(parts) > 1 and address.sha256:
        raise RequestError(f"{address} is one of {len(parts)} files, and #sha256= is for a single one")
    folder.mkdir(parents=True, exist_ok=True)
    wait = partial(say, f"another process is fetching {address.url}; waiting")
    with file_lock(folder / "lock", wait):
        with atomic_file(folder / ADDRESS) as file:
            file.write(str(address).encode())
        for name, url in parts:
            if not (folder / name).is_file():
                say(f"fetching {url} into {folder}")
                download(url, folder / name, title=name, sha256=address.sha256)
    return folder / parts[0][0]


def folders() -> list[Path]:
    """The folders of the models that were fetched, one for each address."""
    return sorted(path.parent for path in (cache_folder() / "web").glob(f"*/{ADDRESS}"))


def _parts(address: WebAddress) -> list[tuple[str, str]]:
    """The name and address of each file of a model."""
    names, parts = part_names(address.file_name), urlsplit(address.url)
    if len(names) == 1 or not parts.path.endswith(address.file_name[-_END:]):
        return [(address.file_name, address.url)]
    urls = [parts._replace(path=parts.path[:-_END] + name[-_END:]).geturl() for name in names]
    return list(zip(names, urls, strict=True))


def _folder(address: WebAddress) -> Path:
    key = _parts(address)[0][1] + (address.sha256 or "")
    return cache_folder() / "web" / hashlib.sha256(key.encode()).hexdigest()[:24]
