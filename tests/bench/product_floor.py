"""The time that no step of a model can go below on this machine: the floating point operations of its products over the fastest product that
anybody was seen to make here.

Operations are those of the plan that computes nothing again, and only those that are a product or could be done as one (attention's). The rate is
the best of ours, oneDNN's and PyTorch's, at a large cube and at the model's own largest layer, each tried several times over the run, as the host's speed changes.
So the floor knows of nothing else a step has to do: memory, norms, the optimizer.
"""
import json
import os
import re
import subprocess
import sys

LARGE = (2048, 2048, 2048)
HERE = os.path.dirname(os.path.abspath(__file__))


def product_flops(shown, entry="train"):
    """By kind: operations of an entry's products, and of its attention. `shown` is what plim-dump --json says of a plan without micro-batches."""
    kinds = {"product": 0, "attention": 0}
    instructions = shown["programs"][entry]["instructions"]
    if sum(i["flops"] for i in instructions) != shown["flops_per_step"]:
        sys.exit("a floor is worked out for plans whose instructions run once a step")
    for instruction in instructions:
        if instruction["kernel"] is not None:
            kind = shown["kernel_table"][instruction["kernel"]]["text"].split()[2]
            for name in kinds:
                kinds[name] += instruction["flops"] if kind.startswith(name) else 0
    return kinds


def largest_layer(size):
    """M, N, K of the widest linear layer inside a block."""
    return size["batch"] * size["seq"], size.get("ffn", 4 * size["width"]), size["width"]


class Floor:
    """GFLOP/s by who computed, the best so far."""

    def __init__(self, options, size, shown):
        self.options, self.rate = options, {}
        self.flops = product_flops(shown)
        self.shapes = [LARGE, largest_layer(size)]
        self.measure()

    def measure(self):
        """Once more: call it between runs."""
        threads = str(self.options.threads)
        bench = os.path.join(self.options.build, "tests/bench/bench_products")
        if not os.path.exists(bench):
            sys.exit(f"{bench} is not built (ninja bench_products)")
        peer = [self.options.python, os.path.join(HERE, "peer_products.py"), "--threads", threads]
        for shape in self.shapes:
            words = [str(x) for x in shape]
            self.read([bench, "cpu:native", threads, *words])
            if self.options.torch:
                self.read([*peer, *words])

    def read(self, command):
        done = subprocess.run([*self.options.runner.split(), *command], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{command[0]}: {done.stderr.strip()}")
        for name, rate in re.findall(r"(ours|oneDNN|PyTorch) +([0-9.]+)", done.stdout):
            self.rate[name] = max(self.rate.get(name, 0), float(rate))

    def ms(self):
        return 1e-6 * sum(self.flops.values()) / max(self.rate.values())

    def __str__(self):
        rates = ", ".join(f"{name} {rate:.1f}" for name, rate in self.rate.items() if rate > 0)
        return (f"{1e-9 * self.flops['product']:.4g} GFLOP of products and {1e-9 * self.flops['attention']:.4g} of attention a step, "
                f"GFLOP/s of the fastest product: {rates}; so no step is below {self.ms():.0f} ms")
