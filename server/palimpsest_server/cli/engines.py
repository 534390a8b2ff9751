"""Opens the engine of a command and waits for its answers; knows nothing of files or terminals."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast, get_args

import click

from palimpsest_engine import Draft, Endpoint, Engine, EngineSettings, Fill, FillRequest
from palimpsest_engine.engine import Profile, Quantization

EngineFactory = Callable[[EngineSettings], Engine]

_MOMENT_SECONDS = 1.0
_SETTINGS = ("quantization", "profile", "adapter", "endpoint", "fallback")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _device(ctx: click.Context, param: click.Parameter, value: str) -> str:
    from palimpsest_server.settings import KEYS

    if not KEYS["device"].accepts(value):
        raise click.BadParameter(f"expected {KEYS['device'].expected}, not {value!r}")
    return value


model_option = click.option(
    "--model",
    "--checkpoint",  # its older name, which scripts may have
    "checkpoint",
    metavar="NAME",
    help="An installed model, a folder or a GGUF file. [default: the chosen one, see `palimpsest models`]",
)


def engine_options(command: _Command) -> _Command:
    """Add the options of commands that open an engine: `model`, `device` and `quantization`."""
    return checkpoint_options(
        click.option(
            "--quantization",
            type=click.Choice(get_args(Quantization)),
            default="none",
            show_default=True,
            help="Number format of a mixture's experts, or of weights on a GPU.",
        )(command)
    )


def checkpoint_options(command: _Command) -> _Command:
    """Add the options of commands that load a checkpoint unchanged: `model` and `device`."""
    command = click.option(
        "--device", default="auto", show_default=True, callback=_device, help="auto, cpu, cuda or cuda:N."
    )(command)
    return model_option(command)


profile_option = click.option(
    "--profile",
    type=click.Choice(get_args(Profile)),
    default="balanced",
    show_default=True,
    help="Fewer or more denoising steps; nothing else changes.",
)

adapter_option = click.option(
    "--adapter", metavar="FOLDER", help="Adapter that `palimpsest tune` wrote for the checkpoint. [default: none]"
)


def endpoint_of(ctx: click.Context, param: click.Parameter, value: str | None) -> Endpoint | None:
    """Read the option `--endpoint`: a URL, or an object of its keys as JSON."""
    from palimpsest_server.settings import KEYS

    if value is None:
        return None
    try:
        endpoint = KEYS["endpoint"].read(json.loads(value) if value.startswith("{") else value)
    except ValueError:
        endpoint = None
    if not isinstance(endpoint, Endpoint):
        raise click.BadParameter(f"expected {KEYS['endpoint'].expected}, not {value!r}")
    return endpoint


endpoint_option = click.option(
    "--endpoint",
    callback=endpoint_of,
    metavar="URL",
    help="Ask this model server instead of a checkpoint: a URL, or the setting endpoint as JSON.",
)


fallback_option = click.option(
    "--fallback", is_flag=True, help="Answer with the embedded checkpoint if memory or the device fails."
)


def settings_options(*more: Callable[[Any], Any], shared: bool = False) -> Callable[[_Command], _Command]:
    """Add the options that say which engine answers, and pass the command their `settings: EngineSettings` instead of them.

    more: `endpoint_option` and `fallback_option`, for commands that have them. shared: clients of one engine take turns.
    """

    def decorate(command: _Command) -> _Command:
        @wraps(command)
        def gathered(*args: Any, checkpoint: str | None, device: str, **given: Any) -> Any:
            own = {key: given.pop(key) for key in _SETTINGS if key in given}
            return command(*args, settings=EngineSettings(checkpoint, device, shared=shared, **own), **given)

        decorated: Any = gathered
        for option in (*reversed(more), adapter_option, profile_option, engine_options):
            decorated = option(decorated)
        return cast(_Command, decorated)

    return decorate


def _sizes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    parts = value.split(",")
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= 4096 for part in parts):
        raise click.BadParameter(f"expected whole numbers from 1 to 4096, such as 8,16,32, not {value!r}")
    return tuple(dict.fromkeys(int(part) for part in parts))


seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Same seed, same fill."
)
steps_option = click.option(
    "--steps", type=click.IntRange(1, 10_000), metavar="N", help="The most denoising steps of a canvas."
)
strength_option = click.option(
    "--strength",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="1 rewrites from noise; below 1, about 1 - STRENGTH of the present tokens are kept.",
)
sizes_option = click.option(
    "--sizes",
    callback=_sizes,
    metavar="N,N,..",
    help="Hole sizes to try, in tokens. [default: the checkpoint's choice]",
)


@contextmanager
def opened(factory: EngineFactory, settings: EngineSettings) -> Iterator[Engine]:
    """Open an engine, and close it after the block in any case; its thread gets a moment to end."""
    before = set(threading.enumerate())
    engine = factory(settings)
    try:
        yield engine
    finally:
        engine.close()
        # A process aborts if it ends while a thread is in native code, for example freeing a model.
        for thread in set(threading.enumerate()) - before:
            thread.join(_MOMENT_SECONDS)


def ask(engine: Engine, request: FillRequest, on_draft: Callable[[Draft], None] | None = None) -> Fill:
    """Ask the engine and wait. Raises the engine's errors. An interrupt stops the sampler."""
    job = engine.submit(request, on_draft)
    try:
        return job.future.result()
    finally:
        job.cancel()
