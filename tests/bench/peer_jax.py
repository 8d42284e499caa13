#!/usr/bin/env python3
"""The JAX that a careful user would write, as a peer to measure against.

Trains a GPT-2- or Llama-shaped decoder on random tokens and prints one JSON line: tokens_per_s (median step), step_ms, peak_rss,
losses. One jit-compiled function is the whole step (loss, gradients, clipping to norm 1, AdamW with decay on matrices only), its
state is donated so that updates happen in place, and the layers are unrolled so that XLA sees all of them. With --dtype bf16
weights are f32 masters cast to bf16 for the computation, as autocast does. --scan runs one compiled layer in a loop over stacked
weights, --remat recomputes each layer in the backward pass, --attention library takes jax.nn.dot_product_attention: use the best
of them as the peer. With --decode N it measures generation with a static key-value cache instead, one sequence, greedy; with
--prefill N one forward pass over N tokens up to the last token's logits.
"""
import argparse
import functools
import json
import math
import os
import resource
import statistics
import sys
import time


def read_options():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--model", choices=("gpt2", "llama"), default="gpt2")
    for name, value in (("layers", 12), ("width", 768), ("heads", 12), ("kv-heads", 0), ("ffn", 0), ("vocab", 50257), ("batch", 4),
                        ("seq", 512), ("context", 0), ("steps", 10), ("warmup", 3), ("threads", 0), ("decode", 0), ("prefill", 0),
                        ("seed", 0)):
        a.add_argument("--" + name, type=int, default=value)
    a.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    a.add_argument("--attention", choices=("plain", "library"), default="plain")
    a.add_argument("--scan", action="store_true")
    a.add_argument("--remat", action="store_true")
    o = a.parse_args()
    o.kv_heads = o.kv_heads or o.heads
    o.ffn = o.ffn or 4 * o.width
    o.context = max(o.context, o.seq, o.decode, o.prefill)
    return o


OPTIONS = read_options()
if OPTIONS.threads:
    # XLA's thread pool takes as many threads as there are processors that this process may use.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: OPTIONS.threads])

import jax  # noqa: E402  (after the affinity is set)
import jax.numpy as jnp  # noqa: E402


def init(o, key):
    """Parameters by name; those of the layers are stacked along a first axis where --scan wants it, else lists."""
    w, e = o.width, o.width // o.heads
    llama = o.model == "llama"
    qkv = (o.heads + 2 * o.kv_heads) * e

    def normal(*shape):
        nonlocal key
        key, mine = jax.random.split(key)
        return 0.02 * jax.random.normal(mine, shape, jnp.float32)

    def layer():
        p = {"norm1": jnp.ones(w), "norm2": jnp.ones(w), "qkv": normal(w, qkv), "out": normal(w, w),
             "up": normal(w, o.ffn), "down": normal(o.ffn, w)}
        if llama:
            p["gate"] = normal(w, o.ffn)
        else:
            p |= {"norm1_b": jnp.zeros(w), "norm2_b": jnp.zeros(w), "qkv_b": jnp.zeros(qkv), "out_b": jnp.zeros(w),
                  "up_b": jnp.zeros(o.ffn), "down_b": jnp.zeros(w)}
        return p

    layers = [layer() for _ in range(o.layers)]
    if o.scan:
        layers = jax.tree.map(lambda *x: jnp.stack(x), *layers)
    p = {"tok": normal(o.vocab, w), "norm": jnp.ones(w), "layers": layers}
    if llama:
        p["head"] = normal(o.vocab, w)
    else:
        p |= {"pos": normal(o.context, w), "norm_b": jnp.zeros(w)}
    return p


def norm(o, x, weight, bias=None):
    y = x.astype(jnp.float32)
    if o.model == "llama":
        y = y * jax.lax.rsqrt(jnp.mean(y * y, -1, keepdims=True) + 1e-5)
        return (y * weight).astype(x.dtype)
    y = y - y.mean(-1, keepdims=True)
    y = y * jax.lax.rsqrt(jnp.mean(y * y, -1, keepdims=True) + 1e-5)
    return (y * weight + bias).astype(x.dtype)


