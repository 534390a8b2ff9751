"""The queries of scopes and of members fit the grammars, the oldest that are allowed, too."""

from __future__ import annotations

from pathlib import Path

import pytest

import palimpsest_engine.syntax
from palimpsest_engine.syntax.captures import query_in

_QUERIES = Path(palimpsest_engine.syntax.__file__).parent / "queries"


@pytest.mark.parametrize("kind", ["locals", "fields"])
def test_every_query_fits_its_grammar(kind: str) -> None:
    files = [
        each.stem for each in (_QUERIES / kind).glob("*.scm") if each.stem != "ecma"
    ]  # what three grammars inherit
    assert len(files) >= 8
    for name in files:
        assert query_in(kind, name) is not None
