"""Prepares the pages for the documentation site, a hook of MkDocs: pages from outside of docs/, links, replays.

Links are written for the code host, relative to the file that they stand in. Here each is resolved to a file of the
repository. A page of the site is linked as MkDocs wants it; any other file at the repository's address if
`extra.repository` in mkdocs.yml has one, else the text of the link stays alone.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Pages of the site that stand outside of docs/, with their addresses on the site.
OUTSIDE = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "editors/README.md": "setup/others.md",
    "editors/vscode/README.md": "setup/vscode.md",
    "editors/neovim/README.md": "setup/neovim.md",
    "editors/jetbrains/README.md": "setup/jetbrains.md",
}
# The start page has what the README has, for readers who are on the site already.
PLACES = OUTSIDE | {"README.md": "index.md"}
SOURCES = {place: source for source, place in OUTSIDE.items()}

CODE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2 *$|(?<!`)(`+)(?!`).+?(?<!`)\3(?!`)", re.M | re.S)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s#:]+)(#[^)\s]+)?\)")
# Code is put aside while links are sought, as `[0](x)` there is none.
HIDDEN = re.compile("\0(\\d+)\0")
# A picture in a paragraph of its own, as HTML.
PICTURE = re.compile(r'<p>(<img [^>]*?src="([^"]+)"[^>]*>)</p>')
REPLAY = re.compile(r"^<!-- replay: (\S+) (\d+) -->$", re.M)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside of docs/."""
    for source, place in OUTSIDE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with links, pictures and replays as the site has them."""
    here = page.file.src_uri
    source = SOURCES.get(here, f"docs/{here}")
    return rewritten(markdown, source, here, config.extra.get("repository") or "")


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with pictures that lead to themselves in full size: screens are wider than a page, or a telephone."""
    return PICTURE.sub(r'<p><a href="\2" title="Full size">\1</a></p>', html)


def rewritten(markdown: str, source: str, here: str, repository: str) -> str:
    """Return the page `source` of the repository as the page `here` of the site; code stays as it is."""
    hidden: list[str] = []

    def hide(match: re.Match[str]) -> str:
        hidden.append(match[0])
        return f"\0{len(hidden) - 1}\0"

    def link(match: re.Match[str]) -> str:
        picture, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = PLACES.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if place and (ROOT / path).is_file():
            address = posixpath.relpath(place, posixpath.dirname(here) or ".")
            if text == posixpath.basename(place):  # the name of a file, which no reader of the site has
                text = text.removesuffix(".md")
        elif repository:
            address = f"{repository.rstrip('/')}/{path}"
        else:
            return LINK.sub(link, text)
        return f"{picture}[{LINK.sub(link, text)}]({address}{anchor})"

    text = LINK.sub(link, CODE.sub(hide, markdown))
    # A page is a folder of the site, and MkDocs leaves addresses in HTML alone: they begin one folder up.
    text = REPLAY.sub(
        r'<iframe class="replay" src="../\1" height="\2" loading="lazy" title="A replay of a fill"></iframe>', text
    )
    return HIDDEN.sub(lambda match: hidden[int(match[1])], text)
