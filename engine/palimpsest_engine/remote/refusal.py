"""Say in one sentence why a server could not be asked, or would not answer. Quotes nothing that was sent."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator

import httpcore

from palimpsest_engine.errors import EndpointError
from palimpsest_engine.remote.address import Address

_QUOTE = 12  # code points in a row, blanks left out, that a server's message may share with the code in the request
_SAID = 200  # code points of a server's message to show


class Refused(EndpointError):
    """The server answered with an error. status: of HTTP; 0 for one in the middle of an answer. said: its own words."""

    def __init__(self, sentence: str, status: int, said: str) -> None:
        super().__init__(sentence)
        self.status, self.said = status, said


class Unreachable(EndpointError):
    """No answer came, or not in time, or none in HTTP: asking for something else there is of no use."""


def refused(place: str, status: int, data: bytes, body: object, key: str) -> Refused:
    """Return the error for an answer that is one: it has the server's own words if they quote neither code nor the key."""
    said, sentence = _message(data), f"{place} {_REFUSALS.get(status) or _refusal(status)}"
    if status in (401, 403):
        sentence = f"{place} {'refuses the key' if key else 'wants a key: name it with keyEnv or keyFile'}"
    told = shown(said)
    if told and not (key and key in said) and not _quotes(said, body):
        sentence += f' ("{told}")'
    return Refused(f"{sentence}.", status, said)


_REFUSALS = {
    0: "failed in the middle of an answer",
    404: "has no such path or model (404)",
    429: "has too many requests at the moment (429)",
    501: "cannot do that with its model (501)",
    503: "is not ready (503)",
}


def _refusal(status: int) -> str:
    if 300 <= status < 400:
        return f"redirects to another address ({status}), which is not followed: set the final one"
    return f"failed ({status})" if status >= 500 else f"refuses the request ({status})"


def unreachable(address: Address, error: Exception, seconds: float) -> str:
    """Return a sentence about a connection that could not be opened."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return f"The host {address.host} of the endpoint has no address."
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"The certificate of {address.host} is not trusted: {cause.verify_message}."
        if isinstance(cause, ssl.SSLError):
            return f"{address.place} does not speak TLS: is the URL to begin with http://?"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore.ConnectTimeout):
        return f"{address.place} does not answer within {seconds:g} s."
    return f"Nothing answers at {address.place}: is the server running?"


def _message(data: bytes) -> str:
    """Return the sentence in a server's error, such as `{"error": {"message": "…"}}`, `{"error": "…"}`, `{"detail": "…"}`."""
    try:
        said = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return ""
    for _ in range(2):
        if isinstance(said, dict):
            said = next((said[name] for name in ("error", "message", "detail") if said.get(name)), "")
    return said if isinstance(said, str) else ""


def shown(text: str) -> str:
    """Return a text from outside as one short line."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text[: 2 * _SAID]).split())
    return line.rstrip(".") if len(line) <= _SAID else line[:_SAID].rstrip() + "…"


def _quotes(message: str, body: object) -> bool:
    """Return whether a message has a piece of the code in it that was sent."""
    message, sent = "".join(message.split()), "".join("\n".join(_texts(body)).split())
    return any(message[at : at + _QUOTE] in sent for at in range(max(1, len(message) - _QUOTE + 1)))


def _texts(body: object) -> Iterator[str]:
    """Yield every text of a request but the name of the model."""
    if isinstance(body, str):
        yield body
    elif isinstance(body, dict):
        for name, value in body.items():
            yield from () if name == "model" else _texts(value)
    elif isinstance(body, list | tuple):
        for value in body:
            yield from _texts(value)
