"""Check everything that a fill needs, one thing after the other, each with advice.

Imports torch inside functions only, and uses the engine through its seam alone.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from palimpsest_engine.engine import Endpoint, Engine, EngineSettings, Quantization
from palimpsest_engine.errors import EndpointError, GrammarMissing, PalimpsestError
from palimpsest_engine.runtime.fallback import small_request
from palimpsest_engine.syntax.grammars import languages, load

_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "pygls", "tree-sitter")
_GIB = 2**30
_TIGHT = _GIB  # with less free main memory the embedded checkpoint makes the machine swap
_SLOW_MS = 5000
_EMBEDDED = (
    "the embedded model (5.9 M parameters), which knows only Python and fills 11 % of single lines"  # HumanEval's
)
_SMALLER = (
    "if there is one, look at its driver; if there is none, install again with PyTorch for CPUs, which does the same and "
    "takes gigabytes less: docs/install.md#without-an-nvidia-gpu"
)


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. found: the state. advice: the remedy; empty when all is well."""

    name: str
    status: Literal["ok", "warning", "error"]
    found: str
    advice: str = ""


def examine(engine: Engine, settings: EngineSettings) -> Iterator[Check]:
    """Yield every check, as soon as it is made. settings: those of the engine. Raises no error that a user can cause."""
    yield check_python()
    yield from check_packages()
    yield check_memory()
    yield check_engine(settings)
    if settings.endpoint is not None:
        yield check_grammars()
        endpoint = check_endpoint(engine, settings.endpoint)
        yield endpoint
        if endpoint.status != "error":
            yield check_fill(engine)
        return
    yield check_device(settings.device)
    yield check_grammars()
    yield from check_model(settings)
    yield from check_room(settings)
    checkpoint = check_checkpoint(engine)
    yield checkpoint
    if checkpoint.status != "error":
        yield check_fill(engine)


def check_python() -> Check:
    """Check that the package supports this Python."""
    found = f"{platform.python_version()} ({sys.executable})"
    if (3, 11) <= sys.version_info < (3, 14):
        return Check("python", "ok", found)
    return Check("python", "error", found, "install it with Python 3.11, 3.12 or 3.13")


def check_packages() -> Iterator[Check]:
    """Check the packages that do the work: one line for all, and one for each that is missing."""
    versions = []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "error", "not installed", f"install palimpsest-ls again, it brings {name} along")
    yield Check("packages", "ok", ", ".join(versions))


def check_memory() -> Check:
    """Check free main memory."""
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB free"
    if memory.available >= _TIGHT:
        return Check("memory", "ok", found)
    return Check("memory", "warning", found, "close something: fills are slow when the machine swaps")


