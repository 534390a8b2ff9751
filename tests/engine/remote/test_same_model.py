"""The same GGUF file in our engine and in a real llama.cpp: the same tokens of a text, the same text after a prompt."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import torch

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.decoding.autoregressive import write
from palimpsest_engine.model.forward import encode, head
from palimpsest_engine.model.prefix_cache import PrefixCache
from small_model import small_model

# A real model is loaded twice, and both sides compute with it; on a machine with other work, that alone takes a minute.
pytestmark = [pytest.mark.xdist_group("llama.cpp"), pytest.mark.timeout(900)]
LONGEST = 300.0  # seconds for an answer of llama.cpp, so that none is waited for in vain

FIXTURES = Path(__file__).parents[3] / "fixtures"
TEXTS = {path.name: path.read_text("utf-8") for path in sorted(FIXTURES.glob("demo/*.py"))}
TEXTS |= {
    "signs": "x=1;y  =\t'é' # 12345 »\n\n\n\tif(a<=b){return [0x1F];}\r\n  \u3000漢字 🙂\n",
    "blanks": " \n \n\n   ",
}
PROMPTS = (
    "def mean(values):\n    return sum(values) /",
    "The capital of France is",
    "for i in range(10):\n    print(",
    "import os\n\n\ndef home():\n    return os.path.",
)


@pytest.fixture(scope="module", params=["float32", "auto"])
def checkpoint(request):
    return load(EngineSettings(str(small_model()), device="cpu", dtype=request.param))


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_has_the_same_tokens(name, llama, checkpoint):
    answer = httpx.post(f"{llama}/tokenize", json={"content": TEXTS[name]}, timeout=LONGEST, trust_env=False)
    assert checkpoint.tokenizer.encode(TEXTS[name], add_special_tokens=False).ids == answer.json()["tokens"]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_goes_on_with_the_same_text(prompt, llama, checkpoint):
    """llama.cpp rounds the inputs of its products to eight bits, too, so what counts is where both are sure."""
    ids = checkpoint.tokenizer.encode(prompt, add_special_tokens=False).ids
    body = {"prompt": ids, "n_predict": 10, "temperature": 0, "cache_prompt": False, "return_tokens": True}
    theirs = httpx.post(f"{llama}/completion", json=body, timeout=LONGEST, trust_env=False).json()["tokens"]
    model, cache = checkpoint.model, PrefixCache(checkpoint.model)
    cache.encode(ids)
    banned = torch.zeros(model.config.vocab_size, dtype=torch.bool)
    (ours,) = write(model, cache.cache.branch(1, len(ids) - 1), ids[-1], len(theirs), banned)
    same = next((i for i, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other), len(theirs))
    if same == len(theirs):
        return
    fresh = PrefixCache(model)
    logits = head(model, encode(model, fresh.cache, torch.tensor([[*ids, *theirs[:same]]])))[0, -1]
    unsure = 1.5 if checkpoint.int8 else 0.5  # nats between the likeliest tokens of a model this small
    assert logits.max() - logits[theirs[same]] < unsure, "they part where our model is sure"
