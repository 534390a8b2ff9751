"""Ask the model hub about a repository and fetch a file of it, with the hub's own library.

No other module of the product uses a network, but for `parts.py`, which has pip do that.

`HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE` and the usual variables of proxies are honoured. Imported by `models pull` alone.
"""

from __future__ import annotations

import errno
import fnmatch
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.file_download import get_hf_file_metadata, http_get
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]
from huggingface_hub.utils import logging as hub_logging

from palimpsest_engine.checkpoint.catalogue import Entry
from palimpsest_engine.errors import DownloadFailed

Report = Callable[[int], None]  # bytes that arrived; negative if some have to be fetched again
_PATIENCE_SECONDS = 15.0
# Instead of what the library would tell: versions of Python, torch and more.
_WE_ARE = {"user-agent": "palimpsest"}
# Of a whole checkpoint these files are fetched: no code, no pickles, no pictures.
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.jinja", "LICENSE*", "NOTICE*")
# The base of errors of a connection belongs to httpx or to httpx2, depending on the version of the hub's library.
_ConnectionFailed: type[Exception] = next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")


class DiskFull(DownloadFailed):
    """There is no room for the file. Another source would not help."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub states it. blob: git's hash of a file that is not in large-file storage and has no sha256 there."""

    name: str
    size: int
    sha256: str | None = None
    blob: str | None = None


@dataclass(frozen=True, slots=True)
class Stated:
    """A repository as the hub states it at one revision."""

    revision: str
    files: tuple[HubFile, ...]
    licence: str | None


def endpoint() -> str:
    """Return the address of the hub. Raises DownloadFailed if the environment names no address."""
    address = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DownloadFailed(f"HF_ENDPOINT is {address!r}, which is not the address of a server.")
    return address


def state(entry: Entry) -> Stated:
    """Ask the hub for the revision, files, sizes, hashes and licence of a model. Raises DownloadFailed."""
    with _explained(entry.repository):
        api = HfApi(endpoint=endpoint(), headers=dict(_WE_ARE))
        info = api.model_info(entry.repository, revision=entry.revision, files_metadata=True, timeout=_PATIENCE_SECONDS)
    files = tuple(_file(entry.repository, each) for each in info.siblings or () if _is_wanted(entry, each.rfilename))
    missing = {each.name for each in entry.files} - {each.name for each in files}
    if missing:
        raise DownloadFailed(f"{entry.repository} has no file {min(missing)} at {info.sha}.")
    if not entry.files and not any(each.name.endswith(".safetensors") for each in files):
        raise DownloadFailed(f"{entry.repository} has no safetensors weights at {info.sha}; a pickle is never fetched.")
    if not info.sha:
        raise DownloadFailed(f"The hub does not say which revision of {entry.repository} it has.")
    licence = info.card_data.get("license") if info.card_data else None
    return Stated(info.sha, files, licence if isinstance(licence, str) else None)


def _is_wanted(entry: Entry, name: str) -> bool:
    if entry.files:
        return any(each.name == name for each in entry.files)
    return "/" not in name and any(fnmatch.fnmatch(name, pattern) for pattern in _WANTED)


def _file(repository: str, sibling: Any) -> HubFile:
    sha256 = sibling.lfs.sha256 if sibling.lfs else None
    size = sibling.lfs.size if sibling.lfs else sibling.size
    if size is None or not (sha256 or sibling.blob_id):
        raise DownloadFailed(f"The hub states no size or no hash of {sibling.rfilename} in {repository}.")
    return HubFile(sibling.rfilename, size, sha256, None if sha256 else sibling.blob_id)


def fetch(repository: str, revision: str, file: HubFile, target: Path, report: Report) -> None:
    """Fetch a file, or the rest of it if `target` has its beginning.

    Raises DownloadFailed; what arrived stays in `target`.
    """
    url = hf_hub_url(repository, file.name, revision=revision, endpoint=endpoint())
    with _explained(f"{file.name} of {repository}"):
        if target.exists():
            report(target.stat().st_size)
        while True:
            headers = build_hf_headers(headers=dict(_WE_ARE))
            location = _location(url, file, headers)
            if urlsplit(location).netloc != urlsplit(url).netloc:
                headers.pop("authorization", None)  # a token is for the hub alone, not for where it sends us
            with target.open("ab") as out:
                begun = out.tell()
                try:
                    http_get(
                        location,
                        out,
                        resume_size=begun,
                        headers=headers,
                        expected_size=file.size,
                        tqdm_class=_bar(report),
                    )
                    return
                except HfHubHTTPError as error:
                    # An address that the hub gave expires; a new one continues, as long as that gets us further.
                    if _status(error) != 403 or out.tell() <= begun:
                        raise


def _location(url: str, file: HubFile, headers: dict[str, str]) -> str:
    """Ask the hub where the file is. Raises DownloadFailed if it states another size or hash than the expected one."""
    told = get_hf_file_metadata(url, headers=headers, timeout=_PATIENCE_SECONDS)
    if told.size is not None and told.size != file.size:
        raise DownloadFailed(f"The hub has {file.name} with {told.size} bytes, not the {file.size} expected.")
    if file.sha256 and told.etag and len(told.etag) == 64 and told.etag != file.sha256:
        raise DownloadFailed(f"The hub has {file.name} with another hash than the one expected.")
    return told.location


def _bar(report: Report) -> Any:
    """Return a class that stands in for tqdm and passes on what arrives."""

    class Bar:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, count: int = 1) -> None:
            report(count)

    return Bar


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn every error of the hub's library and of the disk into a sentence."""
    before = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)  # its warnings would tear the progress bar
    try:
        yield
    except DownloadFailed:
        raise
    except OfflineModeIsEnabled:
        raise DownloadFailed(f"HF_HUB_OFFLINE forbids asking the hub for {what}.") from None
    except HfHubHTTPError as error:
        raise DownloadFailed(_refusal(what, error)) from None
    except _ConnectionFailed as error:
        raise DownloadFailed(f"The hub at {endpoint()} cannot be reached for {what} ({_short(error)}).") from None
    except OSError as error:
        raise of_disk(error, what) from None
    finally:
        hub_logging.set_verbosity(before)


def of_disk(error: OSError, what: str) -> DownloadFailed:
    """Return the error for a disk that takes no more, or for a connection that ended too early."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull(f"The disk is full; what arrived of {what} is kept, and the same command resumes.")
    if error.errno is None:
        return DownloadFailed(f"The connection ended before {what} was complete; the same command resumes.")
    return DownloadFailed(f"{error.filename or what}: {error.strerror}.")


def _status(error: HfHubHTTPError) -> int | None:
    return getattr(error.response, "status_code", None)


def _refusal(what: str, error: HfHubHTTPError) -> str:
    status = _status(error)
    match status:
        case 401 | 403:
            return (
                f"The hub refuses {what} ({status}): it needs an account that has accepted the licence; "
                "set HF_TOKEN to a token of that account."
            )
        case 404:
            return f"The hub does not have {what} (404), or hides it from you; a private model needs HF_TOKEN."
        case 429:
            return f"The hub asks to wait before {what} is fetched (429); try again later."
        case _:
            return f"The hub failed on {what} ({status or _short(error)}); try again later."


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
