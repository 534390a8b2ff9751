"""Put a profile, and what weights in few bits need, into the description of a checkpoint. Torch-free."""

from __future__ import annotations

from dataclasses import fields, replace

from palimpsest_engine.checkpoint.spec import SURE, Sampling, Spec
from palimpsest_engine.engine import Profile

STILL = 3  # steps without a change that end a run of a model that may never be surer
_SAMPLING = {field.name for field in fields(Sampling)}


def profiled(spec: Spec, profile: Profile, *, quantised: bool) -> Spec:
    """Return the description with the values of a profile: unchanged where it has none for it, as of all models that have
    no steps to save.

    quantised: the weights are in eight bits or fewer. Such a model may never be as sure as the one it was made of, so it
    stops at `SURE` nats, or when nothing has changed for `STILL` steps.
    """
    changes = spec.profiles.get(profile, {})
    sampling = replace(spec.sampling, **{key: value for key, value in changes.items() if key in _SAMPLING})
    others = {key: value for key, value in changes.items() if key not in _SAMPLING}
    if quantised and not spec.denoising.lasts and sampling.confidence <= SURE:
        sampling = replace(sampling, confidence=SURE, still=sampling.still or STILL)
    return replace(spec, sampling=sampling, **others)
