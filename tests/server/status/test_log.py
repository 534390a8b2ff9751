"""The log has ids and timings, and no code; the client gets the important messages, and not too many."""

import asyncio
import io
import logging
import os
import stat
import sys

import pytest

from palimpsest_engine import PalimpsestError
from palimpsest_server.status import log
from palimpsest_server.status.client_log import ClientLog
from palimpsest_server.status.requests import Requests

SECRET = "password = 'hunter2'"
ours = logging.getLogger("palimpsest_server.somewhere")
theirs = logging.getLogger("pygls.protocol")


@pytest.fixture(autouse=True)
def _as_before():
    root = logging.getLogger()
    handlers, raising = list(root.handlers), logging.raiseExceptions
    levels = {name: logging.getLogger(name).level for name in log.OURS}
    yield
    for handler in [each for each in root.handlers if each not in handlers]:
        handler.close()
        root.removeHandler(handler)
    logging.raiseExceptions = raising
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """Log at level info; a call returns the content of the file."""
    file = tmp_path / "palimpsest.log"
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    log.set_up(None, file)
    log.configure("info", text=False)
    return lambda: file.read_text(encoding="utf-8").splitlines()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


# Requests


def test_each_request_has_an_id_a_time_and_an_end(lines):
    clock = Clock()
    requests = Requests(clock)
    with requests.under_way("m") as first:
        clock.now = 0.25
        requests.answered("m", "", "cache")
    with requests.under_way("m") as second:
        requests.answered("m", "nothing there")
    assert (first, second) == ("r1", "r2")
    assert [(end.id, end.ms, end.reason, end.source) for end in requests.recent] == [
        ("r1", 250.0, "", "cache"),
        ("r2", 0.0, "nothing there", ""),
    ]
    assert [line.split("[", 1)[1] for line in lines()] == [
        "r1] m 250.0 ms, offered, cache",
        "r2] m 0.0 ms, nothing: nothing there",
    ]


@pytest.mark.parametrize(
    ("error", "reason"), [(asyncio.CancelledError(), "cancelled"), (KeyError(SECRET), "failed: KeyError")]
)
def test_being_cancelled_and_failing_are_ends_too(error, reason):
    requests = Requests()
    with pytest.raises(type(error)), requests.under_way("m"):
        raise error
    (end,) = requests.recent
    assert end.reason == reason


def test_a_request_that_fails_after_its_answer_is_noted_once():
    requests = Requests()

    def handle():
        with requests.under_way("m"):
            requests.answered("m", "", "model")
            raise KeyError

    with pytest.raises(KeyError):
        handle()
    assert len(requests.recent) == 1


async def test_requests_at_the_same_time_keep_their_ids_apart(lines):
    requests = Requests()

    async def work(method):
        with requests.under_way(method):
            await asyncio.sleep(0)
            ours.warning("in %s", method)
            await asyncio.sleep(0)
            requests.answered(method, "no")

    await asyncio.gather(*(work(f"m{number}") for number in range(1, 6)))
    for number in range(1, 6):
        assert sum(f"[r{number}]" in line and f"m{number}" in line for line in lines()) == 2
    ours.warning("outside")
    assert "[r" not in lines()[-1]


def test_the_last_ones_are_kept_and_all_are_counted():
    requests = Requests()
    for source in ("cache", "cache", "model", "draft") * 10:
        requests.answered("m", "", source)
    requests.answered("m", "no")
    assert len(requests.recent) == 20
    assert requests.counters() == {"requests": 41, "cache": 20, "model": 10, "draft": 10, "empty": 1}


@pytest.mark.parametrize("asked", [False, True])
def test_offered_texts_are_logged_only_if_the_user_wants_it(lines, asked):
    requests = Requests()
    requests.log_text = asked
    requests.answered("m", "", "model", SECRET)
    assert ("hunter2" in lines()[0]) == asked


# Lines


