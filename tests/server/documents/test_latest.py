"""A dict that keeps its latest entries."""

from hypothesis import given
from hypothesis import strategies as st

from palimpsest_server.documents.latest import Latest


@given(st.lists(st.integers(0, 9)), st.integers(1, 5))
def test_the_latest_entries_are_kept_in_the_order_of_setting(keys, most):
    latest = Latest(most)
    for key in keys:
        latest[key] = -key
    expected = list(dict.fromkeys(reversed(keys)))[:most][::-1]
    assert list(latest.items()) == [(key, -key) for key in expected]
