#!/usr/bin/env python3
"""PyTorch's own row operators on one thread, at the sizes of bench_kernels: GB/s of the bytes an operator must move.

  tests/bench/peer_kernels.py [--compiled] [--ours build/release/tests/bench/bench_kernels]

Processor time of this thread, the best of several runs; results go to memory that was touched before, as the kernels' do. --compiled: torch.compile instead.
--ours: runs that bench in between, and prints one table of memcpy, the floor (bench_kernels says of what), ours and PyTorch's. Not run by CI.
"""
import argparse
import ctypes
import re
import subprocess
import time

import torch
import torch.nn.functional as F

ROWS, COLUMNS = 16384, 768


def best(call):
    least = 1e9
    for _ in range(8):
        begin = time.thread_time()
        call()
        least = min(least, time.thread_time() - begin)
    return least


def ours(program):
    """memcpy's GB/s, and by kernel: GB/s, its share of memcpy, its share of the floor, what the floor is."""
    text = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    copy = float(re.search(r"^memcpy +268435456 bytes +([0-9.]+) GB/s", text, re.M).group(1))
    line = r"^(\w+) +f32 +(\d+) x (\d+) .*? ([0-9.]+) GB/s .* ([0-9.]+) of memcpy, ([0-9.]+) of the floor \((\w+)\)"
    return copy, [(f"{m[0]} {m[1]} x {m[2]}", m[0], int(m[2]), float(m[3]), float(m[4]), float(m[5]), m[6]) for m in re.findall(line, text, re.M)]


def print_table(program, theirs):
    copy, kernels = ours(program)
    print(f"memcpy {copy:.1f} GB/s, PyTorch's copy {theirs['copy']:.1f}")
    print("| kernel | floor GB/s | ours | of memcpy | of the floor | PyTorch |\n|---|---|---|---|---|---|")
    for title, name, columns, rate, of_copy, of_floor, what in kernels:
        peer = f"{theirs[name]:.1f}" if name in theirs and columns == COLUMNS else ""
        print(f"| {title} | {rate / of_floor:.1f} ({what}) | {rate:.1f} | {of_copy:.2f} | {of_floor:.2f} | {peer} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--ours")
    options = parser.parse_args()
    # The C library keeps freed memory instead of giving it back, or each result would be touched for the first time.
    M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    x, y = torch.randn(ROWS, COLUMNS), torch.empty(ROWS, COLUMNS)
    scale, shift, target = torch.ones(COLUMNS), torch.zeros(COLUMNS), torch.randint(0, 700, (ROWS,))
    w, m, v, g = (torch.rand(ROWS, COLUMNS) for _ in range(4))
    step = torch.tensor(3.0)
    # Name, bytes an element, the operator.
    cases = [
        ("copy", 8, lambda: y.copy_(x)),
        ("gelu", 8, lambda: torch.ops.aten.gelu.out(x, approximate="tanh", out=y)),
        ("layernorm", 8, lambda: F.layer_norm(x, (COLUMNS,), scale, shift)),
        ("softmax", 8, lambda: torch.softmax(x, 1, out=y)),
        ("cross_entropy", 4, lambda: F.cross_entropy(x, target, reduction="none")),
        ("adamw", 28, lambda: torch._fused_adamw_([w], [g], [m], [v], [], [step], lr=1e-3, beta1=0.9, beta2=0.95, weight_decay=0.01,
                                                  eps=1e-8, amsgrad=False, maximize=False)),
    ]
    if options.compiled:
        made = {
            "gelu": torch.compile(lambda x: F.gelu(x, approximate="tanh")),
            "layernorm": torch.compile(lambda x: F.layer_norm(x, (COLUMNS,), scale, shift)),
            "softmax": torch.compile(lambda x: torch.softmax(x, 1)),
            "cross_entropy": torch.compile(lambda x: F.cross_entropy(x, target, reduction="none")),
        }
        cases = [(name, size, lambda f=made[name]: f(x)) for name, size, _ in cases if name in made]
    rates = {}
    for name, size, call in cases:
        call()
        spent = best(call)
        rates[name] = size * ROWS * COLUMNS / spent * 1e-9
        print(f"{name:14s} {spent * 1e9 / ROWS / COLUMNS:8.4f} ns/element {size * ROWS * COLUMNS / spent * 1e-9:7.1f} GB/s", flush=True)
    if options.ours:
        print_table(options.ours, rates)


if __name__ == "__main__":
    main()
