"""Ask a server what has to change in a window after some changes, in the format that its model was taught.

A server does not say how likely the present text is, so the model itself has to leave alone what need not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from palimpsest_engine.errors import EndpointError
from palimpsest_engine.fill.following import ask_of, nothing, offered
from palimpsest_engine.prompt.edit_formats import FORMATS, Mark, plain_text
from palimpsest_engine.remote.asking import Ask, Cancelled, Speaks
from palimpsest_engine.remote.ending import clean
from palimpsest_engine.request import Draft, DraftPiece, Fill, FillRequest

_MORE = 96  # tokens that a window may grow by
_CHARACTERS = 2  # of a token of code, at least, on average
_TOKEN = 32  # code points that no token on average exceeds


class EditFill:
    """The answer to one request with changes."""

    def __init__(self, speaks: Speaks, request: FillRequest, cancelled: Cancelled) -> None:
        self.speaks, self.request, self.cancelled = speaks, request, cancelled

    def run(self) -> Iterator[Draft | Fill]:
        """Yield a draft for each piece that comes, then the `Fill`: the whole window, or nothing and the reason."""
        if not self.speaks.edits:
            yield nothing("The model of the endpoint was not taught to follow a change.")
            return
        format_, ask = FORMATS[self.speaks.edits], ask_of(self.request)
        prompt = format_.prompt(ask)
        marks = sorted({part for part in prompt if isinstance(part, Mark)} | {*format_.ends})
        sent = Ask(
            "",
            "",
            tokens=len(ask.window) // _CHARACTERS + _MORE,
            stops=format_.ends,
            seed=self.request.seed,
            prompt=clean(plain_text(prompt, marks)),
        )
        text, end, pieces = "", "", 0
        with closing(self.speaks.complete(sent, self.cancelled)) as written:
            for piece in written:
                text, end, pieces = text + piece.text, piece.end, pieces + 1
                if len(text) > _TOKEN * (sent.tokens + 64):
                    raise EndpointError(
                        f"The endpoint writes more than the {sent.tokens} tokens that it was asked for."
                    )
                yield Draft(pieces, ((DraftPiece(clean(text), True),),), 0.5, written=True)
        if end == "limit":
            yield replace(nothing("The answer of the endpoint did not come to its end."), nfe=pieces)
            return
        yield replace(offered(self.request, format_.window(ask, clean(text)), lambda places: True), nfe=pieces)
