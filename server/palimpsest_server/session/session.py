"""Hold the state of one connection, on the event loop: settings, engine, documents, jobs, suggestions, status.

Features reach the parts directly; changes of several parts at once are made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from palimpsest_server import settings
from palimpsest_server.documents import folders
from palimpsest_server.documents.store import Documents, Snapshot
from palimpsest_server.sections import SECTION, undotted
from palimpsest_server.session.abilities import Abilities, abilities_of
from palimpsest_server.session.conversations import Conversations
from palimpsest_server.session.debounce import Debounce
from palimpsest_server.session.engine_slot import EngineFactory, EngineSlot
from palimpsest_server.session.jobs import CHANGED, CLOSED, LOST, Jobs
from palimpsest_server.session.next_edits import NextEdits
from palimpsest_server.session.outcomes import Outcomes
from palimpsest_server.session.recent_fills import RecentFills
from palimpsest_server.session.suggestions import Suggestions
from palimpsest_server.session.surroundings import Surroundings
from palimpsest_server.status import log
from palimpsest_server.status.board import Board, Pauses
from palimpsest_server.status.publisher import Client, Publisher
from palimpsest_server.status.requests import Requests
from palimpsest_server.status.status_file import Live


class Page(Protocol):
    """The server of a page in a browser, on a thread of its own."""

    def close(self) -> None:
        """Let it end; nobody waits for it."""
        ...


class Session:
    """Everything a handler needs. No engine is opened before `open`.

    folders: the workspace's, by their URIs. abilities: what the client says of itself. announced: the document and version
    whose final draft was just shown. canvas: the page that shows fills at work, once it was asked for. closed: it is over.
    """

    def __init__(self, engine_factory: EngineFactory, client: Client) -> None:
        self.client = client
        self.settings = settings.Settings()
        self.abilities = Abilities()
        self.folders: dict[str, Path] = {}
        self.announced: tuple[str, int] | None = None
        self.canvas: Page | None = None
        self.documents = Documents()
        self.surroundings = Surroundings(self.documents)
        self.suggestions = Suggestions()
        self.recent_fills = RecentFills()
        self.conversations = Conversations(self.documents.marks)
        self.outcomes = Outcomes(self.documents, self.surroundings.off_loop)
        self.next_edits = NextEdits(self.documents, self.outcomes)
        self.debounce = Debounce()
        self.jobs = Jobs()
        self.engine = EngineSlot(engine_factory, self.jobs)
        self.pauses = Pauses()
        self.requests = Requests()
        self.board = Board(
            self.engine.status, lambda: not self.settings.enable, self.pauses, self.requests, self.jobs.counters
        )
        self.live = Live(self.board.status, self.requests)
        self.publisher = Publisher(client, self.board, self.requests, self.live)
        self._initial: object = None
        self._configured: object = None
        self._by_folder: dict[str, object] = {}
        self._in_folders: dict[str, settings.Settings] = {}
        self._warned: set[str] = set()
        self._warm = self.closed = False

    # Settings

    def initialize(self, options: object) -> None:
        """Take up `initializationOptions`: an object with the key `palimpsest`, and `client`."""
        self._initial, strange = settings.section_of(options)
        self.abilities = abilities_of(options)
        self._configure(strange)

    def configure(self, section: object, by_folder: Mapping[str, object] | None = None) -> None:
        """Take up the section `palimpsest` of the configuration, which ranks above `initializationOptions`.

        by_folder: the section for single workspace folders, by their URIs; None leaves those as they are.
        """
        self._configured = section
        self._by_folder = self._by_folder if by_folder is None else dict(by_folder)
        self._configure()

    def reconfigure(self, given: object) -> bool:
        """Take up what the client sent of its configuration; return False if there is nothing of ours in it.

        Keys that are dotted from the top on stand for themselves: those that are not among them stay as they are.
        """
        if not isinstance(given, Mapping):
            return False
        section, _ = settings.section_of(given)
        if section is None and SECTION not in given:
            return False
        if SECTION not in given and isinstance(section, dict) and isinstance(self._configured, Mapping):
            section = {**undotted(self._configured), **section}
        self.configure(section)
        return True

    def settings_for(self, document: Snapshot) -> settings.Settings:
        """Return the settings that hold for a document: those of its folder, where that has any of its own."""
        return folders.of_document(document.path, self._in_folders, self.settings)

    def work_in(self, workspace: Mapping[str, Path]) -> None:
        """Take up the folders of the workspace, by their URIs."""
        self.folders = dict(workspace)
        self.live.folders = tuple(self.folders)
        everywhere = (self.settings, *self._in_folders.values())
        self.surroundings.work_in(
            self.folders, tuple(dict.fromkeys(glob for each in everywhere for glob in each.ignore))
        )

    def _configure(self, strange: tuple[str, ...] = ()) -> None:
        """Parse all sources anew; show each problem once."""
        parsed, problems = settings.parse(self._initial, self._configured)
        in_folders = dict[str, settings.Settings]()
        for folder, section in self._by_folder.items():
            in_folders[folder], more = settings.parse(self._initial, self._configured, section)
            problems += more
        if all(each == parsed for each in in_folders.values()):
            in_folders = {}  # asking for them has changed nothing
        for problem in (*strange, *problems):
            if problem not in self._warned:
                self._warned.add(problem)
                self.client.warn(f"Palimpsest: {problem}")
        self.outcomes.enabled = parsed.statistics
        before, self.settings = (self.settings, self._in_folders), parsed
        self._in_folders = in_folders
        if before == (parsed, in_folders):
            return
        log.configure(parsed.log_level, parsed.log_text)
        self.requests.log_text = parsed.log_text
        self.work_in(self.folders)
        self.suggestions.forget()
        self.jobs.end_all("the settings changed")
        if before[0].engine != parsed.engine:
            self.engine.drop()
        if self._warm:
            self.warm()

    # Life

    def open(self) -> None:
        """Open the engine, if that has not been done; cheap, nothing is loaded."""
        self.engine.open(self.settings.engine)

    def warm(self) -> None:
        """Let the engine load its checkpoint, unless the user has switched everything off."""
        if self.closed:
            return
        self._warm = self.publisher.watching = True
        if self.settings.enable:
            self.open()
            if self.engine.opened is not None:
                self.engine.opened.warm()
        self.publisher.publish()

    def close(self) -> None:
        """Stop every job and the engine, for good."""
        self.closed = True
        if self.canvas is not None:
            self.canvas.close()
        self.jobs.end_all("the server is shutting down")
        self.live.close()
        self.outcomes.close()
        self.surroundings.close()
        self.publisher.close()
        self.engine.close()

    # Documents

    def forget(self, uri: str) -> None:
        """Forget a document, which was closed."""
        self.jobs.end(uri, CLOSED)
        self.suggestions.forget(uri)
        self.recent_fills.forget(uri)
        self.conversations.forget(uri)
        self.next_edits.forget(uri)
        self.outcomes.forget(uri)
        self.debounce.forget(uri)
        self.surroundings.forget(uri)

    def moved_on(self, document: Snapshot) -> str:
        """Return why a document is not the one of a snapshot any more, or ""."""
        if self.documents.current(document):
            return ""
        return CLOSED if self.documents.snapshot(document.uri) is None else CHANGED

    def lose_track(self, uri: str | None) -> bool:
        """Refuse work on a document or notebook, None for all, whose change could not be read; return whether it is news."""
        lost = self.documents.lose(uri)
        for each in lost:
            self.jobs.end(each, LOST)
        return bool(lost)
