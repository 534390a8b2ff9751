"""Check the values of a JSON file against a table of rules, once, when it is read. Knows no checkpoint.

A rule takes a value and returns it as the program uses it, or raises Unfit with what it has to be.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

Rule: TypeAlias = Callable[[Any], Any]

_LONGEST = 40  # characters of a value in a sentence


class Unfit(ValueError):
    """A value that cannot be, and what it has to be."""


def checked(values: Any, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Return the values of an object, each by its rule. Raises Unfit for the first one that does not fit, or has no rule."""
    if not isinstance(values, dict):
        raise Unfit(f"{shown(values)} has to be an object")
    if unknown := sorted(set(values) - set(rules)):
        raise Unfit(f"unknown keys: {', '.join(map(shown, unknown[:5]))}")
    found = {}
    for key, value in values.items():
        try:
            found[key] = rules[key](value)
        except Unfit as error:
            raise Unfit(f"{key}: {error}") from None
    return found


def shown(value: object) -> str:
    """Return a value for a sentence: on one line, in ASCII, and short."""
    try:
        said = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        said = f"a value of the type {type(value).__name__}"
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"


def whole(low: int, high: int) -> Rule:
    """Accept whole numbers from `low` to `high`."""

    def rule(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise Unfit(f"{shown(value)} has to be a whole number from {low:,} to {high:,}")
        return value

    return rule


def number(low: float, high: float) -> Rule:
    """Accept numbers from `low` to `high`."""

    def rule(value: Any) -> float:
        if type(value) not in (int, float) or not low <= value <= high or not math.isfinite(value):
            raise Unfit(f"{shown(value)} has to be a number from {low:,g} to {high:,g}")
        return cast(float, value)

    return rule


def flag(value: Any) -> bool:
    """Accept true and false."""
    if type(value) is not bool:
        raise Unfit(f"{shown(value)} has to be true or false")
    return value


def text(longest: int, pattern: str = r"[^\x00-\x1f\x7f-\x9f]*") -> Rule:
    """Accept strings of so many characters at most, without control characters, or of another pattern."""

    def rule(value: Any) -> str:
        if (
            not isinstance(value, str)
            or len(value) > longest
            or not value.isprintable()
            or not re.fullmatch(pattern, value)
        ):
            raise Unfit(f"{shown(value)} has to be a plain string of {longest:,} characters at most")
        return value

    return rule


def lines(longest: int) -> Rule:
    """Accept strings of so many characters at most that may have line ends, but no other control characters."""

    def rule(value: Any) -> str:
        if not isinstance(value, str) or len(value) > longest or not value.replace("\n", "").isprintable():
            raise Unfit(f"{shown(value)} has to be a text of {longest:,} characters at most")
        return value

    return rule


def one_of(*values: str) -> Rule:
    """Accept these strings."""

    def rule(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise Unfit(f"{shown(value)} has to be one of {', '.join(values)}")
        return value

    return rule


def optional(inner: Rule) -> Rule:
    """Accept null, too."""
    return lambda value: None if value is None else inner(value)


def each(inner: Rule, least: int, most: int) -> Rule:
    """Accept lists of so many values, each by the rule; they become tuples."""

    def rule(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or not least <= len(value) <= most:
            raise Unfit(f"{shown(value)} has to be a list of {least:,} to {most:,} values")
        return tuple(map(inner, value))

    return rule


def pair(first: Rule, second: Rule) -> Rule:
    """Accept lists of two values."""

    def rule(value: Any) -> tuple[Any, Any]:
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise Unfit(f"{shown(value)} has to be a list of two values")
        return first(value[0]), second(value[1])

    return rule


def table(key: Rule, inner: Rule, most: int) -> Rule:
    """Accept objects of so many entries at most."""

    def rule(value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict) or len(value) > most:
            raise Unfit(f"{shown(value)} has to be an object of {most:,} entries at most")
        return {key(name): inner(value[name]) for name in value}

    return rule
