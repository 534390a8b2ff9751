"""The corpus builder from archives to splits: nothing half-written, nothing fetched twice, nothing taken twice."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from palimpsest_train import attribution, corpus, sources
from palimpsest_train.__main__ import main
from palimpsest_train.archives import is_safe, read_members
from palimpsest_train.corpus import build
from palimpsest_train.debian import AptSources, as_source
from palimpsest_train.errors import CorpusError
from palimpsest_train.manifest import compare, pins
from palimpsest_train.packages import Group, Plan, read_plan

RULES = read_plan().rules
MIT = (
    "Permission is hereby granted, free of charge, to any person obtaining a copy. The above copyright notice and this \
permission notice shall be included in all copies."
)


def source(name: str) -> str:
    """A file like no other with another name: every line has it in it."""
    lines = "".join(f"    {name}_{i} = {name}_input * {i}\n" for i in range(20))
    return f"def {name}({name}_input):\n{lines}    return {name}_3\n"


def wheel(folder: Path, name: str, files: dict[str, str], licence: str = "MIT", version: str = "1.0") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as out:
        for member, text in files.items():
            out.writestr(member, text)
        if licence:
            out.writestr(f"{name}-{version}.dist-info/METADATA", f"Name: {name}\nLicense-Expression: {licence}\n")
        out.writestr(f"{name}-{version}.dist-info/licenses/LICENSE", f"Licence of {name}")
    return path


def tarball(path: Path, files: dict[str, str | bytes], top: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as out:
        for member, text in files.items():
            data = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(top + member)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


PYTHON = Group("python", "pypi", ("python",), packages=("alpha", "beta"), held_out=("kept",))
PLAN = Plan((PYTHON,), RULES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    wheel(tmp_path / "wheels", "alpha", {"alpha/a.py": source("alpha"), "alpha/tests/b.py": source("test")})
    wheel(tmp_path / "wheels", "beta", {"beta/a.py": source("beta"), "beta/copy.py": source("kept") + "# more\n"})
    wheel(tmp_path / "wheels", "kept", {"kept/a.py": source("kept")})
    return tmp_path


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would have been run; each fails as one that finds no package."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found")

    monkeypatch.setattr(sources.subprocess, "run", run)
    return commands


def rows(folder: Path, split: str) -> list[tuple[str, str]]:
    text = (folder / f"{split}.jsonl").read_text("utf-8")
    return [(row["package"], row["path"]) for row in map(json.loads, text.splitlines())]


def test_the_splits_are_by_package_and_nothing_held_out_is_trained_on(folder: Path, no_network: list[list[str]]):
    report = build(folder, PLAN, library=False)
    assert rows(folder, "held_out") == [("kept", "kept/a.py")]
    assert rows(folder, "train") == [("alpha", "alpha/a.py"), ("beta", "beta/a.py")]
    assert report.dropped["python"] == {"near duplicate": 1, "test": 1}
    assert not no_network
    assert not list(folder.rglob("*.part"))
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert [s["name"] for s in manifest["sources"]] == ["kept", "alpha", "beta"]
    assert all(len(sha) == 64 for s in manifest["sources"] for sha in s["archives"].values())
    text = (folder / "ATTRIBUTION.txt").read_text("utf-8")
    assert all(
        f"{name} 1.0\nSPDX: MIT\n" in text and f"Licence of {name}" in text for name in ("kept", "alpha", "beta")
    )


def test_the_same_corpus_comes_out_again(folder: Path):
    build(folder, PLAN, library=False)
    first = {path.name: path.read_bytes() for path in folder.glob("*.*") if path.is_file()}
    build(folder, PLAN, library=False)
    assert {path.name: path.read_bytes() for path in folder.glob("*.*") if path.is_file()} == first


@pytest.mark.parametrize(("licence", "reason"), [("", "its licence is unclear"), ("MPL-2.0", "its licence is MPL-2.0")])
def test_an_unaccepted_licence_leaves_the_package_out_with_the_reason(folder: Path, licence: str, reason: str):
    (folder / "wheels" / "alpha-1.0-py3-none-any.whl").unlink()
    wheel(folder / "wheels", "alpha", {"alpha/a.py": source("alpha")}, licence)
    report = build(folder, PLAN, library=False)
    assert [(p["name"], p["reason"]) for p in report.left_out] == [("alpha", reason)]
    assert ("alpha", "alpha/a.py") not in rows(folder, "train")
    assert "alpha 1.0" not in (folder / "ATTRIBUTION.txt").read_text("utf-8")


def test_the_licence_text_counts_if_the_metadata_is_silent(folder: Path):
    path = wheel(folder / "wheels", "alpha", {"alpha/a.py": source("alpha")}, licence="")
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("alpha/a.py", source("alpha"))
        out.writestr("alpha-1.0.dist-info/METADATA", "Name: alpha\n")
        out.writestr("alpha-1.0.dist-info/licenses/LICENSE", MIT)
    taken = next(s for s in build(folder, PLAN, library=False).sources if s.name == "alpha")
    assert (taken.spdx, taken.spdx_read_from) == ("MIT", "alpha-1.0.dist-info/licenses/LICENSE")


def test_texts_with_a_benchmarks_problems_are_left_out(folder: Path, tmp_path: Path):
    problems = tmp_path / "problems.jsonl"
    problems.write_text(json.dumps({"prompt": source("alpha")[:400], "suffix": ""}) + "\n", "utf-8")
    report = build(folder, PLAN, [problems], library=False)
    assert rows(folder, "train") == [("beta", "beta/a.py")]
    assert [(c["package"], c["path"]) for c in report.contaminated] == [("alpha", "alpha/a.py")]
    assert report.benchmarks[0]["name"] == "problems.jsonl"


def test_shares_of_a_package_and_of_a_group(folder: Path):
    many = {f"alpha/f{i}.py": source(f"alpha{i}") for i in range(10)}
    wheel(folder / "wheels", "alpha", many)
    one = len(source("alpha0"))
    group = replace(PYTHON, most_of_one=one * 3)
    report = build(folder, Plan((group,), RULES), library=False)
    assert len([row for row in rows(folder, "train") if row[0] == "alpha"]) == 3
    assert report.dropped["python"]["share used up"] == 7
    build(folder, Plan((replace(PYTHON, characters=one * 2),), RULES), library=False)
    assert {package for package, _ in rows(folder, "train")} == {"alpha"}


def test_the_library_of_the_running_python_is_a_source(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(corpus, "library_files", lambda: iter([("heap.py", source("heap").encode())]))
    build(folder, PLAN)
    assert ("cpython", "heap.py") in rows(folder, "train")


# --- what can go wrong


def test_a_full_disk_leaves_the_old_corpus_whole(folder: Path, monkeypatch: pytest.MonkeyPatch):
    build(folder, PLAN, library=False)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(attribution.Attribution, "add", full)
    with pytest.raises(OSError, match="No space left"):
        build(folder, PLAN, library=False)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    monkeypatch.setattr("palimpsest_train.packages.read_plan", lambda: PLAN)
    result = CliRunner().invoke(main, ["corpus", "--corpus", str(folder)])
    assert result.exit_code == 1
    assert result.output.strip() == (
        "Error: No space left on device; what was there before is whole, and a rerun goes on from it"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_disk_that_is_full_at_the_last_moment_leaves_no_part(tmp_path: Path):
    file = attribution.Attribution(tmp_path / "ATTRIBUTION.txt")
    with pytest.raises(OSError, match="No space left"), file:  # noqa: PT012
        file._out.close()
        file._out = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115
        file.add("thing", "1.0", "MIT", {"LICENSE": "text"})
    assert not list(tmp_path.iterdir())


def test_a_broken_archive_is_named_and_the_old_corpus_stays(folder: Path):
    build(folder, PLAN, library=False)
    before = (folder / "train.jsonl").read_bytes()
    broken = folder / "wheels" / "alpha-1.0-py3-none-any.whl"
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(CorpusError, match=r"alpha-1\.0.*broken.*delete it and run again"):
        build(folder, PLAN, library=False)
    assert (folder / "train.jsonl").read_bytes() == before
    assert not list(folder.rglob("*.part"))


def test_an_unavailable_package_is_left_out(folder: Path, no_network: list[list[str]]):
    (folder / "wheels" / "beta-1.0-py3-none-any.whl").unlink()
    report = build(folder, PLAN, library=False)
    assert [(p["name"], p["reason"]) for p in report.left_out] == [("beta", "not available from the registry")]
    assert [command[-1] for command in no_network] == ["beta"]


def test_without_a_held_out_package_there_is_no_corpus(folder: Path):
    (folder / "wheels" / "kept-1.0-py3-none-any.whl").unlink()
    with pytest.raises(CorpusError, match="held-out package kept cannot be fetched"):
        build(folder, PLAN, library=False)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("NewConnectionError: Failed to establish a new connection", "the registry of beta does not answer; run again"),
        (
            "WARNING: Retrying (Retry(total=1)) after connection broken by 'NameResolutionError(...: Failed to resolve)'",
            "the registry of beta does not answer; run again",
        ),
        ("npm error code ENOTFOUND", "the registry of beta does not answer; run again"),
        ("OSError: [Errno 28] No space left on device", "the disk is full while beta is fetched"),
    ],
)
def test_no_network_and_no_room_stop_the_run_and_keep_fetched_packages(
    folder: Path, monkeypatch: pytest.MonkeyPatch, said: str, message: str
):
    (folder / "wheels" / "beta-1.0-py3-none-any.whl").unlink()
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(sources.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(CorpusError, match=message):
        build(folder, PLAN, library=False)
    assert sorted(p.name.split("-")[0] for p in (folder / "wheels").glob("*.whl")) == ["alpha", "kept"]


def test_a_client_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file", "npm")

    monkeypatch.setattr(sources.subprocess, "run", missing)
    with pytest.raises(CorpusError, match="npm is not installed, and thing is fetched with it"):
        sources.fetch("npm", ["thing"], tmp_path)


def test_a_killed_run_leaves_whole_packages_and_the_next_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    def run(command: list[str], cwd: Path, **_: object) -> subprocess.CompletedProcess[str]:
        name = command[-1]
        asked.append(name)
        tarball(cwd / f"{name}-1.2.3.tgz", {"package.json": '{"license": "MIT"}'}, "package/")
        if name == "second" and asked.count("second") == 1:
            raise KeyboardInterrupt
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(sources.subprocess, "run", run)
    with pytest.raises(KeyboardInterrupt):
        sources.fetch("npm", ["first", "second", "@scope/third"], tmp_path)
    got = sources.fetch("npm", ["first", "second", "third"], tmp_path)
    assert asked == ["first", "second", "second", "third"]
    assert {name: f.version for name, f in got.packages.items()} == dict.fromkeys(["first", "second", "third"], "1.2.3")
    assert not (tmp_path / "npm" / ".incoming").exists()


def test_every_kind_of_source_becomes_rows_of_its_own_split(tmp_path: Path):
    js = "function area(width, height) {\n  return width * height;\n}\n" * 6
    for name, text in (("left", js), ("@scope/right", js.replace("width", "breadth") + "// scoped\n")):
        files = {"package.json": '{"license": "MIT"}', "index.js": text, "LICENSE": MIT}
        tarball(tmp_path / "npm" / name.replace("/", "+") / f"{name[-4:]}-2.0.0.tgz", files, "package/")
    c = "int area(int width, int height)\n{\n    return width * height;\n}\n" * 6
    tarball(tmp_path / "debian/thing/thing_1.0.orig.tar.gz", {"a.c": c, "gpl/b.c": c + "int x;\n"}, "thing-1.0/")
    copyright = "Format: x\n\nFiles: *\nLicense: Expat\n\nFiles: gpl/*\nLicense: GPL-2\n"
    tarball(tmp_path / "debian/thing/thing_1.0-1.debian.tar.gz", {"debian/copyright": copyright})
    groups = (
        Group("javascript", "npm", ("javascript",), ("@scope/right",), ("left",), default=False),
        Group("c", "debian", ("c",), ("thing",), default=False),
    )
    report = build(tmp_path, Plan(groups, RULES), library=False)
    assert rows(tmp_path, "held_out.javascript") == [("left", "index.js")]
    assert rows(tmp_path, "train") == [("@scope/right", "index.js"), ("thing", "a.c")]
    assert rows(tmp_path, "held_out.c") == []
    assert report.dropped["c"] == {"file's own licence": 1}
    assert {(s.name, s.version, s.spdx, s.spdx_read_from) for s in report.sources} == {
        ("left", "2.0.0", "MIT", "package.json"),
        ("@scope/right", "2.0.0", "MIT", "package.json"),
        ("thing", "1.0", "MIT", "debian/copyright"),
    }


# --- versions of a manifest


def test_the_versions_of_a_manifest_are_fetched_and_compared(folder: Path, no_network: list[list[str]]):
    report = build(folder, PLAN, library=False)
    manifest = folder / "manifest.json"
    assert pins(manifest) == {"python": {"kept": "1.0", "alpha": "1.0", "beta": "1.0"}}
    assert compare(report, manifest) == 0
    manifest = manifest.rename(folder / "earlier.json")
    assert compare(build(folder, PLAN, versions=pins(manifest), library=False), manifest) == 0
    wheel(folder / "wheels", "alpha", {"alpha/a.py": source("other")})  # the same version with another content
    assert compare(build(folder, PLAN, versions=pins(manifest), library=False), manifest) == 1
    text = manifest.read_text("utf-8").replace('"1.0"', '"2.0"')
    manifest.write_text(text, "utf-8")
    with pytest.raises(CorpusError, match="held-out package kept"):
        build(folder, PLAN, versions=pins(manifest), library=False)
    assert [command[-1] for command in no_network] == ["kept==2.0", "alpha==2.0", "beta==2.0"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sources": [{"name": "x"}]}', '{"sources": 3}'])
def test_a_file_that_is_no_manifest_is_named(tmp_path: Path, text: str):
    (tmp_path / "m.json").write_text(text, "utf-8")
    with pytest.raises(CorpusError, match=r"m\.json cannot be read"):
        pins(tmp_path / "m.json")


# --- archives


@pytest.mark.parametrize(
    ("path", "safe"),
    [("a/b.py", True), ("a..b/c.py", True), ("../a.py", False), ("/a.py", False), ("a/../../b.py", False),
     ("..\\a.py", False), ("C:\\a.py", False), ("\\a.py", False), ("", False)],
)  # fmt: skip
def test_safe_paths(path: str, safe: bool):
    assert is_safe(path) is safe


def test_members_outside_links_and_giants_are_passed_over(tmp_path: Path):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as out:
        for name, size in (("p/ok.py", 3), ("../out.py", 3), ("/abs.py", 3), ("p/huge.py", 2_000_001)):
            info = tarfile.TarInfo(name)
            info.size = size
            out.addfile(info, io.BytesIO(b"x" * size))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            info = tarfile.TarInfo("p/link.py")
            info.type, info.linkname = kind, "/etc/passwd"
            out.addfile(info)
    assert read_members(path, lambda name: name.endswith(".py")) == {"ok.py": b"xxx"}
    zipped = tmp_path / "a-1.0-py3-none-any.whl"
    with zipfile.ZipFile(zipped, "w") as out:
        for name in ("p/ok.py", "../out.py", "/abs.py"):
            out.writestr(name, "xxx")
    assert read_members(zipped, lambda name: name.endswith(".py")) == {"p/ok.py": b"xxx"}


@pytest.mark.parametrize("name", ["a.whl", "a.zip", "a.tar.gz", "a.tgz", "a.tar.xz"])
@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 not really", b"\x1f\x8b\x08 neither", b"\xfd7zXZ\x00 nor this"])
def test_a_file_that_is_no_archive_is_named(tmp_path: Path, name: str, data: bytes):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=f"the archive {name} is broken"):
        read_members(tmp_path / name, lambda _: True)


# --- apt


@pytest.mark.parametrize(
    ("system", "own"),
    [
        ("deb http://x y main\n# deb z\n", "deb-src http://x y main\n# deb z\n"),
        ("deb-src http://x y main\n", "deb-src http://x y main\n"),
        (
            "Types: deb\nURIs: u\n\nTypes: deb deb-src\nURIs: v\n",
            "Types: deb-src\nURIs: u\n\nTypes: deb-src\nURIs: v\n",
        ),
    ],
)
def test_apt_configuration(system: str, own: str):
    assert as_source(system) == own


def test_apt_never_writes_to_the_system(tmp_path: Path):
    system = tmp_path / "etc"
    (system / "sources.list.d").mkdir(parents=True)
    (system / "sources.list.d" / "debian.sources").write_text("Types: deb\nURIs: u\n", "utf-8")
    (system / "sources.list.d" / "off.list.disabled").write_text("deb x y z\n", "utf-8")
    before = {path: path.read_bytes() for path in system.rglob("*") if path.is_file()}
    commands: list[list[str]] = []

    def run(command: list[str], _name: str, _where: Path) -> str | None:
        commands.append(command)
        return None

    own = tmp_path / "own"
    commands.append(AptSources(own, run, system).command("thing=1.0", tmp_path))
    assert {path: path.read_bytes() for path in system.rglob("*") if path.is_file()} == before
    assert [path.name for path in (own / "sources").iterdir()] == ["debian.sources"]
    for command in commands:
        for option, part in (
            ("Dir::Etc::sourceparts", "sources"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache", "cache"),
        ):
            assert f"{option}={own / part}" in command
        assert "Dir::Etc::sourcelist=/dev/null" in command
    assert commands[-1][-4:] == ["source", "--download-only", "--only-source", "thing=1.0"]
    with pytest.raises(CorpusError, match="no apt sources"):
        AptSources(tmp_path / "other", run, tmp_path / "nothing")


# --- the plan


def test_the_plan_of_the_package():
    plan = read_plan()
    assert {group.registry for group in plan.groups} == {"pypi", "npm", "debian"}
    for group in plan.groups:
        assert not set(group.held_out) & set(group.packages)
    assert all(name not in group.packages for group in plan.groups[:2] for name in plan.groups[1].held_out)
    assert [group.name for group in plan.choose((), {}).groups] == ["algorithms", "python"]
    assert [group.name for group in plan.choose(("c",), {"c": 5}).groups] == ["algorithms", "python", "c"]
    assert plan.choose(("c",), {"c": 5}).groups[-1].characters == 5
    assert len(plan.choose(("all",), {}).groups) == len(plan.groups)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--languages", "cobol"], "there is no group 'cobol'"),
        (["--characters", "cobol=3"], "there is no group 'cobol'"),
        (["--characters", "python"], "is not of the form GROUP=N"),
        (["--benchmark", "nowhere.jsonl"], "'nowhere.jsonl' does not exist"),
        (["--manifest", "nowhere.json"], "'nowhere.json' does not exist"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(tmp_path: Path, arguments: list[str], message: str):
    result = CliRunner().invoke(main, ["corpus", "--corpus", str(tmp_path / "new"), *arguments])
    assert result.exit_code
    assert message in result.output
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "text", ["", "[group.x]\n", "permissive = [", "permissive = []\n[spellings]\n[group.x]\nname = 3\n"]
)
def test_a_file_that_is_no_plan_is_named(tmp_path: Path, text: str):
    (tmp_path / "p.toml").write_text(text, "utf-8")
    with pytest.raises(CorpusError, match=r"p\.toml cannot be read"):
        read_plan(tmp_path / "p.toml")
