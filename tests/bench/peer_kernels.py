#!/usr/bin/env python3
"""PyTorch's own row operators on one thread, at the sizes of bench_kernels: GB/s of the bytes an operator must move.

  tests/bench/peer_kernels.py [--compiled]

Processor time of this thread, the best of several runs; results go to memory that was touched before, as the kernels' do. --compiled: torch.compile instead. Not run by CI.
"""
import argparse
import ctypes
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiled", action="store_true")
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
    for name, size, call in cases:
        call()
        spent = best(call)
        print(f"{name:14s} {spent * 1e9 / ROWS / COLUMNS:8.4f} ns/element {size * ROWS * COLUMNS / spent * 1e-9:7.1f} GB/s", flush=True)


if __name__ == "__main__":
    main()
