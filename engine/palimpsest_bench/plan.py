"""The settings of a run of `palimpsest bench`, its deadlines, and the model that its parts share."""

from __future__ import annotations

import gc
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from palimpsest_bench.engine.random_models import Shape
from palimpsest_engine import EngineSettings

if TYPE_CHECKING:
    from palimpsest_bench.engine.subject import Subject

_SHARE = 0.4  # of the remaining time, the most that one long part may take


@dataclass
class Plan:
    """The settings of a measurement: the checkpoint, the document to type into, fewer samples (`quick`).

    shape: random weights of this shape replace the checkpoint. until: begin nothing later, by the monotonic clock.
    """

    settings: EngineSettings
    document: str
    quick: bool
    shape: Shape | None = None
    until: float = float("inf")

    @property
    def subject(self) -> Subject:
        """Return the model in this process, loaded once for all parts; imports torch. A failed load fails again at once."""
        if isinstance(self._opened, Exception):
            raise self._opened
        return self._opened

    @cached_property
    def _opened(self) -> Subject | Exception:
        from palimpsest_bench.engine.subject import open_subject

        try:
            return open_subject(self.settings, self.shape)
        except Exception as error:
            return error.with_traceback(None)  # a traceback would keep the half-loaded model alive

    def give_back(self) -> None:
        """Free the GPU memory that the previous part left behind."""
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            gc.collect()
            with suppress(RuntimeError):  # the GPU may be lost, which was reported already
                torch.cuda.empty_cache()

    @property
    def section(self) -> dict[str, Any]:
        """Return the settings that a client would send."""
        named = {
            "checkpoint": self.settings.checkpoint,
            "adapter": self.settings.adapter,
            "device": self.settings.device,
            "engine": "own",  # but for the part that compares: the whole cost is to be in one process
        }
        if self.settings.quantization != "none":
            named["quantization"] = self.settings.quantization
        return named

    def no_later_than(self, seconds: float, share: float = _SHARE) -> float:
        """Return a deadline: so many seconds from now, or earlier when a share of the remaining time is over."""
        now = time.monotonic()
        return now + min(seconds / 4 if self.quick else seconds, share * max(0.0, self.until - now))

    @property
    def lengths(self) -> list[int]:
        """Return the context lengths for `steps`: around the sliding window, within the model's positions."""
        text, window = self.subject.text, self.subject.text.sliding_window
        found = [window // 4, window] if self.quick else [window // 8, window // 2, window, 2 * window]
        return [each for each in found if each + self.subject.whole <= text.max_position_embeddings]
