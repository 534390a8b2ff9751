"""Trim a fill to the part that people accept at its place in a text: small rules on strings; no grammar, model or editor.

Each rule gets a fill and its place, and removes something from the fill or changes its indentation; none adds text of its
own. A rule in doubt leaves the fill unchanged: the syntax gate judges code, this module only manners. The rules stay in one
file, long as it is, because they run in this order and are read against each other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

from palimpsest_engine.fill import brackets
from palimpsest_engine.fill.angles import parts_a_tag, without_a_doubled_tag, without_doubled_angles
from palimpsest_engine.fill.manners import (
    inside_the_field,
    not_over_and_over,
    other_than_the_lines_beside,
    without_licences,
)
from palimpsest_engine.fill.place import (
    Place,
    is_word,
    lead_of,
    letters,
    line_key,
    lines_of,
    lines_of_code,
    not_blank,
    plain,
    squeezed,
    unit_of,
    width,
)

_WINDOW = 16_384  # code points of the text to look at on either side
_ROUNDS = 8  # a cut may uncover something else to cut; real fills take two rounds

_OPENS = re.compile(r"(?:[:{(\[]|=>|->|\b(?:then|do|begin|else))$")
_OPENS_A_BLOCK = re.compile(
    r"(?:async\s+)?(?:if|elif|else|for|while|def|class|with|try|except|finally|match|case)\b.*:$"
    r"|(?:if|elif|for|while|until)\b[^#]*\b(?:then|do)$"
    r"|\w.*\{$"
)
_GOES_ON = re.compile(
    r"[)\]}]|(?:else|elif|elsif|elseif|except|finally|catch|case|default|when|rescue|ensure|end|fi|done|esac|until)\b"
)
_AT_THE_MARGIN = re.compile(
    r"#\s*(?:if|ifdef|ifndef|else|elif|endif|define|undef|include|pragma|error|line)\b"
    r"|(?:public|private|protected)\s*:|[A-Za-z_]\w*:(?:\s|$)"
)
_BLANK_LINES = re.compile(r"\A(?:[ \t]*\n)+")


@lru_cache(maxsize=64)  # a candidate is tidied several times on its way
def tidy(text: str, offset: int, end: int, fill: str, *, multiline: bool) -> str:
    """Return the part of `fill` to write over `[offset, end)` of `text`; may be "".

    offset, end: code points; equal for an insertion at a cursor. fill: any line ends. multiline: allow more than one line,
    if the place does. The result has `\\n` only; the caller gives it the text's line ends. It has no more lines than the
    fill, except for white space at the ends of a hole (`offset < end`), which stays. Tidying twice changes nothing more.
    """
    hole = plain(text[offset:end])
    head, body, tail = _margins(hole, text[end : end + 1])
    before, after = text[max(0, offset - _WINDOW) : offset], text[end : end + _WINDOW]
    place = Place(plain(before) + head, body, tail + plain(after), multiline)
    fill = plain(fill)
    fill = fill[len(head) :] if head and fill.startswith(head) else fill
    for _ in range(_ROUNDS):
        tidied = fill
        for rule in RULES:
            tidied = rule(tidied, place)
        if tidied == fill:
            break
        fill = tidied
    return head + tidied + tail if tidied else ""


def _margins(hole: str, following: str) -> tuple[str, str, str]:
    """Split a hole into its white space at both ends, which the model may not change, and the text between."""
    core = hole.strip()
    if core:
        at = hole.index(core)
        tail = hole[at + len(core) :]
        return hole[:at], core, tail if "\n" in tail or following not in ("", "\n", "\r") else ""
    first, newline, more = hole.partition("\n")
    return (first, "", newline + more) if newline else ("", hole, "")


# The rules


def without_trailing_blanks(fill: str, place: Place) -> str:
    """Remove blanks at line ends and blank lines at the end; white space alone becomes nothing."""
    if not fill.strip():
        return ""
    above, newline, last = fill.rpartition("\n")
    above = "\n".join(line.rstrip() for line in above.split("\n"))
    if not last.strip():
        above = above.rstrip()
    if place.rest.strip():  # the last line goes on
        return above + newline + (last.rstrip() if place.rest[0].isspace() else last)
    return (above + newline + last).rstrip()


def outside_of_words(fill: str, place: Place) -> str:
    """Insert nothing in the middle of a word. The engine itself finishes a word begun before the cursor."""
    inside = not place.hole and is_word(place.before[-1:]) and is_word(place.after[:1])
    return "" if inside else fill


def in_the_texts_indentation(fill: str, place: Place) -> str:
    """Indent with tabs or spaces as the lines around do."""
    unit = unit_of(place)
    first, *more = fill.split("\n")
    lines = more if place.prefix else [first, *more]  # behind anything else, blanks are no indentation
    leads = [lead_of(line) for line in lines]
    if unit == "\t":
        widths = [len(lead) for lead in leads if lead]
        if any("\t" in lead for lead in leads) or not widths:
            return fill
        columns = next((each for each in (4, 2) if all(wide % each == 0 for wide in widths)), 0)
        if not columns:
            return fill  # aligned with something, not indented
        lines = ["\t" * (len(lead) // columns) + line[len(lead) :] for lead, line in zip(leads, lines, strict=True)]
    elif unit:
        lines = [lead.replace("\t", unit) + line[len(lead) :] for lead, line in zip(leads, lines, strict=True)]
    return "\n".join(lines if not place.prefix else [first, *lines])


def indented_once(fill: str, place: Place) -> str:
    """Remove from the first line the indentation that is before the cursor already, or the blank before it."""
    first, *more = fill.split("\n")
    lead = lead_of(first)
    if not lead or not first.strip() or not place.prefix or not place.prefix[-1].isspace():
        return fill
    if place.prefix.strip():
        return fill[len(lead) :] if not place.quote else fill
    cursor, total = width(place.prefix), width(place.prefix + lead)
    following = not_blank(more)
    above = place.lines_above()
    if following:
        meant = width(following[0]) >= total + bool(_OPENS.search(first.rstrip()))
    elif above and _OPENS.search(above[-1].rstrip()):
        meant = cursor <= width(above[-1]) < total
    else:
        meant = bool(above) and total <= width(above[-1])
    return fill if meant else fill[len(lead) :]


def indented_from_the_cursor(fill: str, place: Place) -> str:
    """Move a block that was written from the margin on over to the cursor."""
    first, *more = fill.split("\n")
    below = next(iter(not_blank(more)), "")
    if (
        not below
        or not place.prefix
        or place.prefix.strip()
        or place.prefix == " "
        or lead_of(first)
        or not _OPENS_A_BLOCK.match(first.rstrip())
        or brackets.unopened(first)
        or width(below) > width(place.prefix)
        or _GOES_ON.match(below.lstrip())
        or _AT_THE_MARGIN.match(below.lstrip())
    ):
        return fill
    return "\n".join([first, *(place.prefix + line if line.strip() else line for line in more)])


def as_far_as_wanted(fill: str, place: Place) -> str:
    """Keep one line beside code; on a blank line, and after the opening of a block, as many as there are."""
    if place.multiline:
        opened = not place.rest.strip() and fill.startswith("\n") and _OPENS.search(place.prefix.rstrip())
        if place.hole.strip() or not place.beside_code or opened:
            return fill
    elif not place.beside_code:
        fill = _BLANK_LINES.sub("", fill)
    return fill.partition("\n")[0]


def inside_the_block(fill: str, place: Place) -> str:
    """Cut the fill where it leaves the block that it began in: the next function is not part of this one."""
    base = width(place.prefix + fill.partition("\n")[0])
    if place.prefix.strip() and fill.startswith("\n"):
        base = width(next(iter(not_blank(fill.split("\n"))), ""))
    base = min([base, *(width(line) for line in not_blank(place.hole.split("\n")[1:]))])
    braced: bool | None = None
    for at, line in lines_of_code(fill, place):
        if at == 0 or not line.strip() or width(line) >= base or _GOES_ON.match(line.lstrip()):
            continue
        if braced is None:
            braced = "{" in brackets.unclosed(place.before)
        if not (braced and _AT_THE_MARGIN.match(line.lstrip())):
            return fill[:at].rstrip()
    return fill


def without_the_lines_below(fill: str, place: Place) -> str:
    """Cut the fill where it begins to repeat the lines that follow, at their indentation."""
    if place.rest.strip() or not (below := [line_key(line) for line in place.lines_below()]):
        return fill
    starts = [at for at, line in lines_of(fill) if line.strip()]
    keys = [line_key(fill[at:].partition("\n")[0] if at else place.prefix + fill.partition("\n")[0]) for at in starts]
    for i, at in enumerate(starts):
        same = 0
        while same < min(len(keys) - i, len(below)) and keys[i + same] == below[same]:
            same += 1
        to_the_end = same == len(keys) - i
        enough = same >= 2 and letters("".join(key for _, key in below[:same])) >= 12
        told = enough or (to_the_end and (letters(below[0][1]) or below[0][1][0] in brackets.CLOSERS))
        if same and told and brackets.whole(fill, at, place.quote):
            return fill[:at].rstrip()
    return fill


def without_the_rest_of_the_line(fill: str, place: Place) -> str:
    """Cut the text after the cursor off a fill that ends in it: in all of it, or in enough to be no accident."""
    rest, where = squeezed(place.rest)
    last = fill.rfind("\n") + 1
    written, places = squeezed(fill[last:])
    for length in range(min(len(rest), len(written)), 0, -1):
        part = rest[:length]
        if not written.endswith(part):
            continue
        whole = length == len(rest)
        at, past = last + places[-length], where[length - 1] + 1
        if (
            (letters(part) >= 6 or (whole and (part == "{" or re.search(r"[\w;:,.]", part))))
            and not (at and is_word(fill[at - 1]) and is_word(part[0]))
            and not (is_word(part[-1]) and is_word(place.rest[past : past + 1]))
            and brackets.whole(fill, at, place.quote)
            and not parts_a_tag(fill, at)
        ):
            return fill[:at]
    return fill


def without_doubled_brackets(fill: str, place: Place) -> str:
    """Cut at a closing bracket that is after the cursor already; never at one that the fill itself opened."""
    fits: list[int] = []
    spare: Counter[str] | None = None
    balance: Counter[str] = Counter()
    stack: list[str] = []
    for at, bracket in brackets.brackets(fill, place.quote):
        opener = brackets.CLOSERS.get(bracket)
        if opener is None:
            stack.append(bracket)
            balance[bracket] -= 1
        elif stack and stack[-1] == opener:
            balance[stack.pop()] += 1
        else:
            if spare is None:
                spare = _left_open(place)
            if not _doubled(balance, spare):
                fits.append(at)
            balance[opener] += 1
    if spare is None or not _doubled(balance, spare):
        return fill
    return fill[: fits[-1]] if fits else fill


def without_doubled_quotes(fill: str, place: Place) -> str:
    """Cut at the quote that ends the string around the cursor, if the quote after the cursor ends it."""
    quote = place.quote
    if not quote or not place.rest.startswith(quote) or brackets.open_quote(quote + fill):
        return fill
    ends = [match for match in brackets.QUOTES.finditer(fill) if match[0].endswith(quote)]
    if not ends or fill[ends[-1].end() :].rstrip().endswith(tuple("([{,=+-*/%&|<>:?!")):
        return fill  # the quote after the cursor begins another string
    return fill[: ends[-1].end() - len(quote)]


def other_than_the_lines_above(fill: str, place: Place) -> str:
    """Drop a fill that only repeats the lines just above the cursor."""
    if place.rest.strip() or place.hole.strip():
        return fill
    keys = [line_key(line) for line in not_blank((place.prefix + fill).split("\n"))]
    above = [line_key(line) for line in place.lines_above()]
    says = any(letters(key) and not _GOES_ON.match(key) and key != "#endif" for _, key in keys)
    repeats = says and keys == above[-len(keys) :]
    return "" if repeats else fill


Rule = Callable[[str, Place], str]
RULES: tuple[Rule, ...] = (
    without_trailing_blanks,
    outside_of_words,
    in_the_texts_indentation,
    indented_once,
    indented_from_the_cursor,
    as_far_as_wanted,
    inside_the_block,
    without_the_lines_below,
    without_the_rest_of_the_line,
    without_doubled_brackets,
    without_doubled_angles,
    without_a_doubled_tag,
    without_doubled_quotes,
    other_than_the_lines_above,
    other_than_the_lines_beside,
    inside_the_field,
    without_licences,
    not_over_and_over,
    without_trailing_blanks,
)


def _left_open(place: Place) -> Counter[str]:
    """Count the brackets that the text opens before the hole and does not close after it, within this statement."""
    cursor = width(place.prefix)
    after = place.after
    for at, line in lines_of(place.after):
        if at and line.strip() and width(line) < cursor and line.lstrip()[0] not in brackets.CLOSERS:
            after = place.after[:at]
            break
    closers = brackets.unopened(after)
    spare: Counter[str] = Counter(dict.fromkeys("([{", len(place.before) + _WINDOW))
    stack = brackets.unclosed(place.before)
    for opener in {brackets.CLOSERS[closer] for closer in closers}:
        spare[opener] = 0
    for closer in closers:
        while stack and (opener := stack.pop()) != brackets.CLOSERS[closer]:
            spare[opener] += 1
    spare.update(stack)
    return spare


def _doubled(balance: Counter[str], spare: Counter[str]) -> bool:
    """Return whether more brackets are closed than the text has left open."""
    return any(balance[opener] > spare[opener] for opener in balance)
