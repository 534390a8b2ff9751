"""Say why nothing can be done in a document, from the state of its session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from palimpsest_engine import language_id
from palimpsest_engine import untrained as not_of
from palimpsest_server.documents import folders
from palimpsest_server.session.engine_slot import HUNG
from palimpsest_server.session.jobs import LOST

if TYPE_CHECKING:
    from palimpsest_server.documents.store import Snapshot
    from palimpsest_server.session.session import Session


def refusal(session: Session, document: Snapshot) -> str:
    """Return why nothing can be done in this document, or "" if something can."""
    if reason := ban(session, document):
        return reason
    if session.engine.opened is None:
        return session.engine.fault or "the server is starting"
    return HUNG if session.jobs.hung else ""


def ban(session: Session, document: Snapshot) -> str:
    """Return why nothing may be done in this document, with or without an engine, or ""."""
    if session.documents.lost(document.uri):
        return LOST
    settings = session.settings_for(document)
    if not settings.enable:
        return "the setting palimpsest.enable is false"
    names = {document.called.strip().lower(), document.language} - {""}
    if named := next((each for each in settings.disabled_languages if {each.lower(), language_id(each)} & names), ""):
        return f"palimpsest.disabledLanguages has {named}"
    if glob := folders.covering(settings.disabled_folders, document.path, tuple(session.folders.values())):
        return f"palimpsest.disabledFolders has {glob}"
    return session.pauses.reason(document.uri, document.language)


def untrained(session: Session, document: Snapshot, *, edit: bool = False) -> str:
    """Return why the model has nothing to say in this document's language, or "" if it may have.

    edit: the model for edits is meant.
    """
    told = session.engine.status()
    model, languages = told.model, told.languages
    if edit and told.edit_languages is not None:
        model, languages = "for edits", told.edit_languages
    return not_of(model, languages, document.language, document.uri, document.called)


def end_refused(session: Session) -> None:
    """End the jobs of open documents in which nothing can be done any more."""

    def why(uri: str) -> str:
        document = session.documents.snapshot(uri)
        return refusal(session, document) if document else ""

    session.jobs.end_those(why)