def rotary(x, cos, sin):
    a, b = jnp.split(x, 2, -1)  # x [b, s, h, e]
    cos, sin = cos[:, None, :], sin[:, None, :]
    return jnp.concatenate((a * cos - b * sin, b * cos + a * sin), -1).astype(x.dtype)


def attend(o, q, k, v, visible):
    """q [b,s,h,e], k and v [b,t,g,e]; visible [s,t] or None for causal."""
    if o.attention == "library":
        if visible is None:
            return jax.nn.dot_product_attention(q, k, v, is_causal=True)
        return jax.nn.dot_product_attention(q, k, v, mask=visible[None, None])
    b, s, h, e = q.shape
    g = k.shape[2]
    q = q.reshape(b, s, g, h // g, e)
    scores = jnp.einsum("bsgne,btge->bgnst", q, k, preferred_element_type=jnp.float32) / math.sqrt(e)
    mask = jnp.tril(jnp.ones((s, s), bool)) if visible is None else visible
    p = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf), -1).astype(v.dtype)
    return jnp.einsum("bgnst,btge->bsgne", p, v).reshape(b, s, h, e)


def linear(x, p, name):
    y = x @ p[name].astype(x.dtype)
    return y + p[name + "_b"].astype(x.dtype) if name + "_b" in p else y


def block(o, x, p, cos, sin, cache=None, at=None):
    b, s, w = x.shape
    e = w // o.heads
    q, k, v = jnp.split(linear(norm(o, x, p["norm1"], p.get("norm1_b")), p, "qkv"),
                        (o.heads * e, (o.heads + o.kv_heads) * e), -1)
    q, k, v = (t.reshape(b, s, -1, e) for t in (q, k, v))
    if cos is not None:
        q, k = rotary(q, cos, sin), rotary(k, cos, sin)
    visible = None
    if cache is not None:
        k = jax.lax.dynamic_update_slice(cache[0], k, (0, at, 0, 0))
        v = jax.lax.dynamic_update_slice(cache[1], v, (0, at, 0, 0))
        cache = (k, v)
        visible = (jnp.arange(o.context) <= at)[None, :]
    x = x + linear(attend(o, q, k, v, visible).reshape(b, s, w), p, "out")
    y = norm(o, x, p["norm2"], p.get("norm2_b"))
    if o.model == "llama":
        y = jax.nn.silu(linear(y, p, "gate")) * linear(y, p, "up")
    else:
        y = jax.nn.gelu(linear(y, p, "up"), approximate=True)
    return x + linear(y, p, "down"), cache


def angles(o):
    e = o.width // o.heads
    angle = jnp.outer(jnp.arange(o.context), 1.0 / 10000 ** (jnp.arange(0, e, 2) / e))
    return jnp.cos(angle), jnp.sin(angle)


def logits(o, p, tokens, caches=None, at=None, last=False):
    kind = jnp.bfloat16 if o.dtype == "bf16" else jnp.float32
    s = tokens.shape[1]
    start = 0 if at is None else at
    x = p["tok"][tokens].astype(kind)
    cos = sin = None
    if o.model == "llama":
        cos, sin = (jax.lax.dynamic_slice_in_dim(t, start, s) for t in angles(o))
    else:
        x = x + jax.lax.dynamic_slice_in_dim(p["pos"], start, s).astype(kind)
    one = functools.partial(block, o)
    if o.remat:
        one = jax.checkpoint(one)
    out = []
    if o.scan:
        x, _ = jax.lax.scan(lambda y, q: (one(y, q, cos, sin)[0], None), x, p["layers"])
    else:
        for i, q in enumerate(p["layers"]):
            x, cache = one(x, q, cos, sin, caches[i] if caches else None, at)
            out.append(cache)
    if last:
        x = x[:, -1:]
    x = norm(o, x, p["norm"], p.get("norm_b"))
    return x @ p.get("head", p["tok"]).astype(kind).T, out


