"""Hold the status that clients are told: the engine's state, all pauses, the reason of the last empty answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lsprotocol import types

from palimpsest_engine import EngineStatus
from palimpsest_server.documents.folders import innermost
from palimpsest_server.documents.uris import path_of
from palimpsest_server.protocol.methods import NEXT_EDIT, PAUSE
from palimpsest_server.status.requests import Requests

Scope = Literal["all", "language", "folder", "document"]
_LOADING, _DENOISING = "the checkpoint is still loading", "still denoising"
_SUGGESTIONS = (types.TEXT_DOCUMENT_INLINE_COMPLETION, types.TEXT_DOCUMENT_COMPLETION)
_BY_TYPING = (*_SUGGESTIONS, NEXT_EDIT)
_SCOPES: tuple[Scope, ...] = ("all", "language", "folder", "document")


@dataclass(frozen=True, slots=True)
class Pause:
    """The argument of the command. paused: True to pause, False to go on, None to change from one to the other."""

    scope: Scope
    uri: str
    paused: bool | None


def pause_of(arguments: object) -> Pause:
    """Read the command's one argument. Raises ValueError with a sentence."""
    match arguments:
        case [Mapping() as argument]:
            scope, uri, paused = argument.get("scope"), argument.get("uri"), argument.get("paused")
        case _:
            raise ValueError(f'{PAUSE} takes one argument {{"scope": string, "uri"?: string, "paused"?: boolean}}')
    if scope not in _SCOPES:
        raise ValueError(f"{PAUSE}: the scope is one of {', '.join(_SCOPES)}, not {scope!r}")
    if not isinstance(paused, bool | None):
        raise ValueError(f"{PAUSE}: paused is true, false, or left out")
    if not ((isinstance(uri, str) and uri) or (scope == "all" and uri is None)):
        raise ValueError(f"{PAUSE}: the scope {scope} needs the URI of a document")
    return Pause(scope, uri or "", paused)


class Pauses:
    """All that the user has paused by hand. It lasts as long as the session, and no setting changes it."""

    def __init__(self) -> None:
        self.everything = False
        self._held: dict[Scope, set[str]] = {"language": set(), "folder": set(), "document": set()}

    def change(self, pause: Pause, language: str, folders: Iterable[str]) -> tuple[bool, str]:
        """Pause or go on as the command says; return whether it is paused now, and a name for it in words.

        language: the document's, "" if it is not open. folders: the workspace's, as URIs; a document outside of them
        stands for the folder that it lies in. Going on with everything ends every pause. Raises ValueError with a sentence.
        """
        if pause.scope == "all":
            self.everything = not self.everything if pause.paused is None else pause.paused
            if not self.everything:
                for each in self._held.values():
                    each.clear()
            return self.everything, "everything"
        held, what = self._held[pause.scope], self._place(pause, language, folders)
        on = what not in held if pause.paused is None else pause.paused
        (held.add if on else held.discard)(what)
        return on, _words(pause.scope, what)

    def _place(self, pause: Pause, language: str, folders: Iterable[str]) -> str:
        """Return the language, folder or document that a pause of this scope is about."""
        if pause.scope == "document":
            return pause.uri
        if pause.scope == "language":
            if not language:
                raise ValueError(f"{pause.uri} is not open, so its language is not known")
            return language
        path = path_of(pause.uri)
        if path is None:
            raise ValueError(f"{pause.uri} lies in no folder")
        return innermost(path, self._held["folder"]) or innermost(path, folders) or path.parent.as_uri()

    def reason(self, uri: str, language: str) -> str:
        """Return why nothing is to be offered in this document, or ""."""
        if self.everything:
            return "paused"
        if language in self._held["language"]:
            return f"paused for {language}"
        if folder := innermost(path_of(uri), self._held["folder"]):
            return f"paused for {_words('folder', folder)}"
        return "paused for this document" if uri in self._held["document"] else ""

    def reasons(self) -> list[str]:
        """Return every pause, in words."""
        words = [f"paused for {_words(scope, what)}" for scope, held in self._held.items() for what in sorted(held)]
        return ["paused", *words] if self.everything else words


def _words(scope: Scope, what: str) -> str:
    if scope == "language":
        return what
    path = str(path_of(what) or what)
    return f"the folder {path}" if scope == "folder" else path


class Board:
    """Holds the last empty answer, and the status that the client was told last; `docs/protocol.md` has the fields."""

    def __init__(
        self,
        read: Callable[[], EngineStatus],
        disabled: Callable[[], bool],
        pauses: Pauses | None = None,
        requests: Requests | None = None,
        jobs: Callable[[], dict[str, int]] = dict,
    ) -> None:
        self._read = read
        self._disabled = disabled
        self._pauses = pauses or Pauses()
        self._requests = requests or Requests()
        self._jobs = jobs
        self._last_empty: dict[str, str] | None = None
        self._last_doubt = ""
        self._published: dict[str, Any] | None = None

    def answered(self, request: str, reason: str, doubt: str = "", *, aside: bool = False) -> None:
        """Note an answer: an empty one, if there is a reason; one that is shown only because the user asked, if a doubt.

        aside: it was asked for at a key that asks for a suggestion, too; why there is none of those is told first.
        """
        if reason and aside and (self._last_empty or {}).get("request") in _SUGGESTIONS:
            return
        self._last_doubt = doubt
        self._last_empty = {"request": request, "reason": reason} if reason else None

    def waiting_for(self) -> str:
        """Return why an answer is not there yet."""
        return _LOADING if self._read().state in ("starting", "loading") else _DENOISING

    def came_to(self, reason: str) -> bool:
        """Replace "still denoising" with the final reason; without one there is something to show.

        Return whether that was the reason of the last empty answer.
        """
        waited = self._last_empty is not None and self._last_empty["reason"] in (_LOADING, _DENOISING)
        if self._last_empty is not None and waited:
            self._last_empty = {**self._last_empty, "reason": reason} if reason else None
        return waited

    def typed_on(self) -> bool:
        """Forget why a command changed nothing: the text is another one. Suggestions are asked for anew with each text.

        Return whether there was such a reason.
        """
        return self._last_empty is not None and self._last_empty["request"] not in _BY_TYPING and self.moved_on()

    def moved_on(self) -> bool:
        """Forget the last reason: it is about a document that the user has left. Return whether there was one."""
        had, self._last_empty, self._last_doubt = self._last_empty, None, ""
        return had is not None

    def status(self) -> dict[str, Any]:
        """Return the fields of `palimpsest/status`."""
        engine = self._read()
        state: str = "starting" if engine.state == "closed" else engine.state
        reason = engine.reason
        if self._disabled():
            state, reason = "paused", "the setting palimpsest.enable is false"
        elif self._pauses.everything:
            state, reason = "paused", "paused"
        return {
            "state": state,
            "reason": reason,
            "model": engine.model,
            "device": engine.device,
            "lastEmpty": self._last_empty,
            "lastDoubt": self._last_doubt,
            "paused": self._pauses.reasons(),
            "counters": self._requests.counters() | self._jobs(),
        }

    @property
    def state(self) -> str:
        """Return the state in one word."""
        return str(self.status()["state"])

    @property
    def told_state(self) -> str:
        """Return the state that the client was told last; "" if none was."""
        return str((self._published or {}).get("state", ""))

    def news(self) -> dict[str, Any] | None:
        """Return the status if the client was told another one last, and take it for told. Counters are no news."""
        status = self.status()
        told = {name: value for name, value in status.items() if name != "counters"}
        if told == self._published:
            return None
        self._published = told
        return status
