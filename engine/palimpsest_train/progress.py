"""Report a run while it trains: losses, tokens/s, achieved FLOP/s, time left. Knows nothing of models."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

MEASURED = 60.0


def duration(seconds: float) -> str:
    """Write seconds for people."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{max(1, minutes)} min"


class Progress:
    """A bar on a terminal, plain lines elsewhere. Speeds leave out what compiling the first steps took."""

    def __init__(self, step: int, end: int, tokens: int, flops: float, console: Console | None = None) -> None:
        self.end, self.tokens, self.flops = end, tokens, flops
        self.console = console or Console(highlight=False, soft_wrap=True)
        self.laps = 0
        self.measured: tuple[int, float] | None = (0, 0.0)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self.bar = Bar(*columns, console=self.console) if self.console.is_terminal else None
        self.task = self.bar.add_task("", total=end, completed=step) if self.bar else None

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.bar:
            self.bar.stop()
        if kind is None:
            self.speed()

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.console.print(line, markup=False)

    def told(self, step: int, causal: float, diffusion: float, steps: int, seconds: float) -> None:
        """Show the mean losses of the last so many steps, which took so many seconds."""
        line = (
            f"causal {causal:.3f} diffusion {diffusion:.3f}  {steps * self.tokens / seconds:,.0f} tokens/s  "
            f"{steps * self.flops / seconds / 1e12:.3g} TFLOP/s  {duration((self.end - step) * seconds / steps)} left"
        )
        if self.bar and self.task is not None:
            self.bar.update(self.task, completed=step, description=line)
        else:
            self.say(f"step {step}/{self.end}  {line}")
        self.laps += 1
        if self.measured and self.laps > 1:
            self.measured = (self.measured[0] + steps, self.measured[1] + seconds)
            if self.measured[1] >= MEASURED:
                self.speed()

    def speed(self) -> None:
        """Print once, after a minute or at the end, the speed that was achieved."""
        if self.measured and self.measured[0]:
            steps, seconds = self.measured
            self.say(
                f"achieved over {steps} steps: {steps * self.flops / seconds / 1e12:.3g} TFLOP/s in matrix products, "
                f"{steps * self.tokens / seconds:,.0f} tokens/s, {seconds / steps:.3g} s a step"
            )
            self.measured = None
