#!/usr/bin/env python3
"""How fast PyTorch's products are: GFLOP/s of an f32 matmul [m, k] x [k, n], the best of several, beside `bench_products`.

  tests/bench/peer_products.py M N K [--threads N]

Not run by CI.
"""
import argparse
import time

import torch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    m, n, k = options.sizes
    c = torch.empty(m, n)
    best = float("inf")
    for b in (torch.rand(k, n), torch.rand(n, k).t()):
        a = torch.rand(m, k)
        for _ in range(6):
            begin = time.perf_counter()
            torch.mm(a, b, out=c)
            best = min(best, time.perf_counter() - begin)
    print(f"product {m} x {n} x {k} PyTorch {2e-9 * m * n * k / best:.1f} GFLOP/s")


main()
