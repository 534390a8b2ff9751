"""Compares every path that only a GPU takes with the plain one: its kernels, fused layers, shared prefix, recorded passes,
and the tokens of a whole denoising. Each check returns how far off it is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from palimpsest_bench.engine.random_models import config_of
from palimpsest_bench.gpu import layer_kernels
from palimpsest_bench.gpu.kernels import STORED
from palimpsest_bench.gpu.place import Place
from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_engine.checkpoint.weights import draw, give_room, hollow
from palimpsest_engine.cuda import experts, linears
from palimpsest_engine.cuda.fused_layers import make_fused, tried
from palimpsest_engine.cuda.graphs import Prefixes, as_graph, unrecorded
from palimpsest_engine.cuda.shared_prefix import SharedPrefix, make_shared
from palimpsest_engine.decoding.denoise import Canvas, denoise
from palimpsest_engine.decoding.sampler import as_stock, drawn, drawn_at, sample
from palimpsest_engine.engine import Quantization
from palimpsest_engine.model.forward import decode, encode
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.model.moe import quantised_experts
from palimpsest_engine.model.quantised_linear import make_room, plain, quantised_linears
from palimpsest_engine.model.quantize import EXPERTS, FORMATS, Format, Stored

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Of a whole pass in bfloat16: on an H100, random layers of the true width were off by 0.13 to 0.17, a tiny model by 0.03.
PASS = {"float32": 1e-4, "bfloat16": 0.2}
# Thresholds at which a random model stops sometimes early and sometimes late.
LIVELY = Sampling(max_steps=9, t_min=0.02, t_max=0.06, entropy_bound=3.0, stability=0, confidence=0.2)


@dataclass(frozen=True, slots=True)
class Check:
    """A comparison. off: computes the error. most: the largest that is right."""

    most: float
    off: Callable[[Place], float]

    def __call__(self, place: Place) -> dict[str, Any]:
        """Return the error, what is allowed, and the verdict."""
        off = self.off(place)
        return {"off": off, "most": self.most, "ok": off <= self.most}  # NaN is not


def checks(place: Place) -> dict[str, Callable[[Place], dict[str, Any]]]:
    """Return all checks by name, the most important ones first."""
    found: dict[str, Check] = {"sampler": Check(2e-3, sampler)}
    for stored in STORED:
        found[f"experts, {stored}"] = Check(0.02, partial(mixture, stored=stored))
    for name in TYPES:
        most = {"float32": 1e-3, "bfloat16": 0.05}[name]
        found[f"fused layers, {name}"] = Check(most, partial(fused_layers, dtype=name))
    for name in TYPES:
        found[f"shared prefix, {name}"] = Check(PASS[name], partial(a_pass, dtype=name, fused=False, recorded=False))
    for name in TYPES:  # a GPU multiplies float32 in the kernels for experts as tf32
        most = PASS[name] if name == "bfloat16" or not place.on_gpu else 5e-3
        found[f"fused pass, {name}"] = Check(most, partial(a_pass, dtype=name, fused=True, recorded=False))
    for fused in (False, True):
        kind = "fused" if fused else "shared"
        found[f"recorded {kind} pass, bfloat16"] = Check(
            PASS["bfloat16"], partial(a_pass, dtype="bfloat16", fused=fused, recorded=True)
        )
    found["recorded fused pass, layers of the true width, bfloat16"] = Check(
        PASS["bfloat16"], partial(a_pass, dtype="bfloat16", fused=True, recorded=True, wide=True)
    )
    for quantization in EXPERTS:
        found[f"recorded pass, {quantization}"] = Check(
            PASS["bfloat16"], partial(a_pass, dtype="bfloat16", fused=True, recorded=True, quantization=quantization)
        )
    found["denoise() gives the tokens of generate(), embedded checkpoint"] = Check(0.2, embedded_tokens)
    found["denoise() on the GPU's way, tokens of the class's, float32"] = Check(0.5, same_tokens)
    for format in FORMATS:
        found[f"linear maps, {format}"] = Check(0.02, partial(maps, format=format))
        found[f"left-to-right model, {format}"] = Check(0.08, partial(left_to_right, format=format))
    for name, shapes in layer_shapes(place).items():
        for dtype in TYPES:
            most = 5e-6 if dtype == "float32" else 6e-3 if place.on_gpu else 0.02  # the interpreter cuts numbers off
            found[f"kernel {name}, {dtype}"] = Check(most, partial(layer_kernel, name=name, shapes=shapes, dtype=dtype))
    return dict(found)


def layer_shapes(place: Place) -> dict[str, list[tuple[Any, ...]]]:
    """Return the shapes for each kernel of a layer: odd ones, and on a GPU those of the 26B."""
    rows, real = [(1, 16), (7, 80)], place.on_gpu
    rows += [(65, 1000), (256, 2816)] if real else []
    heads = [(2, 5, 2, 3, 24, each) for each in (False, True)]
    heads += [(2, 33, 8, 2, 256, False), (1, 256, 2, 8, 512, True)] if real else []
    return {
        "norm": rows,
        "heads": heads,
        "merge": [shape[:5] for shape in heads],
        "between_and_end": rows,
        "route": [(5, 7, 3), *([(257, 128, 8)] if real else [])],
        "activate": rows,
    }


def layer_kernel(place: Place, name: str, shapes: list[tuple[Any, ...]], dtype: str) -> float:
    """Compare one kernel of a layer with its plain form at all shapes."""
    compare = getattr(layer_kernels, name)
    return max(layer_kernels.off(compare(place.device, TYPES[dtype], *shape)) for shape in shapes)


def sampler(place: Place) -> float:
    """Compare probabilities, entropy and the drawn token with the plain form, on the same random numbers."""
    from palimpsest_engine.cuda.kernels.sampler import fused

    rows, vocabulary = (256, 262_144) if place.on_gpu else (3, 97)
    generator, worst = torch.Generator(place.device), 0.0
    for dtype in TYPES.values():
        drawn_logits = torch.randn(rows, vocabulary, generator=generator.manual_seed(1), device=place.device) * 12
        logits = drawn_logits.to(dtype)
        uniform = torch.rand(rows, generator=generator.manual_seed(2), device=place.device)
        chances = torch.empty(rows, vocabulary, device=place.device)
        argmax, token, entropy = fused(logits, chances, 30.0, 0.6, None, None, uniform)
        wanted = sample(logits.clone(), cap=30.0, temperature=0.6, draw=lambda each, _: drawn_at(each, uniform))  # noqa: B023
        where = torch.arange(rows, device=place.device)
        summed = wanted.chances.double().cumsum(-1)
        behind = summed[where, token]
        before = behind - wanted.chances[where, token]
        outside = torch.maximum(before - uniform, uniform - behind).clamp_min(0)
        errors = (
            (chances - wanted.chances).abs().sum(-1),
            (entropy - wanted.entropy).abs() / (1 + wanted.entropy),
            wanted.chances.amax(-1) - wanted.chances[where, argmax],
            outside,
        )
        worst = max(worst, *(float(each.max()) for each in errors))
    return worst


def mixture(place: Place, stored: Stored) -> float:
    """Compare the kernels for experts with the plain form."""
    from palimpsest_engine.cuda.kernels.moe import grouped_experts

    return experts.trial(place.device, stored, grouped_experts)


def maps(place: Place, format: Format) -> float:
    """Compare the kernel for linear maps with the plain form."""
    from palimpsest_engine.cuda.kernels.linear import linear

    return linears.trial(place.device, format, linear)


@cache
def small_model(place: Place, dtype: str, quantization: Quantization = "none", wide: bool = False) -> Any:
    """Return a thin model of the 26B's kind, the same each time, far enough from its initialisation that attention and
    routing matter. wide: a layer of each kind in their true width instead, as they are initialised."""
    two: dict[str, Any] = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]}
    if not place.on_gpu:  # the interpreter is slow
        two |= {"num_attention_heads": 2, "num_key_value_heads": 1, "num_global_key_value_heads": 1}
    config = config_of(place.shape if wide else "26b-narrow", **(two if wide or not place.on_gpu else {}))
    torch.manual_seed(0)
    model = hollow(config, TYPES[dtype])
    give_room(model, str(place.device), quantization)
    draw(model)
    with torch.no_grad():
        for parameter in () if wide else model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@cache
def changed(place: Place, dtype: str, fused: bool, quantization: Quantization = "none", wide: bool = False) -> Any:
    """Return a copy of the small model whose layers are those of a GPU. Raises if the fused layers are not used."""
    model = copy.deepcopy(small_model(place, dtype, quantization, wide))
    if quantization != "none":
        from palimpsest_engine.cuda.kernels.linear import linear
        from palimpsest_engine.cuda.kernels.moe import grouped_experts

        for each in quantised_experts(model):
            each.grouped = grouped_experts
        for map in quantised_linears(model):
            map.multiply = linear
    make_shared(model)
    if fused and not make_fused(model):
        raise ArithmeticError("the fused layers are not used here; the log says why")
    return model


def fused_layers(place: Place, dtype: str) -> float:
    """Compare one fused layer of each kind with the class's."""
    model = changed(place, dtype, fused=True)
    layers = {layer.self_attn.layer_type: layer for layer in model.model.decoder.layers}
    return max(tried(model, layers.values()))


