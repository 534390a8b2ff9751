"""Abilities of a client, in whatever it writes."""

import pytest

from palimpsest_server.session.abilities import Abilities, abilities_of
from palimpsest_server.settings import section_of


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"palimpsest": {}, "client": {"explains": True}}, Abilities(explains=True)),
        ({"client": {"explains": False, "onlyAutomatic": True}}, Abilities(only_automatic=True)),
        ({"enable": True, "client": {"explains": True, "later": 1}}, Abilities(explains=True)),
        ({"client": {"explains": "yes", "onlyAutomatic": 1}}, Abilities()),
        ({"client": ["explains"]}, Abilities()),
        ({"client": None}, Abilities()),
        ({"palimpsest": {"client": {"explains": True}}}, Abilities()),
        (None, Abilities()),
        ([], Abilities()),
        ("client", Abilities()),
    ],
)
def test_only_a_plain_truth_counts(options, expected):
    assert abilities_of(options) == expected


def test_they_are_no_settings():
    assert section_of({"palimpsest": {"enable": False}, "client": {"explains": True}}) == ({"enable": False}, ())
    assert section_of({"enable": False, "client": {}}) == ({"enable": False}, ())