def raised(error):
    try:
        raise error
    except type(error):
        ours.exception("it went wrong")


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("error", [KeyError(SECRET), ValueError(SECRET), UnicodeError(SECRET), Exception(SECRET)])
def test_an_exception_that_may_quote_a_document_is_told_without_its_message(lines, error, asked):
    log.configure("info", text=asked)
    try:
        raised(error)
    except Exception as other:  # not reached
        raise AssertionError from other
    text = "\n".join(lines())
    assert type(error).__name__ in text
    assert "in raised" in text
    assert ("hunter2" in text) == asked


def test_so_are_its_causes(lines):
    try:
        try:
            int(SECRET)
        except ValueError as error:
            raise RuntimeError("the engine failed") from error
    except RuntimeError:
        ours.exception("it went wrong")
    text = "\n".join(lines())
    assert "ValueError" in text
    assert "RuntimeError: the engine failed" in text
    assert "hunter2" not in text


def test_sentences_of_ours_are_told(lines):
    raised(PalimpsestError("the checkpoint is damaged"))
    raised(OSError(28, "No space left on device", "/x"))
    text = "\n".join(lines())
    assert "the checkpoint is damaged" in text
    assert "No space left on device" in text


@pytest.mark.parametrize("asked", [False, True])
def test_messages_of_other_libraries_are_logged_without_their_arguments(lines, asked):
    log.configure("debug", text=asked)
    theirs.error("Unknown message %r", SECRET)
    theirs.info("Sending data: %s", SECRET)
    (line,) = lines()
    assert "%" not in line
    assert "pygls.protocol" in line or asked
    assert "Unknown message" in line
    assert ("hunter2" in line) == asked


def test_a_message_is_one_line(lines):
    ours.warning("a\nb\r\n2026-01-01 error   forged %s", "x\ny")
    assert len(lines()) == 1


def test_the_level_is_a_setting_unless_the_command_line_has_one(lines, tmp_path):
    log.configure("error", text=False)
    ours.warning("one")
    log.configure("debug", text=False)
    ours.debug("two")
    assert [line.rsplit(None, 1)[1] for line in lines()] == ["two"]
    log.set_up("error", tmp_path / "other.log")
    log.configure("debug", text=False)
    ours.warning("three")
    ours.error("four")
    assert (tmp_path / "other.log").read_text().split()[-1] == "four"
    assert len((tmp_path / "other.log").read_text().splitlines()) == 1
    assert len(lines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no modes")
def test_the_file_is_for_the_user_alone_and_is_added_to(lines, tmp_path):
    ours.warning("one")
    file = tmp_path / "palimpsest.log"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    log.set_up(None, file)
    ours.warning("two")
    assert [line.rsplit(None, 1)[1] for line in lines()] == ["one", "two"]


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        log.set_up(None, tmp_path / "nowhere" / "x.log")


# The client


class Loop:
    """Makes the posted calls when the test says so."""

    def __init__(self):
        self.posted = []

    def post(self, call, *values):
        self.posted.append((call, values))

    def run(self):
        while self.posted:
            call, values = self.posted.pop(0)
            call(*values)


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def said(loop, clock, lines):
    said = []
    ClientLog(lambda kind, text: said.append((kind, text)), loop.post, clock)
    return said


def test_errors_and_warnings_go_to_the_client_on_the_loop(said, loop):
    ours.error("bad")
    ours.warning("not so good")
    ours.debug("never")
    assert said == []
    loop.run()
    assert said == [(1, "bad"), (2, "not so good")]


@pytest.mark.parametrize(("level", "passed"), [("error", 0), ("warning", 0), ("info", 1), ("debug", 1)])
def test_information_goes_if_it_is_logged(said, loop, level, passed):
    log.configure(level, text=False)
    ours.info("so")
    loop.run()
    assert len(said) == passed


def test_records_of_other_libraries_do_not_go_to_the_client(said, loop):
    theirs.error("something")
    loop.run()
    assert said == []


@pytest.mark.parametrize("text", [False, True])
def test_no_code_goes_even_if_the_log_may_have_it(said, loop, text):
    log.configure("info", text)
    raised(KeyError(SECRET))
    loop.run()
    ((_, message),) = said
    assert "KeyError" in message
    assert "hunter2" not in message


def test_the_same_message_goes_once(said, loop):
    requests = Requests()
    for _ in range(3):
        with requests.under_way("m"):
            ours.warning("again")
    loop.run()
    assert said == [(2, "again")]


def test_no_more_than_twenty_a_minute_and_then_how_many_were_left_out(said, loop, clock):
    for number in range(50):
        ours.warning("warning %d", number)
    ours.error("an error still goes")
    loop.run()
    assert [text for kind, text in said if kind == 2] == [f"warning {number}" for number in range(20)]
    assert said[-1] == (1, "an error still goes")
    clock.now = 60.0
    ours.warning("later")
    loop.run()
    assert [text.split(";")[0] for _, text in said[21:]] == ["30 messages were left out", "later"]


def test_sending_never_leads_to_sending(loop, lines):
    sent = []

    def send(kind, text):
        sent.append(text)
        ours.error("while sending %s", text)
        raise ConnectionError

    ClientLog(send, loop.post)
    ours.error("one")
    loop.run()
    assert sent == ["one"]


def test_after_the_loop_has_ended_nothing_goes_and_nothing_fails(lines):
    def post(call, *values):
        raise RuntimeError("Event loop is closed")

    handler = ClientLog(lambda kind, text: None, post)
    ours.error("one")
    handler.close()
    assert handler not in logging.getLogger().handlers


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("Unable to deserialize\n%s", "Unable to deserialize …"),
        ("%(name)s took %5.1f ms of %-10s", "… took … ms of …"),
        ("%r and %*d", "… and …"),
        ("50 % of all", "50 % of all"),
    ],
)
def test_something_stands_for_each_argument_that_is_left_out(message, shown):
    record = logging.LogRecord("pygls", logging.ERROR, "", 1, message, (), None)
    assert log.sentence(record, text=False) == f"pygls: {shown}"


