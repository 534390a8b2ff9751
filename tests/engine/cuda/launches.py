"""Compiles the kernels that a call would launch, for GPUs that are not there; run as a program, without the interpreter.

`python launches.py sampler|layer|experts|linears` prints a JSON object: kernel and architecture to the bytes that a thread
keeps outside its registers, and to those that a program shares.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

ARCHITECTURES = (80, 89, 90, 120)  # from the A100 to the RTX 50s
TYPES = {
    torch.bfloat16: "bf16",
    torch.float32: "fp32",
    torch.uint8: "u8",
    torch.int8: "i8",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.bool: "i1",
    torch.float8_e4m3fn: "fp8e4nv",
}
OPTIONS = {"num_warps", "num_stages", "num_ctas", "maxnreg"}


def type_of(value):
    if isinstance(value, torch.Tensor):
        return f"*{TYPES[value.dtype]}"
    if isinstance(value, bool):
        return "i1"
    return "fp32" if isinstance(value, float) else "i32"


def launches(work):
    """(kernel, arguments) of every launch that the work makes, none of which takes place."""
    seen = []

    def run(self, *args, grid, warmup, **named):
        seen.append((self, inspect.signature(self.fn).bind_partial(*args).arguments | named))

    before, JITFunction.run = JITFunction.run, run
    try:
        work()
    finally:
        JITFunction.run = before
    return seen


def compiled(kernel, arguments, architecture):
    constants = {parameter.name for parameter in kernel.params if parameter.is_constexpr}
    signature = {
        name: "constexpr" if name in constants or arguments[name] is None else type_of(arguments[name])
        for name in kernel.arg_names
    }
    fixed = {
        (kernel.arg_names.index(name),): arguments[name] for name, kind in signature.items() if kind == "constexpr"
    }
    options = {name: value for name, value in arguments.items() if name in OPTIONS}
    # As at a launch: memory is aligned, and so are some of the numbers.
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*") or (signature[name] == "i32" and arguments[name] % 16 == 0)
    }
    source = ASTSource(kernel, signature, constexprs=fixed, attrs=aligned)
    return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)


def local_bytes(binary):
    """Return the number of bytes that a thread keeps outside its registers."""
    program = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        said = subprocess.run([program, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    return max(sum(map(int, pair)) for pair in re.findall(r"STACK:(\d+).*?LOCAL:(\d+)", said.stdout))


def sampler():
    """At the shape of the 26B: a canvas of 256 over 262,144 tokens, and a prime number of them in float32."""
    from palimpsest_engine.cuda.kernels.sampler import fused

    for vocabulary, dtype in ((262_144, torch.bfloat16), (10_007, torch.float32)):
        logits = torch.empty(1, vocabulary, dtype=dtype).expand(256, -1)  # nothing is read
        fused(logits, logits, 30.0, 0.7, None, None, torch.empty(256))


def layer():
    """One of each kind of layer of the 26B, over a canvas of 256."""
    from palimpsest_engine.cuda.kernels.layer import activate, between, end, heads, merge, norm, route

    width, rows, scalar = 2816, 256, torch.ones(1)
    hidden, scale = torch.empty(rows, width, dtype=torch.bfloat16), torch.empty(width, dtype=torch.bfloat16)
    norm(hidden, scale, 1e-6)
    for groups, head, keys_are_values in ((8, 256, False), (2, 512, True)):
        stored = 16 + groups * (1 if keys_are_values else 2)
        turns = torch.empty(1, rows, head, dtype=torch.bfloat16)
        of_head = torch.empty(head, dtype=torch.bfloat16)
        projected = torch.empty(rows, stored * head, dtype=torch.bfloat16)
        query = heads(projected, (turns, turns), (of_head, of_head), 1, groups, keys_are_values, 1e-6)[0]
        part, total = query.flatten(2, 3).transpose(0, 1), torch.empty(1, groups, 16 // groups * rows)
        merge(part, total, part, total, rows)
    between(hidden, hidden, (scale,) * 4, 0.02, 1e-6)
    route(torch.empty(rows, 128, dtype=torch.bfloat16), torch.empty(128, dtype=torch.bfloat16), 8, torch.float32)
    activate(torch.empty(rows, 4224, dtype=torch.bfloat16))
    end(hidden, hidden, hidden, (scale,) * 3, scalar, 1e-6)


EXPERTS = [(format, 256) for format in ("int8", "fp8", "int4-fine", "int4", "none")]
EXPERTS += [(format, 1024) for format in ("int4-fine", "int4", "none")]


def experts():
    """A canvas of 256 through the 26B's experts, in every format; and four canvases in four bits and as they are."""
    from palimpsest_engine.cuda.kernels.moe import grouped_experts
    from palimpsest_engine.model.quantize import as_it_is, empty

    for format, rows in EXPERTS:
        gate_up, down = (
            as_it_is(torch.empty(shape, dtype=torch.bfloat16, device="meta"))
            if format == "none"
            else empty(shape, format, "meta")
            for shape in ((128, 1408, 2816), (128, 2816, 704))
        )
        hidden = torch.empty(rows, 2816, dtype=torch.bfloat16, device="meta")
        index = torch.empty(rows, 8, dtype=torch.int64, device="meta")
        grouped_experts(hidden, index, torch.empty(rows, 8, device="meta"), gate_up, down)


def linears():
    """One row and several through maps of the 7B, with a bias and without, in every format; and a canvas of 256 through those
    of the 26B in eight bits."""
    from palimpsest_engine.cuda.kernels.linear import linear
    from palimpsest_engine.model.quantize import FORMATS, empty

    for format in FORMATS:
        for outputs, width, biased in ((512, 3584, True), (3584, 18_944, False), (152_064, 3584, False)):
            weight = empty((outputs, width), format, "meta")
            bias = torch.empty(outputs, dtype=torch.bfloat16, device="meta") if biased else None
            for rows in (1, 32, 700):
                linear(torch.empty(1, rows, width, dtype=torch.bfloat16, device="meta"), weight, bias)
    for outputs, width in ((8192, 2816), (9216, 2816), (2816, 8192), (4224, 2816), (2816, 2112)):
        hidden = torch.empty(256, width, dtype=torch.bfloat16, device="meta")
        linear(hidden, empty((outputs, width), "int8", "meta"), None)


WORK = {"sampler": sampler, "layer": layer, "experts": experts, "linears": linears}


def main():
    found = {}
    for kernel, arguments in launches(WORK[sys.argv[1]]):
        if "DOT" in arguments:
            arguments["DOT"] = tl.bfloat16  # what a GPU gets
        for architecture in ARCHITECTURES:
            name = f"{kernel.fn.__name__} {architecture}"
            made = compiled(kernel, arguments, architecture)
            before = found.get(name, {"local": 0, "shared": 0})
            now = {"local": local_bytes(made.asm["cubin"]), "shared": made.metadata.shared}
            found[name] = {key: max(before[key], now[key]) for key in now}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