def context(model: Any, length: int) -> RollbackCache:
    """Encode so many random tokens."""
    cache = RollbackCache.for_config(model.config.get_text_config())
    encode(model, cache, ids(model, (1, length), length))
    return cache


def ids(model: Any, shape: tuple[int, ...], seed: int) -> Tensor:
    """Draw tokens, the same on every device."""
    vocabulary = model.config.get_text_config().vocab_size
    return torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(seed)).to(model.device)


def a_pass(
    place: Place, dtype: str, fused: bool, recorded: bool, quantization: Quantization = "none", wide: bool = False
) -> float:
    """Compare passes over a shared prefix with the class's own: the error of the median position, as two experts that are
    equally likely may change places. Raises if a pass was to be recorded and was not."""
    wide = wide and place.on_gpu
    theirs, ours = small_model(place, dtype, quantization, wide), changed(place, dtype, fused, quantization, wide)
    prefixes, worst = Prefixes(as_graph if recorded and place.on_gpu else unrecorded), 0.0
    padded = recorded and (place.on_gpu or not fused)  # the interpreter is slow
    passes = [(1, 32, 30), (3, 33, 131), (5, 12, 600), (4, 9, 7)] if place.on_gpu else [(1, 2, 30)]
    for number, (batch, length, past) in enumerate(passes):
        cache, tokens = context(theirs, past), ids(theirs, (batch, length), number)
        where = torch.arange(0, batch * length, 2, device=place.device)
        chances = F.one_hot(ids(theirs, (len(where),), 9), theirs.config.get_text_config().vocab_size).float()
        wanted = decode(theirs, cache.branch(batch), tokens, where, chances)
        for _ in range(2 if recorded and place.on_gpu else 1):  # the second one is a replay
            found = decode(ours, prefixes.shared(cache) if padded else SharedPrefix(cache), tokens, where, chances)
        each = (found.float() - wanted.float()).norm(dim=-1) / wanted.float().norm(dim=-1)
        worst = max(worst, float(each.median()) if bool(each.isfinite().all()) else float("inf"))
    if not prefixes.recording:
        raise RuntimeError("the pass cannot be recorded as a CUDA graph; the log says why")
    return worst


