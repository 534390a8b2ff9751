"""Rank candidates by the causal encoder's likelihood, or by certainty where nothing is read causally; keep the evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from palimpsest_engine.decoding.scoring import log_likelihoods, normalised
from palimpsest_engine.fill.detokenize import Candidate, Detokenizer
from palimpsest_engine.fill.evidence import FOLLOWING, Evidence, first_line, line_of
from palimpsest_engine.fill.names import in_sight, strange_names
from palimpsest_engine.fill.resources import Resources
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.prompt.layout import Layout
from palimpsest_engine.request import FillRequest
from palimpsest_engine.syntax.grammars import language_of

STRANGE = 0.5  # what a name that stands nowhere in sight takes from the score of a candidate


class Ranking:
    """Ranks the candidates of one request, over the encoded context in `cache`.

    evidence: what speaks for each candidate that was ranked, by its texts, where there is one hole and it is written from
    nothing.
    """

    def __init__(self, resources: Resources, request: FillRequest, cache: PrefixCache, read: Detokenizer) -> None:
        self.resources, self.request, self.cache, self.read = resources, request, cache, read
        self.language = language_of(request.path, request.language)
        self.known = in_sight(request) if len(request.holes) == 1 else frozenset[str]()
        self.evidence = dict[tuple[str, ...], Evidence]()

    def rank(self, layout: Layout, found: list[Candidate]) -> list[Candidate]:
        """Sort by the causal encoder's likelihood of hole and following text, best first, or by the certainty of the slots
        when they were accepted; each text once. Strange names count against a candidate."""
        spec, lines = self.resources.spec, Counter(line_of(self.read.texts(each)[0]) for each in found)
        by_text = {texts: each for each in reversed(found) if any(texts := self.read.texts(each))}
        found = list(reversed(by_text.values())) or found[:1]
        if self.resources.sides or spec.denoising.block is not None:
            return _best_first(found, [-each.entropy for each in found])
        known = len(found) == 1 and found[0].logs
        logs = [[*found[0].logs]] if known else self._log_likelihoods(layout, found)
        strange = [self._strange(each) for each in found]
        self._weigh(found, logs, strange, lines)
        scores = [
            normalised(each, spec.length_power) - STRANGE * names for each, names in zip(logs, strange, strict=True)
        ]
        return _best_first(found, scores)

    def _log_likelihoods(self, layout: Layout, found: Sequence[Candidate]) -> list[list[float]]:
        """Return the log-likelihoods of the tokens that score each candidate, in nats: its holes without filler, the text
        between them, a little suffix; or the token that ends a middle, where the suffix stands in the context."""
        last = [layout.end] if self.resources.taught else layout.right[:FOLLOWING]
        sequences = list[list[int]]()
        for each in found:
            parts = zip(self.read.ids(each), (*layout.between, last), strict=True)
            sequences.append([token for ids, kept in parts for token in (*ids, *kept)] or [layout.end])
        cache = self.resources.backend.rows(self.cache.cache, len(found), len(layout.context) - 1)
        return log_likelihoods(self.resources.model, cache, layout.context[-1], sequences)

    def _strange(self, candidate: Candidate) -> int:
        """Return how many names in a candidate stand nowhere in sight."""
        if not self.known:
            return 0
        prefix = self.request.text[: self.request.holes[0].start].rpartition("\n")[2]
        return len(strange_names(self.read.texts(candidate)[0], prefix, self.language, self.known))

    def _weigh(
        self,
        found: Sequence[Candidate],
        logs: Sequence[Sequence[float]],
        strange: Sequence[int],
        lines: Counter[str],
    ) -> None:
        """Keep what speaks for each candidate. logs: log-likelihoods of its tokens and of some that follow. strange: the
        number of its strange names. lines: how many candidates began with each first line."""
        if len(self.request.holes) != 1 or self.request.strength < 1.0 or self.request.start or self.read.opening:
            return
        text, own = self.resources.tokens.text, [line_of(self.read.texts(each)[0]) for each in found]
        counts = [first_line([text(token) for token in self.read.ids(each)[0]]) for each in found]
        sums = [sum(each[:count]) for each, count in zip(logs, counts, strict=True)]
        for number, candidate in enumerate(found):
            count, others = counts[number], [sums[i] for i, line in enumerate(own) if line != own[number]]
            self.evidence[self.read.texts(candidate)] = Evidence(
                line=tuple(logs[number][:count]),
                behind=tuple(logs[number][count : count + FOLLOWING]),
                lead=sums[number] - max(others) if others else 0.0,
                agreement=lines[own[number]] / lines.total(),
                strange=strange[number],
            )


def _best_first(found: Sequence[Candidate], scores: Sequence[float]) -> list[Candidate]:
    """Return the candidates with their scores; of equal ones the first comes first."""
    scored = (replace(each, score=score) for each, score in zip(found, scores, strict=True))
    return sorted(scored, key=lambda each: -(each.score or 0.0))