# The file


@pytest.fixture
def log_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    return tmp_path / "the.log"


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666, 0o777])
def test_a_log_file_that_others_could_read_is_closed_to_them(log_file, mode):
    log_file.write_text("before\n")
    log_file.chmod(mode)
    log.set_up(None, log_file)
    ours.warning("after")
    assert stat.S_IMODE(log_file.stat().st_mode) == 0o600
    assert log_file.read_text().startswith("before\n")
    assert log_file.read_text().endswith("after\n")


def test_the_log_is_not_written_through_a_link(log_file, tmp_path):
    other = tmp_path / "other"
    other.write_text("mine")
    other.chmod(0o644)
    log_file.symlink_to(other)
    with pytest.raises(PalimpsestError, match="which is a link"):
        log.set_up(None, log_file)
    log_file.unlink()
    log_file.hardlink_to(other)
    with pytest.raises(PalimpsestError, match="another name"):
        log.set_up(None, log_file)
    log_file.unlink()
    log_file.symlink_to(tmp_path / "new")
    with pytest.raises(PalimpsestError, match="which is a link"):
        log.set_up(None, log_file)
    assert (other.read_text(), stat.S_IMODE(other.stat().st_mode)) == ("mine", 0o644)
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
def test_a_log_file_is_a_file(log_file):
    os.mkfifo(log_file)
    with pytest.raises((PalimpsestError, OSError)):  # nobody reads the pipe: opening it would wait for ever
        log.set_up(None, log_file)
    reader = os.open(log_file, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(PalimpsestError, match="which is no file"):
        log.set_up(None, log_file)
    os.close(reader)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_a_log_file_of_another_user_is_refused(log_file):
    log_file.write_text("theirs")
    os.chown(log_file, 1234, 1234)
    with pytest.raises(PalimpsestError, match="belongs to another user"):
        log.set_up(None, log_file)
    assert log_file.read_text() == "theirs"


def test_the_log_has_nothing_that_a_terminal_acts_on(lines):
    ours.warning("the file %s", "\x1b]0;title\x07\u202e.py")
    assert lines()[-1].endswith(r"the file \x1b]0;title\x07\u202e.py")