def whole_canvas(model: Any, rows: int, length: int) -> Canvas:
    """Make canvases that are all hole."""
    tokens = torch.zeros(rows, length, dtype=torch.long, device=model.device)
    return Canvas(tokens, torch.ones_like(tokens, dtype=torch.bool))


def same_tokens(place: Place) -> float:
    """Return the share of denoisings that do not end in the tokens of the class's passes: of an undecided random model a
    rounding turns a token, and others follow."""
    theirs, ours = small_model(place, "float32"), changed(place, "float32", fused=True)
    count, other = 8 if place.on_gpu else 1, 0
    sampling = LIVELY if place.on_gpu else Sampling(max_steps=2, t_min=0.02, t_max=0.06, entropy_bound=3.0)
    for seed in range(count):
        cache, runs = context(theirs, 20 + seed), list[Tensor]()
        for model, prefix in ((theirs, cache.branch(2)), (ours, SharedPrefix(cache))):
            generator = torch.Generator(place.device).manual_seed(seed)
            *_, last = denoise(
                model, prefix, whole_canvas(model, 2, 3 if place.on_gpu else 2), sampling, generator, drawn
            )
            runs.append(last.tokens)
        other += not torch.equal(*runs)
    return other / count


def embedded_tokens(place: Place) -> float:
    """Return the share of canvases of the embedded checkpoint, in float32, that are not those of the library's
    `generate()` on the same seed."""
    from transformers import DiffusionGemmaForBlockDiffusion
    from transformers.models.diffusion_gemma.generation_diffusion_gemma import EntropyBoundSamplerConfig

    loaded = DiffusionGemmaForBlockDiffusion.from_pretrained(EMBEDDED, dtype=torch.float32, local_files_only=True)
    model: Any = loaded.eval().to(place.device)
    sampling, bound, count, other = Sampling(12, 0.1, 0.5, 1.0, 1, 0.1), 1.0, 6 if place.on_gpu else 1, 0
    length = model.config.canvas_length
    for seed in range(count):
        before = ids(model, (1, 20), seed)
        torch.manual_seed(seed)
        wanted = model.generate(
            before,
            max_new_tokens=length,
            eos_token_id=None,
            pad_token_id=None,
            max_denoising_steps=sampling.max_steps,
            t_min=sampling.t_min,
            t_max=sampling.t_max,
            sampler_config=EntropyBoundSamplerConfig(entropy_bound=bound),
            stability_threshold=sampling.stability,
            confidence_threshold=sampling.confidence,
        ).sequences[:, 20:]
        cache = RollbackCache.for_config(model.config.get_text_config())
        encode(model, cache, before)
        generator = torch.Generator(place.device).manual_seed(seed)
        *_, last = denoise(model, cache, whole_canvas(model, 1, length), sampling, generator, as_stock)
        other += not torch.equal(last.tokens.to(wanted.device), wanted)
    return other / count


def left_to_right(place: Place, format: Format) -> float:
    """Compare the logits of a small left-to-right model by the kernel with those by the plain form."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from palimpsest_engine.cuda.kernels.linear import linear

    torch.manual_seed(0)
    config = Qwen2Config(
        hidden_size=96,
        intermediate_size=160,
        num_hidden_layers=2,
        vocab_size=320,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    model: Any = Qwen2ForCausalLM(config).eval().to(torch.bfloat16).to(place.device)
    weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for name, made in make_room(model, format, place.device).items():
        made.put(weights[name])
    found = []
    with torch.inference_mode():
        for way in (plain, linear):
            for each in quantised_linears(model):
                each.multiply = way
            found.append(model(ids(model, (2, 9), 0)).logits.float())
    return float((found[1] - found[0]).norm() / found[0].norm())
