"""`textDocument/copilotInlineEdit` and its companions, from the change to the place where nothing is left to do."""

import json
import os

import pytest

from e2e.raw import ABLE, URI, message, place, raw

METHOD = "textDocument/copilotInlineEdit"
ACCEPT = "palimpsest.nextEdit.accept"
CODE = "def f(limit):\n    # 🎻\n    a = limit\n    return '🎻' + limit\n"
WIDTHS = {"utf-8": 4, "utf-16": 2, "utf-32": 1}
OTHER = "file:///project/b.py"


def asking(version=None, line=0, character=0, uri=URI, **more):
    document = {"uri": uri} | ({} if version is None else {"version": version})
    return {"textDocument": document, "position": place(line, character)} | more


class Person:
    """Renames the parameter of `CODE`, in a client whose edits are those of the server alone."""

    def __init__(self, client, text=CODE, width=2):
        self.client, self.text, self.width, self.version = client, text, width, 1
        client.open(text)

    def replace(self, line, character, end, text):
        self.version += 1
        where = {"start": place(line, character), "end": place(line, end)}
        self.client.change({"range": where, "text": text}, version=self.version)
        lines = self.text.split("\n")
        first, last = (self.column(lines[line], at) for at in (character, end))
        lines[line] = lines[line][:first] + text + lines[line][last:]
        self.text = "\n".join(lines)

    def column(self, line, units):
        at = 0
        while units > 0:
            units -= self.width if line[at] > "\uffff" else 1
            at += 1
        return at

    def next(self, **more):
        answer = self.client.ask(METHOD, asking(self.version) | more)
        return answer["result"]["edits"]

    def take(self, edit):
        start, end = edit["range"]["start"], edit["range"]["end"]
        assert edit["textDocument"] == {"uri": URI, "version": self.version}
        assert start["line"] == end["line"]
        self.replace(start["line"], start["character"], end["character"], edit["text"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_a_renamed_parameter_leads_from_use_to_use_until_none_is_left(encoding):
    able = ABLE | {"general": {"positionEncodings": [encoding]}}
    with raw({"wordwise": True}) as client:
        assert client.initialize(able)["capabilities"]["positionEncoding"] == encoding
        person = Person(client, width=WIDTHS[encoding])
        person.replace(0, 6, 11, "most")
        reasons = []
        while edits := person.next():
            (edit,) = edits
            assert edit["command"]["command"] == ACCEPT
            assert edit["command"]["arguments"] == [edit["palimpsest"]["id"]]
            person.take(edit)
            done = client.ask("workspace/executeCommand", edit["command"] | {"title": None})
            assert done["result"] is None
            reasons.append((edit["palimpsest"]["reason"], edit["palimpsest"]["kind"], edit["palimpsest"]["certainty"]))
        assert person.text == CODE.replace("limit", "most")
        assert reasons == [("`limit` was renamed", "rename", "sure")] * 2
        assert client.status()["lastEmpty"] == {"request": METHOD, "reason": "nothing follows from the last change"}
        assert client.end() == 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_the_own_finders_lead_from_use_to_use(encoding):
    with raw() as client:
        client.initialize(ABLE | {"general": {"positionEncodings": [encoding]}})
        person = Person(client, width=WIDTHS[encoding])
        person.replace(0, 6, 11, "most")
        for _ in range(2):
            (edit,) = person.next()
            assert (edit["palimpsest"]["kind"], edit["palimpsest"]["certainty"]) == ("rename", "sure")
            person.take(edit)
            client.tell("workspace/executeCommand", edit["command"])
        assert person.next() == []
        assert person.text == CODE.replace("limit", "most")
        assert client.status()["lastEmpty"]["request"] == METHOD


GUESS = "import parse\n\n\ndef f(x):\n    '🎻', parse(x, 1)\n"


def said_of(message, line, start, end):
    return {"range": {"start": place(line, start), "end": place(line, end)}, "severity": 1, "message": message}


def test_diagnostics_that_come_with_a_request_confirm_a_guess():
    with raw() as client:
        client.initialize(ABLE)
        person = Person(client, GUESS)
        person.replace(0, 7, 12, "parse_all")
        assert person.next() == []
        said = [
            said_of('"parse" is not defined', 4, 10, 15),
            {"message": "a hint", "severity": 4} | said_of("", 0, 0, 1),
        ]
        (edit,) = person.next(diagnostics=said)
        assert (edit["text"], edit["palimpsest"]["certainty"]) == ("parse_all", "likely")
        person.take(edit)
        assert person.next() == [], "they were about another text"


def test_diagnostics_of_a_request_for_code_actions_count_as_long_as_the_text_is_the_same():
    with raw() as client:
        client.initialize(ABLE)
        person = Person(client, GUESS)
        person.replace(0, 7, 12, "parse_all")
        context = {"diagnostics": [said_of('"parse" is not defined', 4, 10, 15)], "triggerKind": 2}
        params = {"textDocument": {"uri": URI}, "range": {"start": place(0, 0), "end": place(0, 0)}, "context": context}
        client.ask("textDocument/codeAction", params)
        (edit,) = person.next()
        assert edit["text"] == "parse_all"


@pytest.mark.parametrize(
    "diagnostics",
    [7, "words", [{}], [{"message": 1}], [said_of(None, 0, 0, 1)], [said_of("", 0, 0, 1) | {"severity": 9}]],
)
def test_diagnostics_that_are_none_are_refused_in_a_sentence(diagnostics):
    with raw() as client:
        client.initialize(ABLE)
        Person(client)
        answer = client.ask(METHOD, asking(1, diagnostics=diagnostics))
        assert answer["error"]["code"] == -32602
        assert "diagnostics are not" in answer["error"]["message"]


def test_outcomes_are_counted_in_the_users_file_when_the_session_ends(tmp_path):
    with raw({"wordwise": True}, env=os.environ | {"PALIMPSEST_STATE": str(tmp_path)}) as client:
        client.initialize()
        person = renamed(client)
        (edit,) = person.next()
        person.take(edit)
        (edit,) = person.next()
        client.tell("palimpsest/didCloseInlineEdit", {"id": edit["palimpsest"]["id"], "why": "refused"})
        assert person.next() == []
        assert client.end() == 0
    (file,) = tmp_path.iterdir()
    events = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted(each["outcome"] for each in events) == ["accepted", "refused"]
    assert {(each["language"], each["kind"], each["certainty"]) for each in events} == {("python", "rename", "sure")}


def test_accepting_is_taken_as_a_notification():
    with raw({"wordwise": True}) as client:
        client.initialize()
        person = Person(client)
        person.replace(0, 6, 11, "most")
        (edit,) = person.next()
        client.tell("textDocument/didFocus", {"textDocument": {"uri": URI}})
        client.tell("textDocument/didShowInlineEdit", {"item": {"command": edit["command"]}})
        person.take(edit)
        client.tell("workspace/executeCommand", {"command": ACCEPT, "arguments": edit["command"]["arguments"]})
        client.tell("workspace/executeCommand", {"command": ACCEPT})
        client.tell("workspace/executeCommand", 3)
        (second,) = person.next()
        assert second["range"]["start"]["line"] == 3
        assert client.end() == 0


def test_as_many_edits_as_asked_for_come_in_one_answer():
    with raw({"wordwise": True}) as client:
        client.initialize()
        person = Person(client)
        person.replace(0, 6, 11, "most")
        assert [each["range"]["start"]["line"] for each in person.next(most=8)] == [2, 3]


def test_another_document_has_its_turn_once_nothing_is_left_here():
    with raw({"wordwise": True}) as client:
        client.initialize()
        client.open("limit = 1\n", uri=OTHER, version=7)
        person = Person(client)
        person.replace(0, 6, 11, "most")
        assert {each["textDocument"]["uri"] for each in person.next(most=8)} == {URI}
        for _ in range(2):
            person.take(person.next()[0])
        assert [each["textDocument"] for each in person.next(most=8)] == [{"uri": OTHER, "version": 7}]


def test_another_version_gets_nothing_and_the_reason():
    with raw({"wordwise": True}) as client:
        client.initialize()
        person = Person(client)
        person.replace(0, 6, 11, "most")
        assert client.ask(METHOD, asking(1))["result"] == {"edits": []}
        assert client.status()["lastEmpty"]["reason"] == "the document changed"


def test_the_latest_request_wins_and_each_has_its_answer():
    with raw({"wordwise": True}) as client:
        client.initialize()
        client.open(CODE)
        renamed = {"range": {"start": place(0, 6), "end": place(0, 11)}, "text": "most"}
        change = {"textDocument": {"uri": URI, "version": 2}, "contentChanges": [renamed]}
        sent = ["first", "second", "third", "fourth"]
        # At once: none is answered before the next one is there.
        client.send(
            message("textDocument/didChange", change)
            + b"".join(message(METHOD, asking(2, 0, 10), each) for each in sent)
            + message("$/cancelRequest", {"id": sent[-1]})
        )
        answers = [client.answer(each) for each in sent]
        assert [each.get("result") for each in answers[:3]] == [{"edits": []}] * 3
        assert answers[3]["error"]["code"] == -32800
        assert [client.count(each) for each in sent] == [1] * 4


@pytest.mark.parametrize(
    "params",
    [
        None,
        [],
        {},
        asking() | {"textDocument": {"uri": 3}},
        asking() | {"textDocument": {"uri": URI, "version": "3"}},
        asking() | {"position": {"line": "x", "character": 0}},
        asking() | {"position": None},
        asking() | {"most": 0},
        asking() | {"most": 9},
        asking() | {"context": 3},
    ],
)
def test_wrong_params_are_refused_in_a_sentence(params):
    with raw() as client:
        client.initialize()
        client.open(CODE)
        error = client.ask(METHOD, params)["error"]
        assert error["code"] == -32602
        assert error["message"].startswith(f"{METHOD} expects {{textDocument: {{uri, version?}}, position}}; ")
        assert client.status()["lastEmpty"]["reason"].startswith("refused: ")


@pytest.mark.parametrize("method", ["textDocument/didShowInlineEdit", "palimpsest/didCloseInlineEdit"])
@pytest.mark.parametrize("params", [None, [], {"item": None}, {"item": {"command": {"arguments": []}}}, {"id": 3}])
def test_a_notification_that_nobody_can_read_is_left_out(method, params):
    with raw() as client:
        client.initialize()
        client.open(CODE)
        client.tell(method, params)
        client.tell("textDocument/didShowCompletion", params)
        client.tell("textDocument/didPartiallyAcceptCompletion", params)
        assert client.ask(METHOD, asking(unknown=1))["result"] == {"edits": []}
        assert client.status()["lastEmpty"]["reason"] == "nothing was changed yet"


def renamed(client):
    person = Person(client)
    person.replace(0, 6, 11, "most")
    return person


def action_at(line=0, character=0, **context):
    where = {"start": place(line, character), "end": place(line, character)}
    return {"textDocument": {"uri": URI}, "range": where, "context": {"diagnostics": []} | context}


def next_ones(client, **context):
    answer = client.ask("textDocument/codeAction", action_at(**context))
    return [each for each in answer["result"] if "next edit" in each["title"]]


def test_a_client_without_the_method_gets_the_edit_as_an_action():
    with raw({"wordwise": True}) as client:
        client.initialize()
        assert next_ones(client) == []
        person = renamed(client)
        (action,) = next_ones(client, triggerKind=1)
        assert action["title"] == "Palimpsest: next edit: `limit` was renamed"
        assert action["kind"] == "quickfix.palimpsest.nextEdit"
        (change,) = action["edit"]["documentChanges"]
        assert change["textDocument"] == {"uri": URI, "version": 2}
        (edit,) = change["edits"]
        person.take({"range": edit["range"], "text": edit["newText"], "textDocument": change["textDocument"]})
        client.ask("workspace/executeCommand", action["command"])
        assert [each["range"]["start"]["line"] for each in person.next(most=8)] == [3]
        assert next_ones(client) == []  # a client that knows the method needs no action


def test_a_client_without_actions_as_literals_gets_a_command():
    able = {"workspace": ABLE["workspace"]}
    with raw({"wordwise": True}, {"workspace/applyEdit": {"applied": True}}) as client:
        client.initialize(able)
        renamed(client)
        (command,) = next_ones(client)
        done = client.ask(
            "workspace/executeCommand", {"command": command["command"], "arguments": command["arguments"]}
        )
        assert done["result"] == {"applied": True, "reason": None, "uri": URI, "why": "`limit` was renamed"}
        (asked,) = client.said("workspace/applyEdit")
        assert asked["label"] == "Palimpsest: next edit"
        assert client.said("window/showDocument") == []


def test_an_action_is_offered_neither_on_saving_nor_to_a_client_that_takes_no_versioned_edits():
    with raw({"wordwise": True}) as client:
        client.initialize()
        renamed(client)
        assert next_ones(client, only=["quickfix"], triggerKind=2) == []
        assert next_ones(client, only=["refactor"]) == []
        assert len(next_ones(client, only=["quickfix"])) == 1
    with raw({"wordwise": True}) as client:
        client.initialize({})
        renamed(client)
        assert next_ones(client) == []


def test_the_command_shows_the_place_or_makes_the_edit_and_shows_that():
    able = ABLE | {"window": {"showDocument": {"support": True}}}
    with raw({"wordwise": True}, {"workspace/applyEdit": {"applied": True}, "window/showDocument": None}) as client:
        client.initialize(able)
        renamed(client)
        for jump in (True, False):
            argument = asking(2) | {"jump": jump}
            done = client.ask("workspace/executeCommand", {"command": "palimpsest.nextEdit", "arguments": [argument]})
            assert (done["result"]["applied"], done["result"]["reason"]) == (not jump, None)
        client.until(lambda: len(client.said("window/showDocument")) == 2)
        ends = [each["selection"]["end"] for each in client.said("window/showDocument")]
        assert ends == [place(2, 13), place(2, 12)]


@pytest.mark.parametrize("arguments", [None, [], [3], [{}], [asking() | {"jump": 3}], [asking(), asking()]])
def test_wrong_arguments_of_the_command_are_refused(arguments):
    with raw() as client:
        client.initialize()
        error = client.ask("workspace/executeCommand", {"command": "palimpsest.nextEdit", "arguments": arguments})[
            "error"
        ]
        assert error["code"] == -32602
        assert error["message"].startswith("palimpsest.nextEdit")
