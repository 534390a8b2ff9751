"""The simulation of developers and engines: laws that hold whatever is simulated, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import simpy

from palimpsest_bench.server import replay
from palimpsest_bench.sizing import figures, live, report
from palimpsest_bench.sizing import service as services
from palimpsest_bench.sizing.replica import Record, Replica
from palimpsest_bench.sizing.service import Service
from palimpsest_bench.sizing.simulation import Routing, Scenario, simulate
from palimpsest_bench.sizing.tape import Tape, tape, tapes
from palimpsest_bench.sizing.typist import Ask
from palimpsest_engine.errors import DataError, DocumentMissing

from .conftest import Palimpsest

SERVICE = Service("a model", "a machine", "", "", (60.0, 120.0, 300.0), 20.0, cold_ms=50.0)


def ask(client: int, made: float = 0.0, *, document: int | None = None, speculative: bool = False) -> Ask:
    return Ask(client, document or client, tapes()[0], 1, ("at", 1), speculative, made, made)


# A tape is what the texts say


@pytest.mark.parametrize("each", tapes(), ids=lambda each: each.name)
def test_a_tape_ends_with_the_text_of_its_session(each: Tape) -> None:
    session = replay.sessions()[each.name]
    assert each.texts[-1][0] == replay.final_text(session)
    assert each.keystrokes == sum(isinstance(event.what, replay.Change) for event in session)
    assert each.seconds == pytest.approx(session[-1].at - session[0].at)


@pytest.mark.parametrize("each", tapes(), ids=lambda each: each.name)
def test_a_right_suggestion_is_what_will_stand_there(each: Tape) -> None:
    for at, moment in enumerate(each.moments):
        if moment.goal is not None:
            (text, offset), (goal, _) = each.texts[at], each.texts[moment.goal]
            added = len(goal) - len(text)
            assert goal == text[:offset] + goal[offset : offset + added] + text[offset:]
            assert moment.right
        if moment.along:
            assert each.moments[at + 1].kind == "change"


def test_nothing_is_right_where_no_line_is_known() -> None:
    assert not any(moment.right for each in tapes(0.0) for moment in each.moments)


LINES = """{"at":0,"open":{"name":"a.py","language":"python","text":""}}
{"at":100,"change":[0,0,0,0,"a"]}
{"at":200,"change":[0,1,0,1,"b"]}
{"at":300,"change":[0,1,0,2,""]}
{"at":400,"change":[0,1,0,1,"#"]}
"""


def test_the_same_text_is_the_same_state_and_comments_are_not_due() -> None:
    moments = tape("short", replay.parse(LINES), 0.0).moments
    assert [moment.pause for moment in moments] == pytest.approx([0, 0.1, 0.1, 0.1, 0.1])
    assert moments[1].state == moments[3].state != moments[2].state
    assert [moment.due for moment in moments] == [True, True, True, True, False]


# Laws


@pytest.mark.parametrize("routing", ["document", "any"])
@pytest.mark.parametrize(("developers", "replicas", "share"), [(1, 1, 1.0), (6, 1, 1.0), (40, 3, 0.3), (12, 12, 0.9)])
def test_everyone_is_answered_once_or_cancelled(developers: int, replicas: int, share: float, routing: Routing) -> None:
    scenario = Scenario(developers, replicas, share, seconds=300.0, settling=0.0, routing=routing, bout=20.0)
    record = simulate(scenario, SERVICE, tapes())
    assert len(record.asks) == len({id(each) for each in record.asks}) > 50
    for each in record.asks:
        assert each.submitted is not None
        assert each.made <= each.submitted
        assert (each.ended is not None) == bool(each.outcome)
        assert each.outcome != "answered" or each.begun is not None
        if each.begun is not None:
            assert each.submitted <= each.begun
        if each.outcome == "answered":
            assert each.ended - each.begun >= 0.06 - 1e-9  # type: ignore[operator]
    left = [each for each in record.asks if not each.outcome]
    assert len(left) <= replicas  # typists leave at the end, and take back what they asked


@pytest.mark.parametrize(("developers", "replicas"), [(1, 1), (8, 1), (8, 2)])
def test_an_engine_works_on_one_question_at_a_time_and_utilisation_is_its_work(developers: int, replicas: int) -> None:
    service = replace(SERVICE, fill_ms=(150.0,), step_ms=0.0, cold_ms=0.0)
    record = simulate(
        Scenario(developers, replicas, 1.0, seconds=400.0, settling=0.0, routing="document"), service, tapes()
    )
    begun = [each for each in record.asks if each.begun is not None and each.ended is not None]
    assert record.busy == pytest.approx(sum(each.ended - each.begun for each in begun), abs=0.16 * replicas)  # type: ignore[operator, misc]
    assert record.busy <= replicas * record.seconds
    shown = figures.summary(record, replicas)
    assert shown["utilisation"] == pytest.approx(record.busy / (replicas * record.seconds), abs=1e-4)
    if replicas == 1:
        spans = sorted((each.begun, each.ended) for each in begun)
        assert all(first[1] <= second[0] + 1e-9 for first, second in pairwise(spans))  # type: ignore[operator]


def test_alone_nobody_waits() -> None:
    service = replace(SERVICE, step_ms=0.0)
    record = simulate(Scenario(1, 1, 1.0, seconds=1500.0, settling=0.0), service, tapes())
    assert set(figures.waited_ms(figures.interactive(record))) == {0.0}


def test_alone_one_waits_for_a_superseded_step_at_most() -> None:
    record = simulate(Scenario(1, 1, 1.0, seconds=1500.0, settling=0.0), SERVICE, tapes())
    assert 0 < max(figures.waited_ms(figures.interactive(record))) <= SERVICE.step_ms + 1e-6


def test_the_same_seed_gives_the_same_figures() -> None:
    scenario = Scenario(20, 2, 0.5, seconds=120.0)
    first, second = (figures.summary(simulate(scenario, SERVICE, tapes()), 2) for _ in range(2))
    assert first == second
    assert first != figures.summary(simulate(replace(scenario, seed=1), SERVICE, tapes()), 2)


def test_so_many_are_typing_as_was_said() -> None:
    record = simulate(Scenario(100, 5, 0.2, seconds=300.0, bout=15.0), SERVICE, tapes())
    assert record.typing / (100 * record.seconds) == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_poisson_arrivals_wait_as_queueing_theory_says(load: float) -> None:
    """M/M/1: the mean waiting time is load / (1 - load) services, and the engine works that share of the time."""
    random, env, record = Random(7), simpy.Environment(), Record(0.0, 20_000.0)
    service = Service("", "", "", "", tuple(random.expovariate(1 / 1000) for _ in range(20_000)), 0.0)
    replica = Replica(env, service, Random(8), lambda ask: None, record)

    def arrive():
        for client in range(1_000_000):
            yield env.timeout(random.expovariate(load))
            made = ask(client, env.now)
            record.asks.append(made)
            replica.submit(made)

    env.process(arrive())
    env.run(until=record.seconds)
    waits = figures.waited_ms(record.asks)
    assert sum(waits) / len(waits) / 1000 == pytest.approx(load / (1 - load), rel=0.12)
    assert record.busy / record.seconds == pytest.approx(load, rel=0.05)


# The queue


def test_a_fill_under_way_ends_with_its_step_and_one_that_waits_at_once() -> None:
    env, record = simpy.Environment(), Record(0.0, 10.0)
    service = Service("", "", "", "", (1000.0,), 100.0)
    replica = Replica(env, service, Random(0), lambda ask: None, record)
    running, waiting, last = ask(1), ask(2), ask(3)
    for each in (running, waiting, last):
        replica.submit(each)
    env.run(until=0.25)
    replica.cancel(waiting)
    replica.cancel(running)
    env.run(until=5.0)
    assert (waiting.outcome, waiting.begun) == ("cancelled", None)
    assert (running.outcome, running.ended) == ("cancelled", 0.25)
    assert last.begun == pytest.approx(0.3)
    assert last.ended == pytest.approx(1.3)
    assert record.busy == pytest.approx(1.3)


def test_speculation_gives_way_and_is_told() -> None:
    env, told = simpy.Environment(), list[Ask]()
    replica = Replica(env, Service("", "", "", "", (1000.0,), 100.0), Random(0), told.append, Record(0.0, 10.0))
    ahead, asked = ask(1, speculative=True), ask(2)
    replica.submit(ahead)
    env.run(until=0.55)
    replica.submit(asked)
    env.run(until=5.0)
    assert told == [ahead, asked]
    assert (ahead.outcome, asked.outcome) == ("cancelled", "answered")
    assert asked.begun == pytest.approx(0.6)


def test_clients_take_turns_and_speculation_comes_last() -> None:
    env, told = simpy.Environment(), list[Ask]()
    replica = Replica(env, Service("", "", "", "", (1000.0,), 100.0), Random(0), told.append, Record(0.0, 60.0))
    asks = [ask(1, document=1), ask(1, document=2), ask(2, document=3, speculative=True), ask(3, document=4)]
    for each in (*asks, ask(1, document=2)):
        replica.submit(each)
    assert replica.load == 5
    env.run(until=60.0)
    assert [each.document for each in told] == [1, 4, 2, 3]
    assert asks[1] not in told  # a newer question about the same document took its place


# Sizes


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a tenth of the time that the command takes."""
    monkeypatch.setattr(figures, "_TYPING_SECONDS", 1500.0)
    monkeypatch.setattr(report, "PREDICTED_SECONDS", 1500.0)


