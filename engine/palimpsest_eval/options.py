"""The options that the evaluations of `palimpsest eval` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palimpsest_engine import Endpoint, EngineSettings
from palimpsest_engine.engine import Profile, Quantization
from palimpsest_engine.errors import DocumentMissing
from palimpsest_server.cli import engines

if TYPE_CHECKING:
    from palimpsest_engine.checkpoint.load import Checkpoint

SYSTEMS = ("chosen", "denoised", "both", "oracle", "fixed", "left-to-right", "left-to-right-ungated")
_PATH = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class Options:
    """The options that all evaluations share."""

    out: Path
    seed: int
    checkpoint: str | None
    adapter: str | None
    device: str
    threads: int | None
    quantization: Quantization
    profile: Profile
    endpoint: Endpoint | None = None

    def load(self) -> Checkpoint:
        """Load the checkpoint that these options name."""
        from palimpsest_engine.checkpoint.load import load

        return load(
            EngineSettings(
                self.checkpoint,
                self.device,
                threads=self.threads,
                adapter=self.adapter,
                quantization=self.quantization,
                profile=self.profile,
            )
        )


def common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `Options` to a command, and pass them as its first argument."""

    @wraps(command)
    def gathered(
        *,
        out: Path,
        seed: int,
        checkpoint: str | None,
        adapter: str | None,
        device: str,
        threads: int | None,
        quantization: Quantization,
        profile: Profile,
        endpoint: Endpoint | None,
        **own: Any,
    ) -> None:
        if not out.parent.is_dir():
            raise DocumentMissing(f"there is no folder {out.parent}")
        command(Options(out, seed, checkpoint, adapter, device, threads, quantization, profile, endpoint), **own)

    decorated: Callable[..., None] = gathered
    for option in (
        click.option(
            "--endpoint",
            callback=engines.endpoint_of,
            metavar="URL",
            help="Also ask this model server, as one more system.",
        ),
        engines.profile_option,
        engines.adapter_option,
        engines.engine_options,
        click.option(
            "--threads", type=click.IntRange(1), metavar="N", help="CPU threads. [default: the engine's choice]"
        ),
        click.option("--seed", type=click.IntRange(0, 2**16), default=0, show_default=True, help="Seed of the noise."),
        click.option("--out", required=True, type=_PATH, metavar="RESULTS.json", help="File for the results."),
    ):
        decorated = option(decorated)
    return decorated


def systems_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose the systems under test."""
    return click.option(
        "--system",
        "choices",
        multiple=True,
        type=click.Choice(SYSTEMS),
        help="System to test; may be given several times. [default: chosen]",
    )(command)
