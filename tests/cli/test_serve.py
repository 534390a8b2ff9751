"""`palimpsest serve` passes its options on to the server."""

from __future__ import annotations

from typing import Any

import pytest

from palimpsest_server import app

from .conftest import Palimpsest


@pytest.mark.parametrize(
    "named", [("--clientProcessId", "12"), ("--clientProcessId=12",), ("--stdio", "--clientProcessId=12")]
)
def test_the_clients_process_may_be_named(
    palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch, named: tuple[str, ...]
) -> None:
    served: list[dict[str, Any]] = []
    monkeypatch.setattr(app, "serve", lambda factory, **options: served.append(options) or 0)
    assert palimpsest("serve", *named).exit_code == 0
    assert [each["client"] for each in served] == [12]


def test_a_process_that_is_no_number_is_a_mistake(palimpsest: Palimpsest) -> None:
    assert palimpsest("serve", "--clientProcessId", "me").exit_code == 2
