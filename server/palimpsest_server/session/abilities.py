"""Read what a client says of itself in `initializationOptions`, where the protocol has no capability for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Abilities:
    """Habits and skills of a client. explains: it shows the explanations that a command returns.

    only_automatic: it marks each of its requests for code actions as automatic, even if a user has asked.
    """

    explains: bool = False
    only_automatic: bool = False


def abilities_of(options: object) -> Abilities:
    """Return the abilities in the object `client`; whatever is not there, or no truth value, the client has not."""
    told = options.get("client") if isinstance(options, Mapping) else None
    if not isinstance(told, Mapping):
        return Abilities()
    return Abilities(told.get("explains") is True, told.get("onlyAutomatic") is True)
