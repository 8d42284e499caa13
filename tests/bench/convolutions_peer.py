#!/usr/bin/env python3
"""Convolutions beside PyTorch's: each layer's y, dx and dw, by turns, the best of all rounds.

  tests/bench/convolutions_peer.py --build build/release [--threads 2] [--rounds 3] [--layer NAME]

Floor: operations by what the threads could do at best (fused multiply-adds in registers, measured in the same run). Times are
by the clock and, in brackets, of CPU time, which holds on a machine that others use. Needs torch.
"""
import argparse
import subprocess
import time

import torch

PARTS = {"forward": None, "input": [True, False, False], "weight": [False, True, False]}


def timed(run):
    run()
    wall = cpu = 1e9
    for _ in range(6):
        start, given = time.monotonic(), time.process_time()
        run()
        cpu = min(cpu, time.process_time() - given)
        wall = min(wall, time.monotonic() - start)
    return wall, cpu


def theirs(batch, c, m, size, kernel, stride, groups, part):
    x, w = torch.randn(batch, c, size, size), torch.randn(m, c // groups, kernel, kernel)
    side = kernel // 2
    if part == "forward":
        return timed(lambda: torch.conv2d(x, w, None, stride, side, 1, groups))
    dy = torch.randn_like(torch.conv2d(x, w, None, stride, side, 1, groups))
    return timed(lambda: torch.ops.aten.convolution_backward(
        dy, x, w, [0], [stride] * 2, [side] * 2, [1, 1], False, [0, 0], groups, PARTS[part]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layer", default="")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    ours, peers, flops, shapes = {}, {}, {}, {}
    peak = 0.0
    for _ in range(asked.rounds):
        out = subprocess.run([f"{asked.build}/tests/bench/bench_convolutions", "cpu:native", str(asked.threads), asked.layer],
                             check=True, capture_output=True, text=True).stdout
        for line in out.splitlines():
            name, part, count, wall, cpu, *shape = line.split()
            if name == "peak":
                peak = max(peak, int(count) / float(cpu))
                continue
            key = name, part
            flops[key], shapes[key] = int(count), [int(number) for number in shape]
            ours[key] = tuple(map(min, ours.get(key, (1e9, 1e9)), (float(wall), float(cpu))))
        for key, shape in shapes.items():
            peers[key] = tuple(map(min, peers.get(key, (1e9, 1e9)), theirs(*shape, key[1])))
    print(f"{peak * 1e-9:.0f} GFLOP/s a thread at best, {asked.threads} threads, torch {torch.__version__}; ms")
    for key in ours:
        floor = flops[key] / peak / asked.threads
        print(f"{key[0]:14} {key[1]:8} floor {floor * 1e3:7.2f}  ours {ours[key][0] * 1e3:7.2f} ({ours[key][1] * 1e3:7.2f})"
              f"  PyTorch {peers[key][0] * 1e3:7.2f} ({peers[key][1] * 1e3:7.2f})")


if __name__ == "__main__":
    main()
