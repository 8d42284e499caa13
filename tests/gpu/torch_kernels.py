#!/usr/bin/env python3
"""What a GPU's ceilings are, and PyTorch's attention at the sizes of tests/gpu/prepare: JSON lines.

    torch_kernels.py SIZES.json [--device cuda]

SIZES.json: [[batch, heads, dim, length], ...]. Of PyTorch's backends (flash, cuDNN, Triton's by its compiler are what users get) each that runs is timed, forward and
backward, causal, bf16, random numbers; the median of events. Ceilings: a copy of 4 GiB within the device's memory, read and written
bytes together; a product of 8192 cubed in bf16. --device cpu, with small sizes, is for trying this out.
"""
import argparse
import json
import pathlib
import statistics
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}


def timed(device, call, repeats=20):
    """Seconds: the median."""
    for _ in range(3):
        call()
    if device == "cpu":
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
        return statistics.median(times)
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for begin, end in events:
        begin.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return 1e-3 * statistics.median(begin.elapsed_time(end) for begin, end in events)


def tell(**what):
    print(json.dumps(what), flush=True)


def ceilings(device):
    count, side = (1 << 31, 8192) if device != "cpu" else (1 << 20, 256)
    a = torch.empty(count, dtype=torch.bfloat16, device=device).normal_()
    b = torch.empty_like(a)
    seconds = timed(device, lambda: b.copy_(a))
    tell(name="copy", gb_per_s=1e-9 * 4 * count / seconds)
    del a, b
    x, y = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = timed(device, lambda: x @ y)
    tell(name="product", tflop_per_s=1e-12 * 2 * side**3 / seconds)


def attention(device, batch, heads, dim, length):
    q, k, v = (torch.randn(batch, heads, length, dim, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    g = torch.randn_like(q)
    for name, backend in BACKENDS.items():
        try:
            with sdpa_kernel([backend]):
                forward = timed(device, lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True))
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
                backward = timed(device, lambda: torch.autograd.grad(y, (q, k, v), g, retain_graph=True))
        except RuntimeError as error:
            tell(name=f"d{dim}_t{length}", backend=name, error=str(error).splitlines()[0])
            continue
        for entry, seconds in (("forward", forward), ("backward", backward)):
            tell(name=f"{entry}_d{dim}_t{length}", backend=name, ms=1e3 * seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=pathlib.Path)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    ceilings(args.device)
    for size in json.loads(args.sizes.read_text()):
        attention(args.device, *size)


main()
