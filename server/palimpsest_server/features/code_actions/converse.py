"""Rewrite as a user says, change the answer as the user then says, and go back and forward among the versions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lsprotocol import types

from palimpsest_engine import Span
from palimpsest_server.documents import edits
from palimpsest_server.documents.store import Snapshot
from palimpsest_server.features.code_actions.target import Target, document_of
from palimpsest_server.features.code_actions.work import Done, Written, begin, carry_out
from palimpsest_server.features.code_actions.workspace_edit import apply, versioned
from palimpsest_server.server import Server
from palimpsest_server.session import jobs
from palimpsest_server.session.conversations import Conversation, Version
from palimpsest_server.session.session import Session

NO_ANSWER = "nothing in this file was rewritten by an instruction yet"
GONE = "the last answer does not stand there any more"
OLDEST, NEWEST = "this is the text that stood there first", "this is the last answer"


async def instruct(server: Server, target: Target, token: types.ProgressToken | None) -> Done:
    """Rewrite the selected lines as the user says, and begin a conversation about them. Raises Refused."""
    conversations = server.session.conversations
    work = begin(server.session, target)
    conversations.say(target.instruction)
    begun = list[tuple[Conversation, Version]]()

    def follow(written: Written) -> None:
        about = conversations.about(work.document.uri, work.place(0), written.before)
        begun.append((about, Version(written.candidates[0], written.candidates[1:], target.instruction)))

    work.before_edit = follow
    done = await carry_out(server, work, token)
    for conversation, answer in [] if done.reason else begun:
        conversation.answered(0, answer)
        conversations.keep(work.document.uri, conversation)
        done = replace(done, more={"conversation": conversation.told()})
    return done


async def follow_up(server: Server, target: Target, token: types.ProgressToken | None) -> Done:
    """Change the last answer as the user says. Raises Refused if there is none, or nothing is left of it."""
    session = server.session
    document = document_of(session, target)
    conversation, place = standing(session, document)
    number = conversation.at
    where = document.range_at(place.start, place.end, session.documents.encoding)
    work = begin(session, replace(target, range=where), conversation.turns())
    answers = list[Version]()
    work.before_edit = lambda written: answers.append(
        Version(written.candidates[0], written.candidates[1:], target.instruction)
    )
    done = await carry_out(server, work, token)
    for answer in [] if done.reason else answers:
        conversation.answered(number, answer)
        done = replace(done, more={"conversation": conversation.told()})
    return done


async def earlier(server: Server, target: Target, token: types.ProgressToken | None) -> Done:
    """Put the version before the one that stands there in its place. Raises Refused."""
    return await _put(server, target, -1, OLDEST)


async def later(server: Server, target: Target, token: types.ProgressToken | None) -> Done:
    """Put the version after the one that stands there in its place. Raises Refused."""
    return await _put(server, target, 1, NEWEST)


async def _put(server: Server, target: Target, step: int, end: str) -> Done:
    session, encoding = server.session, server.session.documents.encoding
    document = document_of(session, target, engine=False)
    conversation, place = standing(session, document)
    number = conversation.at + step
    if not 0 <= number < len(conversation.versions):
        raise jobs.Refused(end)
    change = edits.smallest(document.content, place, conversation.versions[number].text)
    title = f"version {number} of {len(conversation.versions) - 1}" if number else "as it was first"
    reason = ""
    if change is not None:  # its user may have made another version of it
        edit = versioned(document, [change], server.client_capabilities, encoding, title)
        reason = await apply(server, edit, f"Palimpsest: {title}")
    if not reason:
        conversation.at = number
        return Done("", 1, 1, "cache", {"conversation": conversation.told()})
    return Done(reason, 1, 0, "cache")


def standing(session: Session, document: Snapshot) -> tuple[Conversation, Span]:
    """Return the conversation of a document, and the place that it is about. Raises Refused."""
    conversation = session.conversations.find(document.uri)
    if conversation is None:
        raise jobs.Refused(NO_ANSWER)
    place = conversation.standing(document.content)
    if place is None:
        raise jobs.Refused(GONE)
    return conversation, place


def told(session: Session, target: Target) -> dict[str, Any] | None:
    """Return which version stands in a document, for its clients; None if there is none."""
    document = session.documents.snapshot(target.uri)
    conversation = session.conversations.find(document.uri) if document else None
    stands = document and conversation and conversation.standing(document.content)
    return conversation.told() if conversation and stands else None
