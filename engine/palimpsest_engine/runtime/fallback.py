"""Choose the checkpoint that answers: the requested one, or the embedded one on the CPU while that cannot. On one thread.

Knows nothing of queues. If a fill runs out of memory, the embedded checkpoint answers it, if the user allows that, and the
next fill tries again; after the third shortage in a row, none does. A lost device does not come back in a process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from palimpsest_engine.checkpoint.locate import is_embedded
from palimpsest_engine.checkpoint.store import EMBEDDED_NAME
from palimpsest_engine.engine import EngineSettings, EngineStatus
from palimpsest_engine.errors import LanguageUnknown, OutOfMemory, PalimpsestError
from palimpsest_engine.model.device_errors import Outage, give_back_memory, outage
from palimpsest_engine.request import Draft, Fill, FillRequest, Span
from palimpsest_engine.runtime.caches import leave_a_deleted_folder, make_private_caches

if TYPE_CHECKING:
    from palimpsest_engine.fill.filler import Filler

log = logging.getLogger("palimpsest.engine")

SHORTAGES = 3  # in a row, after which the requested checkpoint is not tried any more
_REHEARSED = "palimpsest:rehearsal"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint ready to fill, and its status. place: the device alone."""

    filler: Filler
    status: EngineStatus
    place: str

    @classmethod
    def of(cls, settings: EngineSettings) -> Loaded:
        """Load the checkpoint of the settings. Raises what `checkpoint.load` raises, and what torch does."""
        from palimpsest_engine.checkpoint.load import load
        from palimpsest_engine.fill.filler import Filler

        checkpoint = load(settings)
        spec, device = checkpoint.spec, f"{checkpoint.device}, {checkpoint.number_format}"
        status = EngineStatus(
            "ready",
            "",
            checkpoint.name,
            device,
            languages=spec.languages,
            sources=spec.sources,
            elsewhere=spec.elsewhere,
            denoises=spec.denoises,
            calibrated=checkpoint.calibration is not None,
            writes=not spec.denoises or spec.fresh == "written",
            edits=bool(spec.edits),
            instructs=spec.instructs,
        )
        return cls(Filler(checkpoint), status, checkpoint.device)


