#!/usr/bin/env python3
"""Generation by the model of a PyTorch training script (--torch of tests/bench/generation), eager or compiled; one JSON line.

  tests/bench/peer_torch.py --script train_torch.py (--decode N | --prefill N) [--compile] [the script's sizes and --dtype]

--decode N: one sequence, greedy, a static KV cache, the median step without the first quarter. Compiled, the position is a
tensor and the cache is masked, or each position would be compiled anew; the cache is then just N long. --prefill N: the logits of a prompt's last token, with
warm memory; the median of 5 after 2. The script's Decoder takes options with the fields below.
"""
import argparse
import importlib.util
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

SIZES = dict(layers=12, width=768, heads=12, kv_heads=0, ffn=0, vocab=50257, context=1024, threads=2, decode=0, prefill=0)


def caches_of(o):
    shape = (1, o.kv_heads, o.decode if o.compile else o.context, o.width // o.heads)
    return [[torch.zeros(shape, dtype=o.kind) for _ in "kv"] for _ in range(o.layers)]


def masked_step(script, net, caches):
    """A step of static shapes, at a position that is a tensor [1]."""
    places = torch.arange(caches[0][0].shape[2])

    def step(token, at):
        x = net.tok(token)
        if net.pos is not None:
            x = x + net.pos(at)
        seen = (places <= at)[None, None, None, :]
        for block, (keys, values) in zip(net.blocks, caches):
            q, k, v = block.split(block.norm1(x))
            if net.pos is None:
                q, k = script.rotary(q, net.cos[at], net.sin[at]), script.rotary(k, net.cos[at], net.sin[at])
            keys.index_copy_(2, at, k)
            values.index_copy_(2, at, v)
            y = F.scaled_dot_product_attention(q, keys, values, attn_mask=seen, enable_gqa=keys.shape[1] != q.shape[1])
            x = x + block.out(y.transpose(1, 2).reshape(x.shape))
            x = x + block.mlp(block.norm2(x))
        return net.head(net.norm(x)).argmax(-1)

    return torch.compile(step)


def timed(call, count):
    times = []
    for i in range(count):
        begin = time.perf_counter()
        call(i)
        times.append(time.perf_counter() - begin)
    return times


def decode(o, script, net):
    caches, token = caches_of(o), torch.zeros(1, 1, dtype=torch.long)
    if o.compile:
        run = masked_step(script, net, caches)
    else:
        def run(token, at):
            return net.head(net.hidden(token, caches, int(at))).argmax(-1)

    def one(at):
        nonlocal token
        token = run(token, torch.tensor([at]))

    step_s = statistics.median(timed(one, o.decode)[o.decode // 4:])
    return dict(tokens_per_s=1 / step_s, step_ms=1e3 * step_s)


def prefill(o, net):
    tokens = torch.randint(0, o.vocab, (1, o.prefill))

    def last(tokens):
        return net.head(net.hidden(tokens)[:, -1])

    run = torch.compile(last) if o.compile else last
    step_s = statistics.median(timed(lambda _: run(tokens), 7)[2:])
    return dict(tokens_per_s=o.prefill / step_s, step_ms=1e3 * step_s)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", required=True)
    parser.add_argument("--model", choices=("gpt2", "llama"), default="gpt2")
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--compile", action="store_true")
    for name, value in SIZES.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)
    o = parser.parse_args()
    o.kv_heads, o.ffn, o.checkpoint = o.kv_heads or o.heads, o.ffn or 4 * o.width, False
    o.kind = torch.bfloat16 if o.dtype == "bf16" else torch.float32
    torch.set_num_threads(o.threads)
    torch.set_grad_enabled(False)
    spec = importlib.util.spec_from_file_location("script", o.script)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    net = script.Decoder(o).eval().to(o.kind)
    print(json.dumps(decode(o, script, net) if o.decode else prefill(o, net)))


if __name__ == "__main__":
    sys.exit(main())
