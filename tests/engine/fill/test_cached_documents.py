"""Caches of documents in one budget: whose is dropped, what is shared, and fills that are the same with any of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palimpsest_engine import FillRequest, Span
from palimpsest_engine.fill import cached_documents
from palimpsest_engine.fill.cached_documents import FEWEST, MOST, RESTING, CachedDocuments, budget_for
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.model.prefix_cache import PrefixCache


@dataclass
class Held:
    """Keys and values of so many bytes."""

    allocated: int = 0


@dataclass
class Cache:
    """A cache of a document without a model."""

    cache: Held = field(default_factory=Held)


@pytest.fixture
def documents():
    def make(budget):
        return CachedDocuments(Cache, lambda _: budget)

    return make


def use(documents, uses, size=10):
    """Use documents one after the other, as in "Ax By": client A and document x, then client B and document y."""
    for client, document in uses.split():
        documents.of(document, client).cache.allocated = size
        documents.trim()


def kept(documents):
    return "".join(document for document, _ in documents._documents)


@pytest.mark.parametrize(
    ("uses", "expected"),
    [
        ("Ax Ay Az", "xyz"),
        ("Ax Ay Az Av", "yzv"),
        ("Ax Ay Ax Az Av", "xzv"),
        ("Ax Bx Cx Dx", "x"),
        ("Ax By Bz Bv", "xzv"),  # one client's storm does not cost another one its last
        ("Ax By Bz Bv Bw Bu", "xwu"),
        ("Ax By Cz Dv", "yzv"),  # everybody has one: the oldest
        ("Ax Ay Bz Bv", "yzv"),  # both have two, and the oldest is A's
        ("Ax Bx By Bz Bv", "xzv"),  # shared with A, whose last it is
        ("Ax Bx By Bz Bv Ay", "xvy"),  # B has three of them then, and A two
        ("Ax Ay Bz Cv", "yzv"),
        ("Ax Ay Az Bv Cw", "zvw"),
    ],
)
def test_the_client_with_the_most_loses_its_oldest(documents, uses, expected):
    found = documents(30)
    use(found, uses)
    assert kept(found) == expected
    assert found.held == 10 * len(expected)


def test_one_cache_may_be_larger_than_the_budget(documents):
    found = documents(30)
    use(found, "Ax By")
    use(found, "Cz", 100)
    assert (kept(found), found.held) == ("z", 100)
    use(found, "Ax")
    assert kept(found) == "x"


def test_a_cache_that_grows_is_counted_as_it_is_after_its_use(documents):
    found = documents(30)
    use(found, "Ax Ay Az")
    found.of("z", "A").cache.allocated = 25
    assert found.held == 30
    use(found, "Av", 1)
    assert (kept(found), found.held) == ("zv", 26)


def test_caches_that_hold_nothing_are_not_kept(documents):
    found = documents(30)
    use(found, "Ax Ay Az", size=0)
    assert len(found) == 1
    use(found, "Av Aw")
    assert kept(found) == "vw"


def test_a_client_that_has_gone_protects_nothing(documents):
    found = documents(30)
    use(found, "Ax" + " By Bz" * (RESTING // 2 - 1) + " Bv")
    assert kept(found) == "xzv"
    use(found, "By Bw")
    assert kept(found) == "vyw"


def test_the_same_document_is_shared_and_one_without_a_name_is_not(documents):
    found = documents(100)
    assert found.of("x", "A") is found.of("x", "B")
    found.of("x", "A").cache.allocated = 10
    mine = found.of("", "A")
    mine.cache.allocated = 10
    assert found.of("", "B") is not mine
    assert found.of("", "A") is mine


def test_a_document_is_dropped_alone_and_all_together(documents):
    found = documents(30)
    use(found, "Ax Ay Az")
    found.drop("y")
    found.drop("never seen")
    assert kept(found) == "xz"
    found.clear()
    assert (len(found), found.held) == (0, 0)
    use(found, "Ax Ay")
    assert kept(found) == "y"  # memory ran out, so half as much is kept


# What a model's caches take

GIB = 2**30


def encoded(model, tokens):
    cache = PrefixCache(model)
    cache.encode(torch.arange(tokens).remainder(90).add(1).tolist())
    return cache


@pytest.mark.parametrize("tokens", [1, 5, 63, 64, 65, 100, 128])
def test_a_whole_context_takes_no_more_than_was_reckoned(model, tokens):
    known = encoded(model, 7).cache
    assert known.bytes_for(tokens) >= encoded(model, tokens).cache.allocated > 0
    assert RollbackCache.for_config(model.config.get_text_config()).bytes_for(tokens) == 0


def test_the_room_to_grow_is_counted(model):
    cache = encoded(model, 10).cache
    assert cache.allocated > cache.nbytes
    assert cache.allocated == sum(layer._keys.nbytes + layer._values.nbytes for layer in cache.layers)


@pytest.mark.parametrize(("free", "contexts"), [(0.0, FEWEST), (1e15, MOST)])
def test_the_budget_has_room_for_what_one_window_uses_and_for_no_more_than_ten(model, monkeypatch, free, contexts):
    monkeypatch.setattr(cached_documents, "room_on", lambda device: ("here", free))
    cache = encoded(model, 10)
    assert budget_for(cache, 100) == contexts * cache.cache.bytes_for(100)


def test_the_budget_is_a_part_of_the_free_memory_in_between(model, monkeypatch):
    cache = encoded(model, 10)
    free = 8 * 8 * cache.cache.bytes_for(100)
    monkeypatch.setattr(cached_documents, "room_on", lambda device: ("here", float(free)))
    assert budget_for(cache, 100) == free // 8


# The same fills with any cache

QUICK = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BEGINNINGS = ("", "import os\n", "def area(width):\n    return width\n\n\n" * 3)


@pytest.fixture(scope="module", params=["diffusion", "left to right, with a denoiser"])
def loaded(request):
    return request.getfixturevalue("checkpoint" if request.param == "diffusion" else "denoising_checkpoint")


def check(filler, fresh, requests, contexts):
    """Fill with room for so many contexts, and compare with fills that know nothing of an earlier one."""
    size = encoded(filler.model, 10).cache.bytes_for(filler.spec.context)
    filler.cached = CachedDocuments(lambda: PrefixCache(filler.model), lambda _: contexts * size)
    for request in requests:
        *_, fill = filler.fill(request)
        fresh.cached.clear()
        *_, expected = fresh.fill(request)
        assert (fill.texts, fill.nfe, fill.verdict) == (expected.texts, expected.nfe, expected.verdict)
        assert len(filler.cached) == 1 or filler.cached.held <= contexts * size


@pytest.fixture(scope="module")
def fillers(checkpoint):
    return Filler(checkpoint, redraw=False), Filler(checkpoint, redraw=False)


@st.composite
def asked(draw):
    text = draw(st.sampled_from(BEGINNINGS)) + draw(st.sampled_from(["x = ", "total = one + ", "print("])) + "\nend()\n"
    at = text.rindex("\nend")
    return FillRequest(
        text,
        (Span(at, at),),
        document=draw(st.sampled_from(["", "a.py", "b.py", "c.py"])),
        client=draw(st.sampled_from(["one", "two"])),
        language="python",
        max_lines=1,
        max_steps=2,
        sizes=(3,),
        seed=draw(st.integers(0, 3)),
    )


@QUICK
@given(requests=st.lists(asked(), min_size=2, max_size=6), contexts=st.sampled_from([0, 1, 2, 100]))
def test_fills_are_those_of_a_fresh_cache_whoever_asks_and_whatever_was_dropped(fillers, requests, contexts):
    check(*fillers, requests, contexts)


@pytest.mark.parametrize("contexts", [1, 100])
def test_so_are_those_of_a_model_with_a_denoiser(denoising_checkpoint, contexts):
    fillers = (Filler(denoising_checkpoint, redraw=False) for _ in range(2))
    texts = (("a.py", "one", "import os\nx = "), ("a.py", "two", "import os\nxy = "), ("b.py", "two", "print("))
    requests = [
        FillRequest(text, (Span(len(text), len(text)),), document, client, "python", max_steps=2, sizes=(3,))
        for document, client, text in (*texts, texts[0])
    ]
    check(*fillers, requests, contexts)


def test_a_second_window_on_the_same_document_has_little_to_encode(loaded):
    text = "import os\n" * 4 + "x = \n"
    requests = [
        FillRequest(text, (Span(len(text) - 1, len(text) - 1),), document="a.py", client=client, language="python")
        for client in ("one", "two")
    ]
    filler = Filler(loaded)
    first, second = (list(filler.fill(request))[-1] for request in requests)
    assert first.encoded == first.context
    assert second.encoded == 0
    assert second.texts == first.texts