@pytest.mark.usefixtures("short")
def test_more_developers_need_more_engines_and_reach_the_aim() -> None:
    scenario, aim = Scenario(1, 1), figures.Aim(0.95, 500.0)
    rows = figures.table((5, 30), scenario, SERVICE, tapes(), aim)
    assert [row["developers"] for row in rows] == [5, 30]
    assert rows[0]["replicas"] <= rows[1]["replicas"]
    asks_in_time = figures.fewest(figures.long_enough(replace(scenario, developers=30)), SERVICE, tapes(), aim)
    assert asks_in_time is not None
    assert aim.reached(asks_in_time[1])


@pytest.mark.parametrize(
    ("developers", "routing", "parts"), [(500, "document", 1), (10_000, "document", 5), (10_000, "any", 1)]
)
def test_engines_that_share_no_document_are_simulated_in_part(developers: int, routing: Routing, parts: int) -> None:
    assert figures.slices(Scenario(developers, 1, routing=routing)) == parts


@pytest.mark.usefixtures("short")
def test_a_part_stands_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_SLICE", 20)
    (row,) = figures.table((60,), Scenario(1, 1, share=0.5), SERVICE, tapes(), figures.Aim(0.9, 800.0))
    whole = simulate(Scenario(60, row["replicas"], share=0.5, seconds=60.0), SERVICE, tapes())
    assert row["replicas"] % 3 == 0
    assert figures.summary(whole, row["replicas"])["utilisation"] == pytest.approx(row["utilisation"], rel=0.25)


