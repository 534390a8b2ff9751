"""`palimpsest tune`: fine-tune the checkpoint on a folder of code, on this machine, and say whether that helped."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from palimpsest_engine import EngineSettings
from palimpsest_engine.syntax.grammars import language_of, load
from palimpsest_server.cli import engines
from palimpsest_tune.repository import Repository

if TYPE_CHECKING:
    from palimpsest_tune.code import Code
    from palimpsest_tune.measure import Measured
    from palimpsest_tune.run import Result, Tuning


def _languages(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        load(language_of(None, name) or name)  # there is no code in a language that nobody knows
    return tuple(language_of(None, name) or name for name in value)


@click.command("tune", short_help="Fine-tune the checkpoint on your own code.")
@click.argument("path", metavar="FOLDER")
@click.option("--out", metavar="FOLDER", help="Where the adapter goes. [default: a folder of this user's data]")
@click.option(
    "--minutes",
    type=click.FloatRange(0, 10_000, min_open=True),
    default=5.0,
    show_default=True,
    help="How long to train.",
)
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Exactly so many steps instead: can be repeated.")
@click.option("--rank", type=click.IntRange(1, 512), default=16, show_default=True, help="Of the LoRA matrices.")
@click.option("--rows", type=click.IntRange(1, 1024), default=4, show_default=True, help="Training rows a step.")
@click.option(
    "--learning-rate", type=click.FloatRange(0, 1, min_open=True), default=2e-3, show_default=True, metavar="X"
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Which files are held out, the order, the noise.",
)
@click.option(
    "--lines",
    type=click.IntRange(0, 10_000),
    default=40,
    show_default=True,
    help="Held-out lines filled before and after.",
)
@click.option("--language", "languages", multiple=True, callback=_languages, metavar="ID", help="Only files in these.")
@click.option("--keep-anyway", is_flag=True, help="Write the adapter even if it did not help.")
@click.option("--threads", type=click.IntRange(1, 1024), metavar="N", help="CPU threads. [default: all]")
@engines.checkpoint_options
@click.pass_context
def command(
    ctx: click.Context,
    path: str,
    out: str | None,
    minutes: float,
    steps: int | None,
    rank: int,
    rows: int,
    learning_rate: float,
    seed: int,
    lines: int,
    languages: tuple[str, ...],
    keep_anyway: bool,
    threads: int | None,
    checkpoint: str | None,
    device: str,
) -> None:
    """Fine-tune the checkpoint on the code in FOLDER: an adapter, for the setting `adapter`.

    A tenth of the files is held out. The adapter is written only if the loss on those fell; if not, the exit code is 1.
    Ctrl-C ends the training early; what there is then is measured and written all the same.
    """
    from palimpsest_tune.lora import check_installed

    check_installed()
    from palimpsest_engine.checkpoint import load as checkpoints
    from palimpsest_tune import run
    from palimpsest_tune.code import Source, prepared

    target = Path(out) if out is not None else default_out(path)
    run.check_out(target)
    recipe = run.Recipe(minutes, steps, rows, rank, learning_rate, seed, lines)
    loaded = checkpoints.load(EngineSettings(checkpoint, device, threads=threads), trainable=True)
    repository = Repository(path, languages or loaded.spec.languages)
    texts = (Source(text, language) for text, language in repository.read(seed))
    code = prepared(texts, loaded.tokenizer, seed, path)
    _say_what(code, repository.left_out, loaded.name, loaded.device)
    _use_threads(loaded.device, threads)
    tuning = run.Tuning(loaded, code, recipe)
    with run.room_beside(target) as folder:
        before = tuning.measure()
        click.echo(f"before: {_figures(before)}")
        with interruptible() as stopped:
            _train(tuning, folder, stopped)
        if not tuning.step:
            raise KeyboardInterrupt
        result = tuning.finish(folder, before)
        click.echo(f"after:  {_figures(result.after)}")
        click.echo(verdict(result, tuning))
        if result.helped or keep_anyway:
            run.put(folder, target)
            click.echo(f"written to {target}; use it with `--adapter`, or with the setting `adapter` in your editor")
            return
    click.echo("nothing is written; --keep-anyway would", err=True)
    ctx.exit(1)


def default_out(path: str) -> Path:
    """Return a folder in the user's data, named after the code's folder: nothing is put among the code unasked."""
    real = os.path.realpath(path)
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        data = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        data = os.path.join(home, "Library", "Application Support")
    else:
        data = os.environ.get("XDG_DATA_HOME", "")
        data = data if os.path.isabs(data) else os.path.join(home, ".local", "share")
    name = re.sub(r"[^\w.-]+", "-", os.path.basename(real)).strip(".-") or "code"
    which = hashlib.sha256(real.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return Path(data, "palimpsest", "adapters", f"{name}-{which}")


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets; the second interrupts as ever."""
    stopped = threading.Event()

    def stop(number: int, frame: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)


def _use_threads(device: str, threads: int | None) -> None:
    """Let training use all cores, from which a fill would gain nothing; respect the settings of the user's environment."""
    import torch

    if device == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        said = os.environ.get("OMP_NUM_THREADS", "")
        torch.set_num_threads(threads or (int(said) if said.isdecimal() and int(said) else cores))


def _train(tuning: Tuning, folder: Path, stopped: threading.Event) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    causal = diffusion = float("nan")
    with Progress(*columns, console=Console(stderr=True)) as progress, closing(tuning.train(folder)) as steps:
        bar = progress.add_task("tuning", total=1.0, said="")
        for at in steps:
            # Single steps say little: a running mean.
            causal = at.causal if at.step == 1 else 0.95 * causal + 0.05 * at.causal
            diffusion = at.diffusion if at.step == 1 else 0.95 * diffusion + 0.05 * at.diffusion
            said = f"step {at.step}, losses: causal {causal:.3f}, diffusion {diffusion:.3f}"
            progress.update(bar, completed=at.share, said=said)
            if stopped.is_set():
                break
    if stopped.is_set():
        click.echo("stopped; measuring what there is (once more Ctrl-C: give up)", err=True)


def _say_what(code: Code, left_out: Counter[str], model: str, device: str) -> None:
    train, held_out = code.train, code.held_out
    click.echo(
        f"{model} on {device}: tuning on {len(train.sources)} files ({len(train.tokens):,} tokens), "
        f"{len(held_out.sources)} held out ({len(held_out.tokens):,} tokens)"
    )
    if reasons := (left_out + code.left_out).most_common():
        click.echo("left out: " + "; ".join(f"{count}, as {reason}" for reason, count in reasons))


def _figures(measured: Measured) -> str:
    said = f"held-out loss {measured.causal:.3f} causal, {measured.diffusion:.3f} diffusion (nats a token)"
    return said + (f"; {measured.exact} of {measured.lines} held-out lines exact" if measured.lines else "")


def verdict(result: Result, tuning: Tuning) -> str:
    """Say whether the adapter helped, in a sentence."""
    fell, error = result.fell
    took = f"{tuning.step} steps in {tuning.seconds / 60:.1f} minutes"
    if result.helped:
        return f"it helped: both losses together fell by {fell:.3f} ± {error:.3f} ({took})"
    how = "rose" if fell < -2 * error else "did not fall by more than chance explains"
    return f"it did not help: on the files held out, both losses together {how} ({-fell:+.3f} ± {error:.3f}, {took})"