def check_device(device: str) -> Check:
    """Check the device of the model, and its free memory."""
    try:
        import torch
    except (ImportError, OSError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Check("device", "error", f"torch cannot be imported: {why}", "install palimpsest-ls again")
    cuda = torch.cuda.is_available()
    if device.startswith("cuda") and not cuda:
        return Check("device", "error", f"{device} was asked for; torch sees no GPU", "use --device cpu")
    if device == "cpu" or not cuda:
        # Not torch's count of threads: a small model takes fewer (`checkpoint.cpu_threads`).
        found = f"cpu, {_cores()} to use"
        if torch.version.cuda is None or cuda:
            return Check("device", "ok", found)
        found += f"; torch {torch.__version__} is built for CUDA {torch.version.cuda} and sees no NVIDIA GPU"
        return Check("device", "warning", found, _SMALLER)
    try:
        free, total = torch.cuda.mem_get_info(None if device == "auto" else device)
        name = torch.cuda.get_device_name(None if device == "auto" else device)
    except (RuntimeError, ValueError, AssertionError) as error:
        return Check("device", "error", f"{device}: {str(error).splitlines()[0]}", "use --device auto")
    return Check("device", "ok", f"{name}, {free / _GIB:.1f} of {total / _GIB:.1f} GiB free")


def _cores() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return "1 core" if cores == 1 else f"{cores} cores"


def check_grammars() -> Check:
    """Check that every grammar can be loaded."""
    missing = []
    for name in languages():
        try:
            load(name)
        except GrammarMissing:
            missing.append(name)
    if not missing:
        return Check("grammars", "ok", f"{len(languages())} languages")
    advice = "fills in these languages are not checked; install palimpsest-ls again"
    return Check("grammars", "error", f"cannot load {', '.join(missing)}", advice)


def check_model(settings: EngineSettings) -> Iterator[Check]:
    """Check, where no model was chosen, whether a better one than the embedded one could be. Asks no network."""
    from palimpsest_engine.checkpoint import catalogue, store
    from palimpsest_engine.checkpoint.machine import recommend, this_machine

    try:
        if settings.checkpoint is not None or settings.adapter is not None or store.chosen() is not None:
            return
    except PalimpsestError:
        return  # the checkpoint has a check of its own
    found = _EMBEDDED
    better = catalogue.entry(recommend(this_machine(), catalogue.entries()).name or "")
    if better is None:
        yield Check("model", "ok", f"{found}; no larger one of the catalogue fits the free memory")
    elif (store.root() / store.CHOSEN).exists():
        yield Check("model", "ok", f"{found}; you have chosen it")
    else:
        fills = f", which fills {better.quality}" if better.quality != catalogue.NOT_MEASURED else ""
        size = catalogue.size_text(better.size)
        advice = f"`palimpsest models pull --recommended --use` fetches {better.name} ({size}){fills}"
        if store.find(better.name):
            advice = f"`palimpsest models use {better.name}` chooses a larger one that is here already{fills}"
        yield Check("model", "warning", found, advice)


def check_room(settings: EngineSettings) -> Iterator[Check]:
    """Check, for a checkpoint with a mixture of experts, the memory that each format takes, and which of them fit."""
    from palimpsest_engine.checkpoint import kept
    from palimpsest_engine.checkpoint.loaded import choose
    from palimpsest_engine.checkpoint.locate import locate
    from palimpsest_engine.checkpoint.memory import gib, needed, that_fit
    from palimpsest_engine.checkpoint.source import mixture

    try:
        device, dtype = choose(settings)
        if (chosen := mixture(settings, device, dtype)) is None:
            return
        shapes, fill = chosen
        fitting = that_fit(shapes, device, dtype, fill)
    except (PalimpsestError, ImportError, OSError, RuntimeError):
        return  # the device and the checkpoint have checks of their own
    takes = ", ".join(f"{each} {gib(needed(shapes, dtype, each, fill))}" for each in get_args(Quantization))
    found = (
        f"the checkpoint takes, by quantization: {takes}; on {device} {', '.join(fitting) or 'none of them'} would fit"
    )
    if copies := kept.copies(locate(settings.checkpoint)):
        found += "".join(f"; a copy in {kind} of {gib(size)} is kept in {place}" for kind, place, size in copies)
    if settings.quantization in fitting:
        yield Check("room", "ok", found)
    elif fitting:
        yield Check("room", "error", found, f"use --quantization {next(iter(fitting))}")
    else:
        yield Check("room", "error", found, "close something, choose another device, or use the embedded checkpoint")


def check_checkpoint(engine: Engine) -> Check:
    """Check that the checkpoint can be loaded."""
    begun = time.perf_counter()
    engine.warm()
    while (status := engine.status()).state in ("starting", "loading"):
        time.sleep(0.02)
    if status.state == "error":
        return Check("checkpoint", "error", status.reason, "choose another with --model, or install it again")
    found = f"{status.model} on {status.device}, loaded in {time.perf_counter() - begun:.1f} s"
    if status.state == "ready" and status.reason:  # another one stands in for it
        return Check("checkpoint", "warning", f"{found}. {status.reason}", "choose another with --model or --device")
    return Check("checkpoint", "ok", found)


def check_engine(settings: EngineSettings) -> Check:
    """Say where fills are made for these settings: in a process of this machine, or at an endpoint, and what goes there."""
    if settings.endpoint is not None:
        return _elsewhere(settings.endpoint)
    if os.environ.get("PALIMPSEST_ENGINE") == "own":
        return Check(
            "engine", "ok", "each server has a model of its own (PALIMPSEST_ENGINE=own); code stays on this machine"
        )
    from palimpsest_engine.shared import starting
    from palimpsest_engine.shared.address import CannotShare, place

    try:
        found = asyncio.run(starting.report(place()))
    except CannotShare as error:
        advice = "until then each editor window loads a model of its own"
        return Check("engine", "warning", str(error), advice)
    now = "none runs now" if found is None else f"it is process {found.pid}, version {found.version}"
    return Check("engine", "ok", f"all editor windows share one process ({now}); code stays on this machine")


def _elsewhere(endpoint: Endpoint) -> Check:
    """Say which machine an endpoint is on, whether the way there is encrypted, and what is sent."""
    from palimpsest_engine.remote import whole
    from palimpsest_engine.remote.address import address_of
    from palimpsest_engine.remote.hole import AFTER, BEFORE, ELSEWHERE

    try:
        address = address_of(endpoint)
    except EndpointError as error:
        return Check("engine", "error", str(error), "correct --endpoint or the setting endpoint")
    machine = "this machine (loopback)" if address.loopback else "another machine"
    way = "encrypted (TLS)" if address.tls else "not encrypted"
    sent = (
        f"it gets up to {BEFORE:,} characters before the hole, {AFTER:,} after it, and {ELSEWHERE:,} of other files if "
        f"contextSources names some; if it is another Palimpsest, {whole.BEFORE:,} and {whole.AFTER:,}"
    )
    found = f"an endpoint, {address.place}, on {machine}, {way}; {sent}"
    if address.loopback or address.tls:
        return Check("engine", "ok", found)
    return Check("engine", "warning", found, "use https://, or a tunnel: everybody on the way can read the code")


def check_endpoint(engine: Engine, endpoint: Endpoint) -> Check:
    """Check that a server of middles can be reached, and say what it is, how far away, and where code goes."""
    from palimpsest_engine.remote.address import address_of

    begun = time.perf_counter()
    engine.warm()
    # Another Palimpsest may be loading still. It is reached once its place is known, and nobody here hears when it is ready.
    while (status := engine.status()).state in ("starting", "loading") and not status.device:
        time.sleep(0.002)
    if status.state == "error":
        return Check(
            "endpoint", "error", status.reason, "start the server, or correct --endpoint or the setting endpoint"
        )
    key = "with a key" if endpoint.key_env or endpoint.key_file else "without a key"
    model = status.model or "a model that it is loading"
    found = f"{model} on {status.device}, asked {key} and reached in {(time.perf_counter() - begun) * 1000:.0f} ms"
    told = address_of(endpoint).warning if status.state == "loading" else status.reason or address_of(endpoint).warning
    if not told:
        return Check("endpoint", "ok", f"{found}; code stays on this machine")
    return Check("endpoint", "warning", f"{found}. {told}", "see docs/endpoints.md")


def check_fill(engine: Engine) -> Check:
    """Check one small fill and its time; its text is not judged."""
    job = engine.submit(small_request())
    try:
        fill = job.future.result()
    except PalimpsestError as error:
        advice = (
            "see docs/endpoints.md"
            if isinstance(error, EndpointError)
            else "try --device cpu, and the embedded checkpoint"
        )
        return Check("fill", "error", str(error), advice)
    finally:
        job.cancel()
    text = repr(fill.texts[0]) if not fill.empty else f"nothing offered ({fill.reason})"
    found = f"{fill.ms:.0f} ms, {fill.nfe} decoder passes: {text}"
    if fill.ms > _SLOW_MS:
        return Check("fill", "warning", found, "this is slow: is something else using the processor?")
    return Check("fill", "ok", found)
