"""`Engine`, the seam between the callers that want fills and the code that computes them; torch-free on import.

`LocalEngine` (in `runtime/local.py`) owns the model on one thread of this process; `RemoteEngine` (in `runtime/remote.py`)
asks a server over HTTP; `ScriptedEngine` (in `runtime/scripted.py`) answers from a table, for tests and for measuring
everything but the model. `runtime/open.py` opens one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, Protocol

from palimpsest_engine.request import Draft, Fill, FillRequest

Quantization = Literal["none", "int8", "fp8", "int4-fine", "int4", "int4-small"]
Profile = Literal["fast", "balanced", "thorough"]
EndpointProtocol = Literal["auto", "palimpsest", "llama.cpp", "openai", "ollama"]
EngineState = Literal["starting", "loading", "ready", "busy", "error", "closed"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server that writes middles over HTTP, in place of a checkpoint.

    url: http or https, with or without the path of its API. model: the name that the server knows it by; None for its only
    one. key_env, key_file: the environment variable, or the file with mode 0600, that holds the key. dialect: a name in
    `prompt.dialects`; None to tell it by the model's name.
    """

    url: str
    protocol: EndpointProtocol = "auto"
    model: str | None = None
    key_env: str | None = None
    key_file: str | None = None
    dialect: str | None = None


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings of an engine.

    checkpoint: the name of an installed model, a folder, a GGUF file, a Hugging Face id already in the local cache,
    "embedded", or None for the model that the user has chosen (without a choice the embedded one).
    adapter: a folder that `palimpsest tune` wrote for that checkpoint, or None.
    device: "auto", "cpu", "cuda", "cuda:N". dtype: "auto", "float32", "bfloat16". threads: CPU threads, None for auto.
    quantization: the format of the weights of a mixture's experts, or on a GPU of a left-to-right model's linear maps; "none"
    keeps the checkpoint's. "int4-small" keeps the experts in int4, and the mixture's other linear maps in int8.
    fallback: when the checkpoint runs out of memory or loses its device, go on with the embedded one on the CPU.
    Nothing is downloaded. endpoint: fill over HTTP instead, and load no checkpoint. edit: the name of the model that answers
    edits (`FillRequest.edit`), on this machine; None for the one that answers everything else. profile: whether a diffusion
    model is to take fewer or more denoising steps than usual; others do not change. shared: use the engine process of this
    user and machine, which may have the model already; not for an endpoint.
    """

    checkpoint: str | None = None
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int | None = None
    adapter: str | None = None
    quantization: Quantization = "none"
    fallback: bool = False
    endpoint: Endpoint | None = None
    edit: str | None = None
    profile: Profile = "balanced"
    shared: bool = False


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The engine's state, in words fit for a status bar; `exit_code` is set in state "error".

    languages: LSP language ids that the checkpoint was trained on; empty for all of them (or none loaded yet).
    sources: the kinds of context from elsewhere that were measured to help this checkpoint (`FillRequest.context`).
    elsewhere: the number of tokens of that context that it has room for.
    denoises: whether edits can keep a part of the text (`FillRequest.strength` below 1); True while nobody knows.
    writes: whether holes that keep nothing are written left to right. calibrated: whether fills say how sure they are.
    edits: whether it can say what follows from a change (`FillRequest.changes`).
    instructs: whether it can be told what to do with a text (`FillRequest.instruction`).
    edit_languages: those of the model for edits (`EngineSettings.edit`); None if it is the same model.
    """

    state: EngineState
    reason: str = ""
    model: str = ""
    device: str = ""
    exit_code: int = 0
    languages: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    elsewhere: int = 1024
    denoises: bool = True
    writes: bool = False
    calibrated: bool = False
    edits: bool = False
    instructs: bool = False
    edit_languages: tuple[str, ...] | None = None


@dataclass(slots=True)
class Job:
    """One request under way. `future` ends with a `Fill` or raises a `PalimpsestError` (`FillCancelled` included)."""

    request: FillRequest
    future: Future[Fill] = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """End the request before its next denoising step. Safe from any thread, any number of times."""
        self.cancelled.set()


class Engine(Protocol):
    """Fills holes. Every method is safe from any thread and returns at once."""

    def status(self) -> EngineStatus:
        """Return the state: loading, ready, busy, or in error and why."""
        ...

    def warm(self) -> None:
        """Begin loading the checkpoint, if that has not begun."""
        ...

    def submit(self, request: FillRequest, on_draft: Callable[[Draft], None] | None = None) -> Job:
        """Queue a request. `on_draft` runs on the engine's thread, once a denoising step."""
        ...

    def close(self) -> None:
        """Cancel everything and let the thread end."""
        ...
