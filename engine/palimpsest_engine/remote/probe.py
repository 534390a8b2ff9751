"""Find out which protocol a server speaks, by asking what only one of them answers."""

from __future__ import annotations

from palimpsest_engine.engine import Endpoint
from palimpsest_engine.errors import EndpointError
from palimpsest_engine.remote.asking import Speaks
from palimpsest_engine.remote.llama_cpp import LlamaCpp
from palimpsest_engine.remote.ollama import Ollama
from palimpsest_engine.remote.openai import OpenAI
from palimpsest_engine.remote.refusal import Refused, Unreachable
from palimpsest_engine.remote.transport import Transport
from palimpsest_engine.remote.whole import Whole

# llama.cpp and Ollama speak OpenAI's protocol, too, so that is asked for last.
_PROTOCOLS: tuple[type[LlamaCpp] | type[Ollama] | type[OpenAI], ...] = (LlamaCpp, Ollama, OpenAI)
_PLAIN_WORDS = (401, 403, 429, 503)  # a server that answers so speaks the protocol


def reach(transport: Transport, endpoint: Endpoint) -> Speaks | Whole:
    """Return the way to speak with a server. Raises EndpointError with a sentence if there is none."""
    hint = transport.address.hint
    if hint != "auto":
        (speaks,) = (each for each in (*_PROTOCOLS, Whole) if each.name == hint)
        return speaks(transport, endpoint)
    told = ""
    for speaks in _PROTOCOLS:
        try:
            found = speaks(transport, endpoint)
            return Whole(transport, endpoint) if isinstance(found, LlamaCpp) and found.palimpsest else found
        except Unreachable:
            raise
        except Refused as refused:
            if refused.status in _PLAIN_WORDS:
                raise
            told = told or str(refused)
        except EndpointError as error:
            told = str(error)
    raise EndpointError(told)
