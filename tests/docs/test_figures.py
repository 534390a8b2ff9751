"""Every picture of the pages is traced to its command in docs/figures.md, and the README stays short."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
ROWS = re.findall(r"^\| \[(\S+)\]\((\S+)\) \| (.+?) \| (.+?) \|$", (DOCS / "figures.md").read_text("utf-8"), re.M)


def test_every_picture_has_a_row_and_every_row_its_picture() -> None:
    pictures = {
        path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*") if path.suffix in {".svg", ".png", ".jpg"}
    }
    named = [path for path, *_ in ROWS]
    assert sorted(named) == sorted(pictures)


def test_every_row_says_how_and_when() -> None:
    assert [path for path, link, _, _ in ROWS if path != link] == []
    assert [path for path, _, made, _ in ROWS if "`" not in made and "by hand" not in made and made != "the same"] == []
    assert [path for path, *_, when in ROWS if not re.fullmatch(r".+, \d{4}-\d\d-\d\d", when)] == []


def test_the_readme_is_short() -> None:
    assert len((DOCS.parent / "README.md").read_text("utf-8").splitlines()) <= 130
