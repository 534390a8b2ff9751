"""The documentation site: it builds without a warning, and its pages ask no other server for anything."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Attributes of elements that make a browser load something; a link (`a`) does not.
LOADING = {"src", "srcset", "poster", "data", "background"}


class Loaded(HTMLParser):
    """Collects the addresses that a page loads, and those that it links."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in LOADING or (tag == "link" and name == "href"):
                self.loaded.append(value or "")
            elif tag == "a" and name == "href":
                self.linked.append(value or "")
            elif name == "id":
                self.ids.add(value or "")


def read(page: Path) -> Loaded:
    parser = Loaded()
    parser.feed(page.read_text("utf-8"))
    return parser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site; the build fails on a warning."""
    pytest.importorskip("material", reason="needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WARNING" not in built.stderr
    return folder


def test_pages_and_styles_load_nothing_from_outside(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 90
    outside = re.compile(r"^(?:[a-z]+:)?//", re.I)
    assert [(page.name, url) for page in pages for url in read(page).loaded if outside.match(url)] == []
    styles = {sheet: re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", sheet.read_text()) for sheet in site.rglob("*.css")}
    assert styles
    assert [(sheet.name, url) for sheet, urls in styles.items() for url in urls if outside.match("".join(url))] == []
    # The theme's script fetches a library from elsewhere for such a diagram only.
    assert [page for page in pages if 'class="mermaid"' in page.read_text("utf-8")] == []


def test_every_link_and_every_picture_leads_somewhere(site: Path) -> None:
    pages = {page: read(page) for page in sorted(site.rglob("*.html")) if page.name != "404.html"}
    broken = []
    for page, found in pages.items():
        for url in [*found.linked, *found.loaded]:
            address, _, anchor = url.partition("#")
            if re.match(r"[a-z]+:", address):
                continue
            target = (page.parent / address).resolve() if address else page
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].ids):
                broken.append(f"{page.relative_to(site)}: {url}")
    assert broken == []


def test_a_replay_is_embedded_and_reachable(site: Path) -> None:
    [replay] = [url for url in read(site / "canvas" / "index.html").loaded if "replays/" in url]
    assert (site / "canvas" / replay).resolve().is_file()


def test_every_picture_of_a_screen_leads_to_its_full_size(site: Path) -> None:
    page = read(site / "setup" / "vscode" / "index.html")
    pictures = [url for url in page.loaded if re.match(r"(../)+images/.*png$", url)]
    assert pictures
    assert set(pictures) <= set(page.linked)


def test_the_search_finds_words_of_every_part(site: Path) -> None:
    index = (site / "search" / "search_index.json").read_text("utf-8")
    for word in ("eagerness", "inlineCompletion", "LSP4IJ", "HumanEval", "KubeRay", "token healing"):
        assert word.lower() in index.lower()


@pytest.mark.parametrize(
    ("source", "here", "repository", "text", "expected"),
    [
        ("docs/a.md", "a.md", "", "[x](limits.md#model)", "[x](limits.md#model)"),
        ("docs/a.md", "a.md", "", "[limits.md](limits.md)", "[limits](limits.md)"),
        ("docs/adr/0001-x.md", "adr/0001-x.md", "", "[x](../limits.md)", "[x](../limits.md)"),
        ("docs/a.md", "a.md", "", "[x](../ARCHITECTURE.md#rooms)", "[x](architecture.md#rooms)"),
        ("editors/vscode/README.md", "setup/vscode.md", "", "[x](../neovim/README.md)", "[x](neovim.md)"),
        (
            "editors/neovim/README.md",
            "setup/neovim.md",
            "",
            "![x](../../docs/images/neovim.png)",
            "![x](../images/neovim.png)",
        ),
        ("docs/a.md", "a.md", "", "[the `file`](../Makefile), then", "the `file`, then"),
        ("docs/a.md", "a.md", "https://h/r/", "[the `file`](../Makefile)", "[the `file`](https://h/r/Makefile)"),
        ("docs/a.md", "a.md", "", "`[x](../Makefile)`", "`[x](../Makefile)`"),
        ("docs/a.md", "a.md", "", "```\n[x](../Makefile)\n```", "```\n[x](../Makefile)\n```"),
        ("docs/a.md", "a.md", "", "[x](https://h/p) [y](#here)", "[x](https://h/p) [y](#here)"),
    ],
)
def test_links_are_rewritten(source: str, here: str, repository: str, text: str, expected: str) -> None:
    pytest.importorskip("material", reason="needs the extra docs")
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.rewritten(text, source, here, repository) == expected
