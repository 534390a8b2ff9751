"""A document stays with its replica; when one comes or goes, only that one's documents move."""

from collections import Counter

import pytest

from palimpsest_engine import FillRequest, Span
from palimpsest_team.affinity import key_of, ranked

KEYS = [f"document-{number}" for number in range(2_000)]


def request(**fields) -> FillRequest:
    return FillRequest("x = 1\n", (Span(4, 5),), **fields)


def test_the_order_in_which_replicas_are_named_does_not_matter():
    assert ranked("a", ["r1", "r2", "r3"]) == ranked("a", ["r3", "r1", "r2"])


@pytest.mark.parametrize("gone", ["r0", "r3", "r7"])
def test_without_a_replica_only_its_documents_move_each_to_its_next_best(gone):
    before = [f"r{number}" for number in range(8)]
    after = [name for name in before if name != gone]
    for key in KEYS:
        first, second = ranked(key, before)[:2]
        assert ranked(key, after)[0] == (second if first == gone else first)


def test_a_replica_that_comes_takes_its_share_and_moves_no_others():
    before = [f"r{number}" for number in range(4)]
    moved = 0
    for key in KEYS:
        now = ranked(key, [*before, "new"])[0]
        if now != ranked(key, before)[0]:
            assert now == "new"
            moved += 1
    assert 0.15 < moved / len(KEYS) < 0.25


def test_replicas_get_about_as_many_documents_each():
    counts = Counter(ranked(key, [f"r{number}" for number in range(8)])[0] for key in KEYS)
    assert min(counts.values()) > 0.75 * len(KEYS) / 8
    assert max(counts.values()) < 1.25 * len(KEYS) / 8


def test_the_key_is_the_users_and_the_documents_and_shows_neither():
    asked = request(document="file:///home/ann/secret.py", client="ann")
    assert key_of(asked) == key_of(request(document="file:///home/ann/secret.py", client="ann", seed=7))
    assert key_of(asked) != key_of(request(document="file:///home/ann/secret.py", client="bob"))
    assert key_of(asked) != key_of(request(document="file:///home/ann/other.py", client="ann"))
    assert "secret" not in key_of(asked)
    assert "ann" not in key_of(asked)


def test_a_path_stands_for_a_missing_name_and_half_a_surrogate_pair_is_no_error():
    assert key_of(request(path="a.py", client="ann")) == key_of(request(document="a.py", client="ann"))
    assert key_of(request(document="\ud800"))
