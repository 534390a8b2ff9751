"""`TeamBackend` over replicas of the test's own: a lost one is replaced once, in time; everything else is said in words."""

import asyncio
from contextlib import aclosing

import pytest

from palimpsest_api.refusals import Refusal
from palimpsest_engine import (
    Draft,
    DraftPiece,
    EngineStatus,
    Fill,
    FillRequest,
    LanguageUnknown,
    Span,
    Verdict,
    messages,
)
from palimpsest_team.backend import ClusterDown, ClusterFull, ReplicaLost, TeamBackend
from palimpsest_team.metrics import TeamMetrics

REQUEST = FillRequest("x = \n", (Span(4, 4),), document="a.py", client="ann")
DRAFT = Draft(1, ((DraftPiece("1", False),),), 0.5)
FILL = Fill(("1",), Verdict("valid"))
DRAFTED, FILLED = messages.to_bytes(messages.Drafted(0, DRAFT)), messages.to_bytes(messages.Filled(0, FILL))


class Scripted:
    """Replicas that play one script a request: bytes are yielded, errors raised, "wait" never ends."""

    def __init__(self, *scripts) -> None:
        self.scripts = list(scripts)
        self.asked: list[tuple[bytes, str]] = []
        self.closed = 0
        self.told: object = messages.to_bytes(messages.Told(EngineStatus("ready", model="small")))

    async def ask(self, packed, key):
        self.asked.append((packed, key))
        try:
            for event in self.scripts.pop(0):
                if isinstance(event, BaseException):
                    raise event
                if event == "wait":
                    await asyncio.Event().wait()
                yield event
        finally:
            self.closed += 1

    async def status(self):
        if isinstance(self.told, BaseException):
            raise self.told
        return self.told


def backend(replicas, seconds=30.0) -> TeamBackend:
    return TeamBackend(replicas, seconds, TeamMetrics())


async def events_of(over: TeamBackend, request=REQUEST):
    async with aclosing(over.fill(request)) as events:
        return [event async for event in events]


async def test_drafts_and_the_fill_come_through_and_the_request_reaches_the_replica_whole():
    replicas = Scripted([b"r1", DRAFTED, FILLED])
    assert await events_of(backend(replicas)) == [DRAFT, FILL]
    packed, _ = replicas.asked[0]
    assert messages.request_of(packed) == REQUEST
    assert replicas.closed == 1


@pytest.mark.parametrize("begun", [[], [b"r1"], [b"r1", DRAFTED]], ids=["before", "taken", "draft shown"])
@pytest.mark.parametrize("end", [[ReplicaLost()], []], ids=["lost", "ended early"])
async def test_a_request_whose_replica_is_lost_is_filled_by_another(begun, end):
    replicas = Scripted([*begun, *end], [b"r2", DRAFTED, FILLED])
    assert (await events_of(backend(replicas)))[-1] == FILL
    assert replicas.asked[0] == replicas.asked[1]


async def test_it_is_tried_once_more_and_not_for_ever():
    replicas = Scripted([ReplicaLost()], [b"r2", ReplicaLost()])
    with pytest.raises(Refusal) as refused:
        await events_of(backend(replicas))
    assert (refused.value.status, refused.value.retry_after) == (503, 1)
    assert len(replicas.asked) == 2


@pytest.mark.parametrize("silent", [["wait"], [b"r1", "wait"], [b"r1", DRAFTED, "wait"]])
async def test_a_replica_that_says_nothing_is_given_up_when_the_time_is_over(silent):
    replicas = Scripted(silent)
    with pytest.raises(Refusal) as refused:
        await events_of(backend(replicas, seconds=0.05))
    assert refused.value.status == 504
    assert replicas.closed == 1


async def test_the_second_try_has_only_the_time_that_the_first_one_left():
    now = [0.0]

    class Slow(Scripted):
        async def ask(self, packed, key):
            async for event in super().ask(packed, key):
                now[0] += 40.0
                yield event

    replicas = Slow([b"r1", DRAFTED, ReplicaLost()], ["wait"])
    over = TeamBackend(replicas, 60.0, TeamMetrics(), clock=lambda: now[0])
    with pytest.raises(Refusal) as refused:
        await events_of(over)
    assert refused.value.status == 504


@pytest.mark.parametrize(
    ("error", "status", "retry_after"), [(ClusterFull(), 503, 1), (ClusterDown("It is not running."), 503, 5)]
)
async def test_a_cluster_that_cannot_answer_says_so(error, status, retry_after):
    with pytest.raises(Refusal) as refused:
        await events_of(backend(Scripted([error])))
    assert (refused.value.status, refused.value.retry_after) == (status, retry_after)


async def test_an_error_of_the_engine_is_the_same_error_here_and_no_reason_to_try_again():
    failed = messages.to_bytes(messages.Failed(0, "LanguageUnknown", "It knows no Cobol."))
    replicas = Scripted([b"r1", failed])
    with pytest.raises(LanguageUnknown, match="no Cobol"):
        await events_of(backend(replicas))
    assert len(replicas.asked) == 1


async def test_a_user_with_too_much_waiting_is_told_to_come_back():
    replicas = Scripted([b"r1", messages.to_bytes(messages.Failed(0, "QueueFull", "Too many wait."))])
    with pytest.raises(Refusal) as refused:
        await events_of(backend(replicas))
    assert (refused.value.status, refused.value.retry_after) == (429, 1)
    assert len(replicas.asked) == 1


async def test_a_client_that_goes_away_ends_the_fill():
    replicas = Scripted([b"r1", DRAFTED, "wait"])
    events = backend(replicas).fill(REQUEST)
    assert await anext(events) == DRAFT
    await events.aclose()
    assert replicas.closed == 1


async def test_a_cancelled_task_ends_the_fill_and_stays_cancelled():
    replicas = Scripted([b"r1", "wait"])
    task = asyncio.create_task(events_of(backend(replicas)))
    while not replicas.asked:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert replicas.closed == 1


async def test_requests_of_a_document_have_one_key_and_others_another():
    replicas = Scripted(*[[b"r1", FILLED]] * 3)
    over = backend(replicas)
    for document in ("a.py", "a.py", "b.py"):
        await events_of(over, FillRequest("x", (Span(0, 1),), document=document, client="ann"))
    keys = [key for _, key in replicas.asked]
    assert keys[0] == keys[1] != keys[2]


async def test_the_status_is_a_replicas_and_is_asked_for_once_in_a_while():
    now, replicas = [100.0], Scripted()
    over = TeamBackend(replicas, 30.0, TeamMetrics(), clock=lambda: now[0])
    assert (await over.status()).model == "small"
    replicas.told = ClusterDown("gone")
    now[0] += 1.9
    assert (await over.status()).model == "small"
    now[0] += 0.2
    assert (await over.status()).state == "error"


@pytest.mark.parametrize("error", [ReplicaLost(), ClusterFull()])
async def test_without_a_status_nothing_is_invented(error):
    replicas = Scripted()
    replicas.told = error
    assert (await backend(replicas).status()).state == "starting"


async def test_a_service_that_is_down_is_an_error_in_the_status():
    replicas = Scripted()
    replicas.told = ClusterDown("The service is not running.")
    status = await backend(replicas).status()
    assert (status.state, status.reason) == ("error", "The service is not running.")
