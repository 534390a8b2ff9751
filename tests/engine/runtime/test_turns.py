"""Turns of clients, in any order of events: who waits is served, one client after the other, and everybody leaves once."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from palimpsest_engine import FillCancelled, FillRequest, Job, QueueFull, Span
from palimpsest_engine.runtime.turns import MOST, Turns

CLIENTS = "abcde"


def job(client="a", document="", *, speculative=False):
    return Job(FillRequest("", (Span(0, 0),), document=document, client=client, speculative=speculative))


def put(turns, *names, speculative=False):
    """Let a job of each client wait, and return them."""
    jobs = [job(name, speculative=speculative) for name in names]
    for each in jobs:
        assert turns.put(each) == []
    return jobs


def taken(turns, count=None):
    """Take so many turns, or all, and return whose they were."""
    names = []
    while count is None or len(names) < count:
        turn = turns.take()
        if turn is None:
            break
        names.append(turn.job.request.client)
    return "".join(names)


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [
        ("", ""),
        ("a", "a"),
        ("aaa", "aaa"),
        ("aaab", "abaa"),
        ("aabbcc", "abcabc"),
        ("aaaabbc", "abcabaa"),
        ("cba", "cba"),
    ],
)
def test_clients_take_turns(waiting, expected):
    turns = Turns()
    put(turns, *waiting)
    assert taken(turns) == expected


@pytest.mark.parametrize(
    ("asked", "guessed", "expected"),
    [("a", "b", "ab"), ("aa", "bb", "aabb"), ("ba", "ab", "abab"), ("", "aab", "aba")],
)
def test_a_request_that_is_waited_for_comes_before_guesses(asked, guessed, expected):
    turns = Turns()
    put(turns, *guessed, speculative=True)
    put(turns, *asked)
    assert taken(turns) == expected


@pytest.mark.parametrize("storming", [1, 3, 50])
def test_a_client_that_asks_seldom_is_next(storming):
    """It has asked for nothing while everybody else had a turn."""
    turns, storm = Turns(), [f"storm {i}" for i in range(storming)]
    put(turns, *storm * 4)
    for _ in range(3):
        for _ in range(storming + 1):
            put(turns, turns.take().job.request.client)
        put(turns, "quiet")
        assert turns.take().job.request.client == "quiet"


def test_the_client_whose_turn_is_the_longest_ago_goes_first_of_those_that_ask_seldom():
    turns = Turns()
    for client in "qab":
        put(turns, client)
    assert taken(turns) == "qab"
    put(turns, "x", "x")
    assert taken(turns, 1) == "x"
    put(turns, "a", "b", "q")
    assert taken(turns) == "qabx"


def test_no_more_clients_are_remembered_than_a_team_has():
    turns = Turns()
    for number in range(3000):
        put(turns, f"client {number}")
        turns.take()
    assert len(turns._last) <= 1024


def test_a_client_that_comes_back_at_once_goes_behind_those_who_wait():
    turns = Turns()
    put(turns, *"abc")
    assert taken(turns, 1) == "a"
    put(turns, "a")
    assert taken(turns) == "bca"


def test_a_client_that_comes_during_a_turn_goes_before_the_client_that_has_it():
    turns = Turns()
    put(turns, *"aaa")
    assert taken(turns, 1) == "a"
    put(turns, *"bc")
    assert taken(turns) == "bcaa"


def test_new_clients_do_not_hold_up_those_in_the_line():
    turns, names = Turns(), ""
    put(turns, *"aabb")
    names += taken(turns, 2)
    for new in "cdefgh":
        put(turns, new, *(chr(ord(new) + 10)))
        names += taken(turns, 1)
    assert names == "abcamdbn"


@pytest.mark.parametrize("speculative", [False, True])
def test_the_newest_for_a_document_is_the_only_one_that_waits(speculative):
    turns = Turns()
    older, other, same_name = job("a", "x"), job("a", "y"), job("b", "x")
    assert [*turns.put(older), *turns.put(other), *turns.put(same_name)] == []
    newer = job("a", "x", speculative=speculative)
    ((gone, error),) = turns.put(newer)
    assert gone is older
    assert older.cancelled.is_set()
    assert isinstance(error, FillCancelled)
    left = [turns.take().job for _ in range(3)]
    assert left == ([other, same_name, newer])
    assert not any(each.cancelled.is_set() for each in left)


def test_a_client_that_types_on_keeps_its_place():
    turns = Turns()
    put(turns, *"aabb")
    taken(turns, 2)
    turns.put(job("c", "x"))
    turns.put(job("d", "x"))
    turns.put(job("c", "x"))
    assert taken(turns, 1) == "c"


def test_requests_without_a_document_replace_nothing():
    turns = Turns()
    put(turns, *"aaa")
    assert taken(turns) == "aaa"


def test_a_cancelled_job_takes_nobodys_turn():
    turns = Turns()
    gone, *_ = put(turns, *"aaabb")
    gone.cancel()
    assert turns.take().job is gone
    assert taken(turns) == "abab"


@pytest.mark.parametrize(
    ("kinds", "gone"),
    [("wwww", 0), ("wsws", 1), ("sssw", 0), ("wwws", 3)],
)
def test_one_leaves_if_too_many_of_a_client_wait(kinds, gone):
    """The oldest one that nobody waits for, or else the oldest."""
    turns = Turns(3)
    put(turns, "b", "b", "b")
    jobs = [job("a", str(at), speculative=kind == "s") for at, kind in enumerate(kinds)]
    left = [leaving for each in jobs for leaving in turns.put(each)]
    assert [each for each, _ in left] == [jobs[gone]]
    assert isinstance(left[0][1], QueueFull)
    assert str(left[0][1]) == "3 newer fills wait for the engine; this one was given up."
    assert sorted(taken(turns)) == [*"aaabbb"]


def test_cancelled_ones_do_not_count_as_waiting():
    turns = Turns(2)
    for each in put(turns, *"aa"):
        each.cancel()
    left = turns.put(job("a"))
    assert [type(error) for _, error in left] == [FillCancelled] * 2


class AnyOrder(RuleBasedStateMachine):
    """Five clients, a line of at most three for each, and a plain list of what has happened."""

    def __init__(self):
        super().__init__()
        self.turns = Turns(3)
        self.waiting = []  # jobs, in the order in which they came
        self.left = Counter()  # jobs that have left, by id
        self.all = []
        self.passed = defaultdict(set)  # by client: those whose turn has ended while it waited for one
        self.served = None
        self.stood = Counter()  # by client: turns of the others since it waits

    def interactive(self):
        return {each.request.client for each in self.waiting if not each.request.speculative}

    def leave(self, gone):
        self.left[id(gone)] += 1
        self.waiting = [each for each in self.waiting if each is not gone]
        self.settle()

    def settle(self):
        """Forget those who wait no more."""
        for client in CLIENTS:
            if client not in self.interactive():
                self.passed.pop(client, None)
                self.stood.pop(client, None)

    @rule(client=st.sampled_from(CLIENTS), document=st.sampled_from(["", "", "x", "y"]), speculative=st.booleans())
    def put(self, client, document, speculative):
        new = job(client, document, speculative=speculative)
        self.all.append(new)
        self.waiting.append(new)
        for gone, error in self.turns.put(new):
            assert gone.cancelled.is_set() == isinstance(error, FillCancelled)
            self.leave(gone)

    @rule(at=st.integers(0, 20))
    @precondition(lambda self: self.waiting)
    def cancel(self, at):
        self.waiting[at % len(self.waiting)].cancel()

    @rule(count=st.integers(1, 4))
    def take(self, count):
        for _ in range(count):
            self.take_one()

    def take_one(self):
        for other in self.interactive() - {self.served}:
            self.passed[other].add(self.served)
        self.served = None
        turn = self.turns.take()
        if turn is None:
            assert self.waiting == []
            return
        served, client = turn.job, turn.job.request.client
        if served.cancelled.is_set():
            self.leave(served)
            return
        assert not any(each.cancelled.is_set() for each in self.waiting)
        interactive = self.interactive()
        assert not (served.request.speculative and interactive)
        own = [each for each in self.waiting if each.request.client == client]
        assert next(each for each in own if each.request.speculative == served.request.speculative) is served
        if not served.request.speculative:
            for other in interactive - {client}:
                assert client not in self.passed[other], "two turns while another client waited for its first"
                self.stood[other] += 1
                assert self.stood[other] < len(CLIENTS)
            self.passed.pop(client, None)
            self.stood.pop(client, None)
            self.served = client
        self.leave(served)

    @rule()
    def clear(self):
        for gone in self.turns.clear():
            self.leave(gone)
        assert self.waiting == []

    @invariant()
    def it_says_whether_somebody_waits(self):
        assert bool(self.turns) == bool(self.waiting)

    @invariant()
    def nobody_is_lost_or_answered_twice(self):
        assert set(self.left.values()) <= {1}
        assert len(self.left) + len(self.waiting) == len(self.all)

    @invariant()
    def no_client_has_too_many(self):
        assert all(count <= 3 for count in Counter(each.request.client for each in self.waiting).values())


AnyOrder.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
test_any_order_of_events = AnyOrder.TestCase


def test_the_bound_is_larger_than_the_documents_in_use():
    assert MOST >= 16