def test_no_number_of_engines_makes_one_fill_faster() -> None:
    assert figures.fewest(Scenario(5, 1), SERVICE, tapes(), figures.Aim(0.95, 50.0)) is None


def test_the_share_in_time_leaves_out_what_was_taken_back_before() -> None:
    def ended(outcome: str, after: float) -> Ask:
        made = ask(1)
        made.begun, made.ended, made.outcome = 0.0, after, outcome  # type: ignore[assignment]
        return made

    asks = [ended("answered", 0.2), ended("answered", 0.5), ended("cancelled", 0.1), ended("cancelled", 0.9)]
    assert figures.within(asks, 300) == pytest.approx(1 / 3)
    assert figures.within([], 300) == 1.0


# Service times


def test_the_service_times_of_the_package_say_what_is_measured() -> None:
    for name, service in services.known().items():
        assert service.measured, name
        assert min(service.fill_ms) >= service.step_ms / 2, name


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("[]", "no object"),
        ("{", "not JSON"),
        ('{"fill_ms": [], "step_ms": 1}', "fill_ms is a list"),
        ('{"fill_ms": [-1], "step_ms": 1}', "fill_ms is a list"),
        ('{"fill_ms": [true], "step_ms": 1}', "fill_ms is a list"),
        ('{"fill_ms": [1]}', "step_ms and cold_ms are milliseconds"),
        ('{"fill_ms": [1], "step_ms": -1}', "step_ms and cold_ms are milliseconds"),
        ('{"fill_ms": [1], "step_ms": 1, "documents": 0}', "documents is a whole number"),
        ('{"fill_ms": [1], "step_ms": 1, "model": 3}', "are texts"),
        ('{"fill_ms": [1], "step_ms": 1, "steps": 3}', "steps"),
    ],
)
def test_broken_service_times_are_refused_in_a_sentence(given: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    file.write_text(given)
    with pytest.raises(DataError, match=said):
        services.read(str(file))


def test_service_times_that_are_not_there() -> None:
    with pytest.raises(DocumentMissing, match="no-such-times"):
        services.read("no-such-times")


# A real engine


def test_typists_at_a_real_queue_are_answered_once_or_cancelled() -> None:
    hasty = [
        replace(each, moments=tuple(replace(moment, pause=0.002) for moment in each.moments[:80])) for each in tapes()
    ]
    engine = live.fixed_engine(2, 0.0005)
    try:
        record = live.type_for_real(engine, hasty, 3, 0.6)
    finally:
        engine.close()
    assert record.asks
    assert {each.outcome for each in record.asks} <= {"answered", "cancelled"}
    assert record.keystrokes > 100


def test_the_service_time_of_a_fixed_engine_is_its_own() -> None:
    engine = live.fixed_engine(2, 0.0005)
    try:
        service = live.service_of(engine, tapes()[:2], 20, "here")
    finally:
        engine.close()
    assert len(service.fill_ms) == 18  # the first of each document is left out
    assert min(service.fill_ms) >= 1.0


def test_two_measurements_are_as_likely_as_each_other() -> None:
    slow = replace(SERVICE, fill_ms=(400.0,), step_ms=40.0, cold_ms=150.0)
    both = live.both(SERVICE, slow)
    assert (both.fill_ms, both.step_ms, both.cold_ms) == ((60.0, 120.0, 300.0, 400.0), 30.0, 100.0)


# The command

TIMES = {"model": "m", "machine": "here", "measured": "by hand", "fill_ms": [40, 80], "step_ms": 10}


@pytest.fixture
def times(tmp_path: Path) -> Path:
    file = tmp_path / "times.json"
    file.write_text(json.dumps(TIMES))
    return file


@pytest.mark.usefixtures("short")
def test_the_command_says_how_many_engines_are_needed(palimpsest: Palimpsest, times: Path, tmp_path: Path) -> None:
    kept = tmp_path / "sizing.json"
    options = (
        "--service",
        times,
        "--developers",
        5,
        "--developers",
        30,
        "--output",
        kept,
        "--plots",
        tmp_path / "plots",
    )
    result = palimpsest("bench", "sizing", "--json", *options)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert json.loads(kept.read_text()) == found
    (service,) = found["sizing"]["services"]
    assert (service["measured"], service["mean_ms"]) == ("by hand", 60.0)
    assert [row["developers"] for row in service["rows"]] == [5, 30]
    drawn = (tmp_path / "plots" / "bench-sizing.svg").read_text()
    assert "developers" in drawn
    text = palimpsest("bench", "sizing", "--table", "--service", times, "--developers", 5).stdout
    assert "| 5 | 1 |" in text


@pytest.mark.usefixtures("short")
def test_the_command_compares_with_a_real_queue(palimpsest: Palimpsest) -> None:
    options = ("--check", 2, "--check-seconds", 1, "--fixed-ms", 10)
    result = palimpsest("bench", "sizing", "--json", *options)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["check"]["rows"]
    assert row["typists"] == 2
    assert set(row["measured"]) == set(row["predicted"])


def test_without_simpy_a_sentence_says_what_to_install(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palimpsest_server.cli.extras.find_spec", lambda name: None)
    result = palimpsest("bench", "sizing")
    assert result.exit_code == 1
    assert "simpy" in result.stderr
    assert "pip install" in result.stderr
