"""Files that the model never sees; ignored files are compared with git itself."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from palimpsest_server.context.ignore import Ignore, secret_in_uri

GIT = shutil.which("git")
needs_git = pytest.mark.skipif(GIT is None, reason="git is the judge")
# No user's settings: their own exclude file would take part.
ALONE = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "XDG_CONFIG_HOME": os.devnull}


@pytest.fixture(scope="module", autouse=True)
def alone():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "XDG_CONFIG_HOME"):
            patch.setenv(name, os.devnull)
        yield


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


# Secrets by name


@pytest.mark.parametrize(
    ("name", "glob"),
    [
        (".env", ".env"),
        (".env.production", ".env.*"),
        ("deploy/prod.env", "*.env"),
        ("tls/server.pem", "*.pem"),
        ("server.KEY", "*.key"),
        ("store.p12", "*.p12"),
        ("a.pfx", "*.pfx"),
        ("pass.kdbx", "*.kdbx"),
        ("id_rsa", "id_rsa*"),
        ("id_ed25519_work", "id_ed25519*"),
        ("app.keystore", "*.keystore"),
        (".netrc", ".netrc"),
        (".npmrc", ".npmrc"),
        (".pypirc", ".pypirc"),
        ("credentials", "credentials"),
        ("credentials.json", "credentials.*"),
        ("gcp-credentials.json", "*credentials.json"),
        ("secrets.yaml", "secrets.*"),
        ("secrets.py", "secrets.*"),
        ("main.tfstate", "*.tfstate"),
        (".aws/config", ".aws/**"),
        (".ssh/known_hosts", ".ssh/**"),
        (".ssh/deeper/x.py", ".ssh/**"),
        (".docker/config.json", ".docker/config.json"),
        ("secret.yaml", "secret.*"),
        ("db-secret.yml", "*secret.yml"),
        ("service_account.json", "service_account*.json"),
        ("kubeconfig", "kubeconfig"),
        ("kubeconfig.staging", "kubeconfig.*"),
        (".my.cnf", ".my.cnf"),
        (".dockercfg", ".dockercfg"),
        (".vault_pass", ".vault_pass*"),
        (".vault_pass.txt", ".vault_pass*"),
        ("id_rsa_utils", "id_rsa*"),
        ("id_ed25519.bak", "id_ed25519*"),
        (".config/gh/hosts.yml", ".config/gh/hosts.yml"),
    ],
)
def test_a_secret(tmp_path, name, glob):
    path = tmp_path / name
    assert Ignore([tmp_path]).reason(path) == f"its name says that it holds secrets ({glob})"
    assert Ignore([]).reason(str(path)) == f"its name says that it holds secrets ({glob})"


@pytest.mark.parametrize(
    "name",
    [
        *(
            ".env.example",
            ".env.sample",
            "env.py",
            "environment.ts",
            "keys.py",
            "monkey.js",
            "id_rsa.pub",
            "config.json",
        ),
        *(
            "credentials.py",
            "credentials/models.py",
            "secrets/models.py",
            "tokens.go",
            "id_rsa_utils.py",
            "id_ed25519_test.go",
            "secret.go",
            "secretary.json",
            "vault_password.py",
            "my.cnf.py",
            "docker/config.json",
            "ssh/x.py",
        ),
    ],
)
def test_no_secret(tmp_path, name):
    assert Ignore([tmp_path]).reason(tmp_path / name) == ""


@pytest.mark.parametrize(
    ("uri", "glob"),
    [
        ("untitled:/home/u/.env", ".env"),
        ("untitled:.env", ".env"),
        ("untitled:C:\\Users\\u\\.env", ".env"),
        ("vscode-vfs://github/me/it/.env", ".env"),
        ("vscode-remote://ssh-remote%2Bhost/home/u/.ssh/config", ".ssh/**"),
        ("git:/code/.env?%7B%22ref%22%3A%22HEAD%22%7D", ".env"),
        ("file:///code/C#/app/.env", ".env"),
        ("file:///code/what?/app/.env", ".env"),
        ("file:///code/%2Eenv", ".env"),
        ("zipfile:/code/a.zip::deploy/prod.env", "*.env"),
        ("inmemory://model/service_account.json", "service_account*.json"),
        ("vscode-notebook-cell:/code/.aws/a.ipynb#W0sZmlsZQ==", ".aws/**"),
    ],
)
def test_a_name_in_any_uri_is_a_name(uri, glob):
    assert secret_in_uri(uri) == f"its name says that it holds secrets ({glob})"
    assert Ignore([]).reason_of(uri) == secret_in_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "untitled:Untitled-1",
            "untitled:/home/u/a.py",
            "vscode-vfs://github/me/.env/a.py",
            "",
            ":",
            "://",
            "untitled:",
        ),
        *("vscode-notebook-cell:/code/a.ipynb#W0sZmlsZQ==", "git:/code/a.py?.env.py", "file:///code/id_rsa_utils.py"),
    ],
)
def test_other_names_in_uris_are_none(uri):
    assert secret_in_uri(uri) == ""


def test_a_file_that_the_user_excludes(tmp_path):
    ignore = Ignore([tmp_path], extra_globs=("build/**", "vendor"))
    assert ignore.reason(tmp_path / "build" / "a.py") == "palimpsest.ignore has build/**"
    assert ignore.reason(tmp_path / "x" / "vendor" / "y" / "a.py") == "palimpsest.ignore has vendor"
    assert ignore.reason(tmp_path / "rebuild" / "a.py") == ""


# Links


@pytest.mark.parametrize("glob", ["{link}", "{real}", "file://{link}", "{link}/sub", "${{workspaceFolder}}/../link"])
@pytest.mark.parametrize("opened", ["link", "real"])
def test_a_glob_covers_what_its_folder_and_the_file_lead_to(tmp_path, glob, opened):
    write(tmp_path / "real" / "sub" / "a.py")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "workspace").mkdir()
    spelled = glob.format(link=tmp_path / "link", real=tmp_path / "real")
    ignore = Ignore([tmp_path / "workspace"], extra_globs=(spelled,))
    assert ignore.covering((spelled,), tmp_path / opened / "sub" / "a.py") == spelled
    assert ignore.reason(tmp_path / opened / "sub" / "a.py") == f"palimpsest.ignore has {spelled}"
    assert not ignore.covering((spelled,), tmp_path / "other" / "a.py")


def test_a_link_out_of_the_workspace(tmp_path):
    outside = write(tmp_path / "outside" / "a.py")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.py").symlink_to(outside)
    (folder / "inner").symlink_to(outside.parent)
    (folder / "loop").symlink_to("loop")
    ignore = Ignore([folder])
    assert ignore.reason(folder / "link.py") == "it lies outside of the workspace"
    assert ignore.reason(folder / "inner" / "a.py") == "it lies outside of the workspace"
    assert ignore.reason(folder / ".." / "outside" / "a.py") == ""  # nobody called that a file of the workspace
    assert ignore.reason(folder / "loop") == ""


def test_a_link_is_judged_by_where_it_leads(tmp_path):
    write(tmp_path / ".env")
    write(tmp_path / ".gitignore", "hidden.py")
    write(tmp_path / "hidden.py")
    for name, target in (("a.txt", ".env"), ("b.py", "hidden.py")):
        (tmp_path / name).symlink_to(tmp_path / target)
    ignore = Ignore([tmp_path])
    assert ignore.reason(tmp_path / "a.txt") == "its name says that it holds secrets (.env)"
    assert ignore.reason(tmp_path / "b.py") == "it is ignored by .gitignore"


def test_a_workspace_may_be_a_link_itself(tmp_path):
    write(tmp_path / "real" / "a.py")
    write(tmp_path / "real" / ".gitignore", "/b.py")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for folder, opened in (("link", "link"), ("link", "real"), ("real", "real")):
        ignore = Ignore([tmp_path / folder])
        assert ignore.reason(tmp_path / opened / "a.py") == ""
        assert ignore.reason(tmp_path / opened / "b.py") == "it is ignored by .gitignore"


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 5000, "/", ".", "~", "\udcff"])
def test_strange_paths_do_not_raise(tmp_path, path):
    assert isinstance(Ignore([tmp_path]).reason(path), str)


# git

NAMES = ["a", "b", "c.py", "d.log", "build", "keep.d", "x y", "#h", "!n", "z", "A", "Build", "C.PY"]
PATTERNS = [
    *("a", "/a", "a/", "!a", "!/a", "*.log", "!*.log", "*.d", "*.d/", "!*.d", "a/b", "a/*", "!a/b", "**/b", "a/**"),
    *(
        "a/**/b",
        "*",
        "*/",
        "!*/",
        "/*",
        "!/a/",
        "/build/",
        "build/*",
        "!build/c.py",
        "[ab]",
        "[!a]",
        "[^a]",
        "?",
        "c.p?",
    ),
    *("\\#h", "\\!n", "#h", "!n", "x y", "x y ", "x\\ y", "x y\\ ", "**/build/**", "/**", "**", "keep.d/", "!keep.d/"),
    *(
        "a/b/",
        "!**/c.py",
        "/a/b/c.py",
        "b/c.py",
        "*.py",
        "[a-c]",
        "[",
        "a[",
        "[]a]",
        "**a",
        "a**",
        "***",
        "a/***/b",
        "\\a",
    ),
    *("a\\", "  a", "", "/", "//a", "a//", "!", "[[:alpha:]]", "*/b", "*/*", "!*/*.log", "**/", "!**/"),
    *("A", "!A/", "\\A", "[A-C]", "[A]", "[[:upper:]]", "[[:lower:]]*", "[^A-Z]", "*.Py", "BUILD/**", "BUILD**/c.py"),
]


def git(folder, *arguments, **more):
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    run = subprocess.run([GIT, *who, *arguments], cwd=folder, check=True, capture_output=True, env=ALONE, **more)
    return run.stdout


def ignored_by_git(folder, paths):
    """Return the files that git ignores, each with the file whose rule says so."""
    asked = [GIT, "check-ignore", "-v", "-z", "--stdin"]
    told = subprocess.run(asked, cwd=folder, input="\0".join(paths), capture_output=True, text=True, env=ALONE)
    fields = told.stdout.split("\0")[:-1]
    rows = zip(fields[::4], fields[2::4], fields[3::4], strict=True)
    return {path: source for source, pattern, path in rows if not pattern.startswith("!")}


def draw_tree(folder, draw):
    """Draw by chance a tree of files, three .gitignore files, git's own exclude file and the user's; track some files."""
    git(folder, "init", "-q", ".")
    files = set()
    for _ in range(20):
        path = folder.joinpath(*(draw.choice(NAMES) for _ in range(draw.randint(1, 4))))
        if not path.exists() and not any(each.is_file() for each in path.parents):
            files.add(write(path))
    folders = sorted({each for path in files for each in path.parents if each.is_relative_to(folder)})
    for each in dict.fromkeys((folder, *draw.sample(folders, min(2, len(folders))))):
        write(each / ".gitignore", "\n".join(draw.choices(PATTERNS, k=draw.randint(1, 5))))
    write(folder / ".git" / "info" / "exclude", draw.choice(PATTERNS))
    write(folder.parent / "excludes", "\n".join(draw.choices(PATTERNS, k=2)))
    git(folder, "config", "core.excludesFile", str(folder.parent / "excludes"))
    for way in ("--index-version=2", "--index-version=4", "--split-index")[: draw.randint(0, 3)]:
        git(folder, "update-index", way)
    tracked = draw.sample(sorted(map(str, files)), draw.randint(0, 5))
    if tracked:
        git(folder, "add", "-f", "--", *tracked)
    git(folder, "config", "core.ignoreCase", draw.choice(["true", "false"]))
    return sorted(map(str, files))


@needs_git
@pytest.mark.parametrize("seed", [*range(30), *(pytest.param(each, marks=pytest.mark.slow) for each in range(30, 400))])
def test_git_says_the_same_and_names_the_same_file(tmp_path, seed):
    folder = tmp_path / "tree"
    folder.mkdir()
    paths = draw_tree(folder, random.Random(seed))
    ignore = Ignore([folder])
    reasons = {path: reason for path in paths if (reason := ignore.reason(path))}
    assert reasons == {path: f"it is ignored by {by}" for path, by in ignored_by_git(folder, paths).items()}


def test_a_gitignore_counts_without_a_repository(tmp_path):
    write(tmp_path / ".gitignore", "*.log\n")
    write(tmp_path / "sub" / ".gitignore", "!keep.log\n")
    ignore = Ignore([tmp_path])
    assert ignore.reason(tmp_path / "a.log") == "it is ignored by .gitignore"
    assert ignore.reason(tmp_path / "sub" / "keep.log") == ""


def test_the_folders_above_the_workspace_count(tmp_path):
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".gitignore", "*.log\n/app/dist/\n")
    ignore = Ignore([tmp_path / "app"])
    assert ignore.reason(tmp_path / "app" / "a.log") == "it is ignored by .gitignore"
    assert ignore.reason(tmp_path / "app" / "dist" / "a.js") == "it is ignored by .gitignore"
    assert ignore.reason(tmp_path / "app" / "a.js") == ""


def test_an_ignored_folder_can_be_opened_and_worked_in(tmp_path):
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".gitignore", "*\n")
    write(tmp_path / "app" / ".gitignore", "*.log\n")
    ignore = Ignore([tmp_path / "app"])
    assert ignore.reason(tmp_path / "app" / "src" / "a.py") == ""
    assert ignore.reason(tmp_path / "app" / "a.log") == "it is ignored by .gitignore"


def test_a_file_outside_of_all_folders(tmp_path):
    (tmp_path / ".git").mkdir()
    write(tmp_path / ".gitignore", "*.log\n")
    assert Ignore([]).reason(tmp_path / "a.log") == "it is ignored by .gitignore"
    assert Ignore([]).reason(tmp_path / "a.py") == ""


@needs_git
def test_a_worktree_has_the_exclude_file_of_its_repository(tmp_path):
    main, tree = tmp_path / "main", tmp_path / "tree"
    main.mkdir()
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([GIT, "init", "-q", "."], cwd=main, check=True, env=ALONE)
    subprocess.run([GIT, *who, "commit", "-q", "--allow-empty", "-m", "a"], cwd=main, check=True, env=ALONE)
    subprocess.run([GIT, "worktree", "add", "-q", str(tree)], cwd=main, check=True, env=ALONE, capture_output=True)
    write(main / ".git" / "info" / "exclude", "notes.md")
    assert Ignore([tree]).reason(tree / "notes.md") == "it is ignored by .git/info/exclude"
    assert Ignore([tree]).reason(tree / "a.md") == ""


def test_a_changed_gitignore_is_read_again(tmp_path):
    file = write(tmp_path / ".gitignore", "a.py\n")
    ignore = Ignore([tmp_path])
    assert ignore.reason(tmp_path / "a.py")
    write(file, "bb.py\n")
    assert not ignore.reason(tmp_path / "a.py")
    assert ignore.reason(tmp_path / "bb.py")
    file.unlink()
    assert not ignore.reason(tmp_path / "bb.py")


def test_a_gitignore_may_be_anything(tmp_path):
    ignore = Ignore([tmp_path])
    file = tmp_path / ".gitignore"
    for content in (
        b"\xff\xfe\0[\n",
        b"\xef\xbb\xbfa.py\n",
        b"[[a]\n[a&&b]\n![x--y]\n[b-a]\n",
        b"a.py\r\n",
        b"x\n" * 300_000,
    ):
        file.write_bytes(content)
        assert bool(ignore.reason(tmp_path / "a.py")) == (b"a.py" in content)
    file.unlink()
    file.mkdir()
    assert ignore.reason(tmp_path / "a.py") == ""


def test_stars_without_end_take_no_time(tmp_path):
    """A backtracking matcher would take for ever if it got all of the stars."""
    write(tmp_path / ".gitignore", "*a" * 30 + "*b\n" + "!" + "*a" * 30 + "*c\n")
    ignore = Ignore([tmp_path])
    assert ignore.reason(tmp_path / ("a" * 200)) == ""
    assert ignore.reason(tmp_path / ("a" * 200 + "b")) == "it is ignored by .gitignore"


DEEP = "/".join(["a"] * 80)
HOSTILE = {
    "open sets": ("[-" * 8_000, "a.py"),
    "open sets within the limit": ("[-" * 512, "a.py"),
    "all folders": ("**/a/" * 8 + "**/b", DEEP),
    "all folders, many lines": (("**/a/" * 8 + "**/b\n") * 5_000, DEEP),
    "stars, many lines": ("*a*a*a*b\n" * 5_000, "a" * 200),
    "stars and sets": (("[!b]*" * 30 + "b\n") * 1_000, "a" * 200),
    "stars in folders": (("*a*a*a/" * 10 + "b\n") * 1_000, "/".join(["a" * 20] * 40)),
    "long lines": (("[a-y]" * 204 + "\n") * 250, "a" * 200),
    "stars after a beginning": (("/a**/" + "**/a/" * 7 + "b\n") * 1_000, DEEP),
    "deep": (("**/" + "a/" * 400 + "b\n") * 20, "/".join(["a"] * 500)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_line_of_a_gitignore_takes_long(tmp_path, name):
    """A cubic pattern for sets, and backtracking, held the interpreter for minutes."""
    rules, path = HOSTILE[name]
    (tmp_path / ".gitignore").write_text(rules)
    start = time.process_time()
    assert Ignore([tmp_path]).reason(tmp_path / path) == ""
    assert time.process_time() - start < 10  # none takes longer than 2 here


def test_lines_beyond_the_limits_are_left_out_and_logged(tmp_path, caplog):
    write(tmp_path / ".gitignore", "a.py\n" + "*x" * 33 + "\n" + "y" * 1_025 + "\n")
    ignore = Ignore([tmp_path])
    assert ignore.reason(tmp_path / "a.py")
    assert not ignore.reason(tmp_path / ("x" * 40))
    (said,) = {record.getMessage() for record in caplog.records}
    assert said == (
        f"{tmp_path / '.gitignore'}: line 2 and 1 others are left out, because they have more than 1024 bytes or 32 stars"
    )


PIECES = [
    *(
        "*",
        "*",
        "**",
        "**/",
        "/**",
        "/**/",
        "***",
        "/",
        "/",
        "?",
        "a",
        "b",
        "a",
        "ab",
        ".",
        "\\a",
        "\\*",
        "\\",
        "[",
        "]",
        "-",
    ),
    *(
        "[ab]",
        "[!a]",
        "[^b]",
        "[a-c]",
        "[]a]",
        "[a-]",
        "[\\]a]",
        "[[:alpha:]]",
        "[[:punct:]b]",
        "[[:no:]]",
        "[[:a]",
        "[a/b]",
    ),
    *("é", "[é]", " ", "\\ "),
]


@needs_git
def test_git_says_the_same_about_patterns_by_chance(tmp_path):
    draw = random.Random(int(os.environ.get("PALIMPSEST_SEED", "3")))
    subprocess.run([GIT, "init", "-q", "."], cwd=tmp_path, check=True, env=ALONE)
    names = ["a", "b", "ab", "ba", "aab", "a.b", "-", "é", "c", "[a", "a ", "*", "]"]
    paths = ["/".join(draw.choices(names, k=draw.choice((1, 1, 2, 3, 4)))) for _ in range(150)]
    for _ in range(int(os.environ.get("PALIMPSEST_PATTERNS", "80"))):
        pattern = "".join(draw.choices(PIECES, k=draw.randint(1, 6)))
        if "*\\/" in pattern:
            continue  # to git these stars stand for one folder or more, to us for none or more
        write(tmp_path / ".gitignore", pattern)
        asked = [GIT, "check-ignore", "--no-index", "-z", "--stdin"]
        told = subprocess.run(asked, cwd=tmp_path, input="\0".join(paths).encode(), capture_output=True, env=ALONE)
        ignored = {path for path in told.stdout.decode().split("\0") if path}
        ignore = Ignore([tmp_path])
        assert {path for path in paths if ignore.reason(tmp_path / path)} == ignored, repr(pattern)