def loss_of(o, p, text):
    z = logits(o, p, text[:, :-1])[0].astype(jnp.float32)
    target = jnp.take_along_axis(z, text[:, 1:, None], -1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(z, -1) - target)


def train(o):
    p = init(o, jax.random.key(o.seed))
    zeros = lambda: jax.tree.map(jnp.zeros_like, p)  # noqa: E731
    state = (p, zeros(), zeros())

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, text, t):
        p, m, v = state
        loss, g = jax.value_and_grad(functools.partial(loss_of, o))(p, text)
        total = jnp.sqrt(sum(jnp.sum(x * x) for x in jax.tree.leaves(g)))
        scale = jnp.minimum(1.0, 1.0 / (total + 1e-6))

        def update(w, g, m, v):
            g = g * scale
            m = 0.9 * m + 0.1 * g
            v = 0.95 * v + 0.05 * g * g
            decay = 0.1 if w.ndim > (2 if o.scan and w.shape[0] == o.layers else 1) else 0.0
            w = w - 6e-4 * (m / (1 - 0.9**t) / (jnp.sqrt(v / (1 - 0.95**t)) + 1e-8) + decay * w)
            return w, m, v

        new = jax.tree.map(update, p, g, m, v)
        pick = lambda i: jax.tree.map(lambda x: x[i], new, is_leaf=lambda x: isinstance(x, tuple))  # noqa: E731
        return (pick(0), pick(1), pick(2)), loss

    made = jax.random.key(1)
    batches = [jax.random.randint(jax.random.fold_in(made, i), (o.batch, o.seq + 1), 0, o.vocab) for i in range(4)]
    losses, times = [], []
    for i in range(o.warmup + o.steps):
        begin = time.perf_counter()
        state, loss = step(state, batches[i % 4], jnp.float32(i + 1))
        losses.append(float(loss))  # waits for the step
        times.append(time.perf_counter() - begin)
    step_s = statistics.median(times[o.warmup:])
    return {"tokens_per_s": o.batch * o.seq / step_s, "step_ms": 1e3 * step_s, "losses": losses[:5] + losses[-1:]}


def inference_weights(o):
    p = init(o, jax.random.key(o.seed))
    return jax.tree.map(lambda x: x.astype(jnp.bfloat16), p) if o.dtype == "bf16" else p


def decode(o):
    p = inference_weights(o)
    kind = jnp.bfloat16 if o.dtype == "bf16" else jnp.float32
    shape = (1, o.context, o.kv_heads, o.width // o.heads)
    caches = [(jnp.zeros(shape, kind), jnp.zeros(shape, kind)) for _ in range(o.layers)]

    @functools.partial(jax.jit, donate_argnums=2)
    def step(p, token, caches, at):
        z, caches = logits(o, p, token, caches, at)
        return jnp.argmax(z, -1).astype(jnp.int32), caches

    token, times = jnp.zeros((1, 1), jnp.int32), []
    for at in range(o.decode):
        begin = time.perf_counter()
        token, caches = step(p, token, caches, jnp.int32(at))
        token.block_until_ready()
        times.append(time.perf_counter() - begin)
    step_s = statistics.median(times[len(times) // 4:])
    read = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(p))
    return {"tokens_per_s": 1 / step_s, "bytes_per_token": read, "weight_bandwidth": read / step_s}


def prefill(o):
    p = inference_weights(o)
    run = jax.jit(lambda p, tokens: logits(o, p, tokens, last=True)[0])
    tokens = jax.random.randint(jax.random.key(1), (1, o.prefill), 0, o.vocab)
    times = []
    for _ in range(o.warmup + o.steps):
        begin = time.perf_counter()
        run(p, tokens).block_until_ready()
        times.append(time.perf_counter() - begin)
    step_s = statistics.median(times[o.warmup:])
    return {"tokens_per_s": o.prefill / step_s, "step_ms": 1e3 * step_s}


def main():
    o = OPTIONS
    result = decode(o) if o.decode else prefill(o) if o.prefill else train(o)
    result |= {"peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "jax": jax.__version__, "options": vars(o)}
    print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
