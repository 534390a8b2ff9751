"""The benchmark of next edits: its changes lead to what the table says."""

from palimpsest_bench import next_edits, tables


def test_each_length_and_change_has_a_row(monkeypatch):
    monkeypatch.setattr(next_edits, "LINES", (40,))
    rows = next_edits.by_length(runs=2)
    assert [(row["lines"], row["change"]) for row in rows] == [
        (40, "alike lines"),
        (40, "parameters"),
        (40, "nothing"),
    ]
    assert [row["edits"] > 0 for row in rows] == [True, True, False]
    assert len(tables.next_edits({"next_edits": rows}).rows) == 3
    assert not tables.next_edits({}).rows
