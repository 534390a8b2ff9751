"""Exact match on held-out packages against the floors: empty, `pass`, and a copy of the previous line."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from palimpsest_engine.checkpoint import load
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.fill import Filler
from palimpsest_engine.request import Fill, FillRequest, Span
from palimpsest_engine.spec import Spec

KINDS = ("span", "rest of line", "line")


@dataclass(frozen=True, slots=True)
class Case:
    """A hole in a held-out file: the document, the hole, what stood there, and how it was chosen."""

    text: str
    hole: Span
    kind: str

    @property
    def truth(self) -> str:
        """What stood in the hole."""
        return self.text[self.hole.start : self.hole.end]

    @property
    def previous_line(self) -> str:
        """The line above the hole without its indentation."""
        lines = self.text[: self.hole.start].splitlines()
        return lines[-2].strip() if len(lines) > 1 else ""


def cases(texts: Sequence[str], tokenizer: Any, count: int, most_tokens: int, seed: int) -> Iterator[Case]:
    """Seeded holes of at most so many tokens in these documents: token spans, rests of lines and whole lines by turns;
    none is blank, none lies in a comment line."""
    rng = random.Random(seed)
    made = 0
    while made < count:
        text = rng.choice(texts)
        encoding = tokenizer.encode(text, add_special_tokens=False)
        first = rng.randrange(len(encoding.offsets))
        kind = KINDS[made % len(KINDS)]
        start, end = (
            encoding.offsets[first][0],
            encoding.offsets[min(first + rng.randint(0, 7), len(encoding.ids) - 1)][1],
        )
        if kind != "span":
            line_start = text.rfind("\n", 0, start) + 1
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            if kind == "line":
                start = line_start + len(text[line_start:end]) - len(text[line_start:end].lstrip())
        truth = text[start:end]
        line = text[text.rfind("\n", 0, start) + 1 : start]
        if not truth.strip() or line.lstrip().startswith("#") or truth.startswith("#"):
            continue
        if len(tokenizer.encode(truth, add_special_tokens=False).ids) > most_tokens:
            continue
        made += 1
        yield Case(text, Span(start, end), kind)


def evaluate(
    texts: Sequence[str],
    settings: EngineSettings,
    count: int = 300,
    most_tokens: int = 8,
    seed: int = 7,
    spec: Spec | None = None,
) -> dict[str, Any]:
    """Shares in percent of exact matches (white space at the ends aside) by kind, the floors on the same holes, empty
    answers, mean NFE and the median of milliseconds."""
    loaded = load(settings)
    spec = spec or loaded.spec
    filler = Filler(replace(loaded, spec=spec))
    rows: list[dict[str, Any]] = []
    for number, case in enumerate(cases(texts, loaded.tokenizer, count, most_tokens, seed)):
        without = case.text[: case.hole.start] + case.text[case.hole.end :]
        at = Span(case.hole.start, case.hole.start)
        request = FillRequest(without, (at,), language="python", document=str(number), seed=number)
        *_, fill = filler.fill(request)
        assert isinstance(fill, Fill)
        truth = case.truth.strip()
        rows.append(
            {
                "kind": case.kind,
                "truth": case.truth,
                "fill": fill.texts[0],
                "exact": fill.texts[0].strip() == truth,
                "any": any(texts[0].strip() == truth for texts in (fill.texts, *fill.alternatives)),
                "pass": truth == "pass",
                "copy": truth == case.previous_line,
                "empty": fill.empty,
                "status": fill.verdict.status,
                "nfe": fill.nfe,
                "ms": fill.ms,
            }
        )
    ms = sorted(row["ms"] for row in rows)

    def share(key: str, kind: str | None = None) -> float:
        chosen = [row for row in rows if kind in (None, row["kind"])]
        return round(100 * sum(bool(row[key]) for row in chosen) / len(chosen), 1)

    return {
        "holes": len(rows),
        "exact": share("exact"),
        **{f"exact, {kind}": share("exact", kind) for kind in KINDS},
        "exact in any candidate": share("any"),
        "floor: empty": 0.0,
        "floor: pass": share("pass"),
        "floor: previous line": share("copy"),
        "answered empty": share("empty"),
        "mean nfe": round(sum(row["nfe"] for row in rows) / len(rows), 1),
        "median ms": round(ms[len(ms) // 2], 1),
        "sampling": asdict(spec.sampling),
        "rows": rows,
    }
