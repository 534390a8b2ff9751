"""Ask the model what has to change, where syntax decides nothing. Fills that a client waits for come first."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from palimpsest_engine import FollowUps, NextEdit, NextEditQuestion, PalimpsestError, edits_of, window_request
from palimpsest_server.session.session import Session


async def expected(session: Session, question: NextEditQuestion, found: FollowUps) -> tuple[tuple[NextEdit, ...], str]:
    """Return the edits that the model expects, and why there are none; neither, if it is not to be asked.

    found: the places that syntax has found; the first of them, or else the cursor, is looked at.
    """
    engine, told = session.engine.opened, session.engine.status()
    if engine is None or not told.edits or told.state not in ("ready", "busy"):
        return (), ""
    place = found.places[0] if found.places else None
    request = window_request(question, place)
    if request is None:
        return (), ""
    # Under a name of its own: it must not end a fill of the document.
    named = replace(request, document=f"{request.document}\0next edit", seed=session.settings.seed, speculative=True)
    job = engine.submit(named)
    try:
        fill = await asyncio.wait_for(asyncio.wrap_future(job.future), session.settings.deadline_ms / 1000)
    except TimeoutError:
        return (), "the model took too long"
    except PalimpsestError as error:
        return (), str(error)
    finally:
        job.cancel()
    return edits_of(question, request, fill, place), fill.reason