class FallbackFiller:
    """Fills with the checkpoint of the settings, or with the embedded one in its place. `status` says which, and why."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.status = EngineStatus("loading", "The checkpoint is being loaded.")
        self._own: Loaded | None = None
        self._own_is_embedded = False
        self._embedded: Loaded | None = None
        self._failure: PalimpsestError | None = None  # why the requested checkpoint is not used any more
        self._shortages = 0

    def open(self) -> None:
        """Load the checkpoint, or the embedded one in its place. A failure goes into the status, and into every answer."""
        failure: PalimpsestError
        why: Outage | None = None
        try:
            make_private_caches()
            leave_a_deleted_folder()
            self._own_is_embedded = is_embedded(self.settings.checkpoint)
            self._own = Loaded.of(self.settings)
            self.status = self._own.status
            return
        except Exception as error:
            why = outage(error, "while the checkpoint was loaded", self.settings.device)
            if isinstance(error, PalimpsestError):
                failure = error
            elif why is None:
                log.exception("loading failed")
                failure = PalimpsestError(f"The engine could not start: {error}")
        self._give_up(failure if why is None else self._call_in(why))

    def fill(self, request: FillRequest, cancelled: Callable[[], bool]) -> Iterator[Draft | Fill]:
        """Fill as `Filler.fill` does, in the languages of the checkpoint unless the request insists.

        Raises `LanguageUnknown`; and `OutOfMemory`, `DeviceLost` or `DeviceUnsupported` if no other checkpoint may answer.
        """
        leave_a_deleted_folder()
        failure = self._failure
        if failure is None:
            assert self._own is not None
            if reason := objection(self._own, request):
                raise LanguageUnknown(reason)
            why = yield from filled(self._own, request, cancelled)
            if why is None:
                self._shortages, self.status = 0, self._own.status
                return
            failure = self._came_short(why)
        if self._embedded is None or objection(self._embedded, request):
            raise type(failure)(str(failure))  # an exception that is raised again and again grows
        why = yield from filled(self._embedded, request, cancelled)
        if why is not None:
            raise why

    def rehearse(self, cancelled: Callable[[], bool]) -> None:
        """Fill once unasked, so that the first request need not wait for kernels to be compiled, graphs to be recorded and a
        grammar to be loaded. Leaves nothing that another fill could see. Is cancelled as a fill is."""
        languages = self.status.languages
        language = "python" if not languages or "python" in languages else languages[0]
        request = replace(small_request(), document=_REHEARSED, language=language, max_steps=2)
        try:
            for _ in self.fill(request, cancelled):
                pass
        except PalimpsestError:
            pass  # a request came, or the status has the error
        except Exception:
            log.warning("a fill to warm up failed; the next one may, too", exc_info=True)
        finally:
            for each in (self._own, self._embedded):
                if each is not None:
                    each.filler.forget(_REHEARSED)

    def close(self) -> None:
        """Release the checkpoints: the next engine of this process may need the memory of the GPU."""
        on_gpu = self._own is not None and self._own.place != "cpu"
        self._own = self._embedded = None
        if on_gpu and self._failure is None:  # a lost GPU cannot give memory back
            give_back_memory()

    def _came_short(self, why: Outage) -> PalimpsestError:
        """Record that a fill ran out of memory or lost its device; return the error for requests that nothing can answer."""
        assert self._own is not None
        log.warning("%s", why)
        passing = isinstance(why, OutOfMemory)
        self._shortages += passing
        told = self._call_in(why)
        if not passing or (self._embedded is not None and self._shortages >= SHORTAGES):
            self._give_up(told)
        elif self._embedded is not None:
            reason = f"{told} The embedded checkpoint answered; the next fill tries again."
            self.status = replace(self._own.status, reason=reason)
        else:
            self.status = replace(self._own.status, reason=str(told))
        return told

    def _give_up(self, failure: PalimpsestError) -> None:
        """Stop using the requested checkpoint."""
        self._failure = failure
        if self._embedded is None:
            self.status = EngineStatus("error", str(failure), exit_code=failure.exit_code)
            return
        self.status = replace(self._embedded.status, reason=f"The embedded checkpoint answers. {failure}")
        if isinstance(failure, OutOfMemory):
            self._own = None  # frees its memory
            give_back_memory()

    def _call_in(self, why: Outage) -> PalimpsestError:
        """Load the embedded checkpoint, if it may answer and is not loaded; return the error for requests that neither can
        answer."""
        settings = self._stand_in()
        if self._embedded is not None or settings is None:
            return why
        embedded = self._own_is_embedded
        if not self.settings.fallback and not (embedded and self.settings.device == "auto"):
            return type(why)(f"{why} With fallback the embedded checkpoint would answer, on the CPU.")
        try:
            self._embedded = Loaded.of(settings)
        except Exception as error:
            return type(why)(f"{why} Nor can the embedded checkpoint answer: {error}")
        return why

    def _stand_in(self) -> EngineSettings | None:
        """Return settings for the embedded checkpoint on the CPU; None if that is what has failed."""
        own, embedded = self.settings, self._own_is_embedded
        if embedded and "cpu" in (own.device, self._own and self._own.place):
            return None
        adapter = own.adapter if embedded else None
        return replace(own, checkpoint=EMBEDDED_NAME, adapter=adapter, device="cpu", dtype="auto", quantization="none")


def filled(
    loaded: Loaded, request: FillRequest, cancelled: Callable[[], bool]
) -> Generator[Draft | Fill, None, Outage | None]:
    """Fill as `Filler.fill` does; return the outage that ended it, if one did. A shortage of memory empties the caches."""
    why = None
    try:
        yield from loaded.filler.fill(request, cancelled)
    except Exception as error:
        why = outage(error, "during a fill", loaded.place)
        if why is None:
            raise
    # Not in the handler: an exception keeps the frames that it came through, and all the tensors in them.
    if isinstance(why, OutOfMemory):
        loaded.filler.forget()
    return why


def small_request() -> FillRequest:
    """Return a request for the rest of one line of a small Python document."""
    before = "def area(width, height):\n    return "
    at = Span(len(before), len(before))
    return FillRequest(before + "\n\n\nprint(area(3, 4))\n", (at,), language="python", max_lines=1)


def objection(loaded: Loaded, request: FillRequest) -> str:
    """Return why a checkpoint is not asked about the language of a request, or ""."""
    from palimpsest_engine.syntax.language_ids import untrained

    if request.any_language:
        return ""
    told = loaded.status
    return untrained(told.model, told.languages, request.language, request.path)
