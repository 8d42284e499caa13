"""attend against products and a softmax written out, masks and biases in all their forms, and the gradient of a bias against differences."""
import random
import re
import struct

import e2e

MODEL = """
use nn
model m(b = 2, h = 4, g = 2, s = 6, t = 9, w = 8) {
  fn worst(list) {
    all = list[0]
    for x in list { all = max(all, x) }
    return all
  }
  fn error(x, y) { return max(abs(x - y)) }
  # attend as it is defined, with all scores in memory; a query that sees nothing gives 0.
  fn composed(q: [n, c, i, e], k: [n, d, j, e], v: [n, d, j, f], causal = false, window = 0, scale = none, offset = none,
              bias = none, mask = none, cap = 0) {
    keys, values = arrange(k, "n d j e -> n (d r) j e", r = c / d), arrange(v, "n d j f -> n (d r) j f", r = c / d)
    if scale == none { scale = 1 / sqrt(e) }
    if offset == none { offset = j - i }
    x = einsum(q, keys, "n c i e, n c j e -> n c i j") * scale
    if cap > 0 { x = cap * tanh(x / cap) }
    if bias != none { x = x + bias }
    key, place = iota([i, j], axis = 1), iota([i, j]) + offset
    seen = key >= 0
    if causal { seen = seen and key <= place }
    if window > 0 { seen = seen and key > place - window }
    if mask != none { seen = seen and mask }
    weights = where(seen, softmax(where(seen, x, -1e30)), 0.0)
    return einsum(weights, values, "n c i j, n c j f -> n c i f")
  }
  # The operator against that, and the gradients of both, by a bias too.
  fn apart(q, k, v, mask = none, cap = 0, causal = false, window = 0, bias = none, learn = none) {
    here = attend(q, k, v, mask = mask, cap = cap, causal = causal, window = window, bias = bias)
    there = composed(q, k, v, mask = mask, cap = cap, causal = causal, window = window, bias = bias)
    x, y = sum(here * q), sum(there * q)
    all = [error(here, there), error(grad(x, q), grad(y, q)), error(grad(x, k), grad(y, k)), error(grad(x, v), grad(y, v))]
    if learn == none { return worst(all) }
    return max(worst(all), error(grad(x, learn), grad(y, learn)))
  }
  fn log_sums(q, k, v) {
    out, lse = attend(q, k, v, causal = true, cap = 0.4, lse = true)
    return lse
  }
  fn loss(q, k, v, bias) { return mean(attend(q, k, v, causal = true, bias = bias) * attend(q, k, v)) }

  entry eval(q: f32[b, h, s, w] from data, k: f32[b, g, t, w] from data, v: f32[b, g, t, w] from data,
             shift: f32[b, h, s, t] from data) {
    all = iota([s, t]) == iota([s, t])
    last = iota([s, t], axis = 1) <= iota([s, t]) + t - s
    plain = worst([error(attend(q, k, v), composed(q, k, v)), error(attend(q, k, v, bias = zeros([1])), composed(q, k, v))])
    causal = worst([apart(q, k, v, causal = true), apart(q, k, v, causal = true, mask = all)])
    shown = error(attend(q, k, v, causal = true, scale = 0.5), composed(q, k, v, mask = last, scale = 0.5))
    window = worst([apart(q, k, v, causal = true, window = 3), apart(q, k, v, causal = true, window = 3, bias = zeros([t]))])
    pos = i32(q[0, 0, 0, 0] * 0) + 1
    moved = error(attend(q, k, v, causal = true, offset = pos), composed(q, k, v, causal = true, offset = pos))
    capped = error(attend(q, k, v, causal = true, offset = pos, window = 4, cap = 0.2), composed(q, k, v, causal = true, offset = pos, window = 4, cap = 0.2))
    # Log-sum-exps of capped scores, and their gradients against a difference.
    sums = mean(log_sums(q, k, v) * shift[.., .., .., 0])
    raised = mean((log_sums(q + 0.01 * shift[.., .., .., 0 .. w], k, v) - log_sums(q - 0.01 * shift[.., .., .., 0 .. w], k, v)) * shift[.., .., .., 0]) / 0.02
    logs = abs(raised - sum(grad(sums, q) * shift[.., .., .., 0 .. w])) / abs(raised)
    # Biases by distance, in three ways of writing.
    tilt_of = arrange(0.5 * exp(-0.7 * f32(iota([h]))), "h -> h 1 1")
    far = f32(iota([s, t], axis = 1) - iota([s, t]))
    sloped = worst([apart(q, k, v, bias = tilt_of * far), apart(q, k, v, last, 0.4, bias = tilt_of * (iota([t]) - iota([s, t]) / 1) * -2), apart(q, k, v, last, bias = 0 - far * tilt_of / 3)])
    cached = error(attend(q, k, v, causal = true, offset = pos, bias = tilt_of * far), composed(q, k, v, causal = true, offset = pos, bias = tilt_of * far))
    first = q[.., .., 0 .. 1]
    single = error(attend(first, k, v, causal = true, offset = pos, cap = 0.7, bias = tilt_of * far[0 .. 1]), composed(first, k, v, causal = true, offset = pos, cap = 0.7, bias = tilt_of * far[0 .. 1]))
    blind = max(max(abs(attend(q, k, v, mask = iota([s, t]) < 0))), max(abs(attend(q, k, v, mask = iota([s, t]) < 0, bias = zeros([t])))))

    # Biases of data, the same along some axes, and learned: their gradients are sums along these.
    whole, of_head, of_key, of_row = 3 * shift, 2 * shift[0], shift[.., 0 .. 1, 0 .. 1], shift[.., .., .., 0 .. 1]
    one, of_query = shift[0, .., 0 .. 1, 0 .. 1], shift[1, 0 .. 1, .., 0 .. 1]
    learned = worst([apart(q, k, v, bias = whole, learn = whole), apart(q, k, v, bias = of_head, learn = of_head), apart(q, k, v, bias = of_key, learn = of_key),
                     apart(q, k, v, bias = of_row, learn = of_row), apart(q, k, v, bias = one + of_key, learn = one), apart(q, k, v, bias = of_query, learn = of_query),
                     apart(q, k, v, last, 0.4, true, 4, of_head, of_head), apart(q, k, v, last or of_key > 0, 0.4, bias = of_head + tilt_of * far, learn = of_head)])
    # By how far a key is, in buckets (T5).
    table = shift[0, .., 0, ..]
    placed = arrange(arrange(table, "h n -> n h")[min(abs(i32(far)), 3)], "s t h -> h s t")
    relative = apart(q, k, v, causal = true, bias = placed, learn = table)
    # Masks of data, of heads, trees, with holes; beside what a table tells, a bias, and a cache.
    tree, padded, of_heads = shift[0, 0] > -0.2, shift[.., 0 .. 1, 0 .. 1] > -0.4, shift[0, .., 0 .. 1, 0 .. 1] > 0
    holes = iota([s, t]) - iota([s, t], axis = 1) < 2 and last or iota([s, t], axis = 1) < 2
    hidden = worst([apart(q, k, v, tree), apart(q, k, v, padded), apart(q, k, v, of_heads, 0.3), apart(q, k, v, holes, causal = true, window = 5),
                    apart(q, k, v, padded and last, bias = of_head, learn = of_head), apart(q, k, v, tree and not of_heads), apart(q, k, v, tree, bias = tilt_of * far)])
    stored = worst([error(attend(q, k, v, causal = true, offset = pos, mask = tree, bias = whole), composed(q, k, v, causal = true, offset = pos, mask = tree, bias = whole)),
                    error(attend(first, k, v, causal = true, offset = pos, mask = padded, bias = of_key, cap = 2), composed(first, k, v, causal = true, offset = pos, mask = padded, bias = of_key, cap = 2))])
    # A bias shows in the log-sum-exp, and learns by it.
    plus, lse = attend(q, k, v, bias = of_head, lse = true)
    known = einsum(q, arrange(k, "b g t e -> b (g r) t e", r = h / g), "b h s e, b h t e -> b h s t") / sqrt(w) + of_head
    summed = log(sum(exp(known), "b h s t -> b h s"))
    tops = worst([error(lse, summed), error(grad(sum(lse * lse), of_head), grad(sum(summed * summed), of_head))])

    # Batch axes in front: as many attentions side by side.
    q2, k2, v2 = arrange(q, "b (c h) s w -> c b h s w", c = 2), arrange(k, "b (c g) t w -> c b g t w", c = 2), arrange(v, "b (c g) t w -> c b g t w", c = 2)
    folded = error(attend(q2, k2, v2), stack(attend(q2[0], k2[0], v2[0]), attend(q2[1], k2[1], v2[1])))
    part = shift[.., 0 .. 2]
    wide = worst([error(attend(q2, k2, v2, bias = part), stack(attend(q2[0], k2[0], v2[0], bias = part), attend(q2[1], k2[1], v2[1], bias = part))),
                  error(attend(q2, k2, v2, bias = of_head[0 .. 2]), stack(attend(q2[0], k2[0], v2[0], bias = of_head[0 .. 2]), attend(q2[1], k2[1], v2[1], bias = of_head[0 .. 2]))),
                  error(attend(q2, k2, v2, mask = stack(part > 0, part < 0.3)), stack(attend(q2[0], k2[0], v2[0], mask = part > 0), attend(q2[1], k2[1], v2[1], mask = part < 0.3)))])

    # The gradient of the bias against a difference along `shift`.
    bias = 0.3 * shift
    rise = (loss(q, k, v, bias + 0.01 * shift) - loss(q, k, v, bias - 0.01 * shift)) / 0.02
    slope = abs(rise - sum(grad(loss(q, k, v, bias), bias) * shift))

    # Documents: packed rows do as their parts do alone.
    ids = i32(iota([b, s], axis = 1) / 3)
    half = k[.., .., 0 .. s]
    packed = attend(q, half, v[.., .., 0 .. s], mask = nn.same_document(ids))
    alone = attend(q[.., .., 3 .. s], half[.., .., 3 .. s], v[.., .., 3 .. s])
    split = error(packed[.., .., 3 .. s], alone)

    # Ids in order, and in none.
    mixed = i32(3 * shift[.., 0, .., 0] * shift[.., 0, .., 0])
    other = v[.., .., 0 .. s]
    both = worst([apart(q, half, other, nn.same_document(mixed), causal = true, window = 4), apart(q, half, other, nn.same_document(mixed) and padded[.., .., .., 0 .. s])])
    opened = error(attend(q, half, v[.., .., 0 .. s], mask = nn.prefix_mask(s, 0)), attend(q, half, v[.., .., 0 .. s], causal = true))
    # Other masks of positions: prefixes of all rows, of each row, of documents; windows on both sides; padding.
    query, key = iota([s, s]), iota([s, s], axis = 1)
    prefix = i32(3.0 + 3.0 * shift[.., 0, 0, 0])
    own = key <= query or key < arrange(prefix, "b -> b 1 1 1")
    masks = worst([apart(q, half, other, nn.prefix_mask(s, 3)), apart(q, half, other, own),
                   apart(q, half, other, own and nn.same_document(mixed)), apart(q, half, other, key < query + 3 and query - key < 2),
                   apart(q, half, other, nn.same_document(ids) and key - 2 < query), apart(q, half, other, own, 0.3), apart(q, k, v, last, 50), apart(q, k, v, iota([t]) < arrange(prefix, "b -> b 1 1 1"))])
    way = shift[.., .., .., 0 .. w]
    value = mean(attend(q, half, other, mask = own) * way)
    changed = mean((attend(q + 0.01 * way, half, other, mask = own) - attend(q - 0.01 * way, half, other, mask = own)) * way)
    tilt = abs(changed / 0.02 - sum(grad(value, q) * way)) / abs(changed / 0.02)
    return worst([masks, sloped, cached, single, capped, 0.01 * logs, 0.01 * tilt, plain, causal, shown, window, moved, blind, folded, wide, learned, relative, hidden, stored, tops, 0.01 * slope / abs(rise), split, opened, both])
  }
}
"""

# An encoder that learns by how far a key is what it is worth, as T5 does; `written`: attention as products and a softmax.
RELATIVE = """
use nn
model t5(s = 200, d = 32, h = 2, layers = 2, batch = 4, written = false) {
  # Buckets of how far a key is, on either side: each distance up to 8, then wider ones (T5).
  fn bucket(s) {
    far = iota([s, s], axis = 1) - iota([s, s])
    steps = f32(max(abs(far), 1))
    wide = min(8 + i32(log(steps / 8) / log(128 / 8) * 8), 15)
    return 16 * i32(far > 0) + where(abs(far) < 8, abs(far), wide)
  }
  fn attention(x: [b, s, d], h, bias) {
    q, k, v = arrange(qkv: nn.linear(x, 3 * d), "b s (3 h e) -> 3 b h s e", h = h)
    if written {
      scores = einsum(q, k, "b h s e, b h t e -> b h s t") / sqrt(d / h) + bias
      y = einsum(softmax(scores), v, "b h s t, b h t e -> b h s e")
    } else { y = attend(q, k, v, bias = bias) }
    return out: nn.linear(arrange(y, "b h s e -> b s (h e)"), d)
  }
  fn block(x: [b, s, d], h, bias) {
    x = x + attn: attention(ln_1: nn.layernorm(x), h, bias)
    return x + down: nn.linear(gelu(up: nn.linear(ln_2: nn.layernorm(x), 4 * d)), d)
  }
  entry train(x: f32[batch, s, d] from data, y: f32[batch, s, d] from data, lr: f32 = 1e-3) {
    table = param [32, h] ~ normal(0.5)
    bias = arrange(table, "n h -> (h n)")[bucket(s) + 32 * arrange(iota([h]), "h -> h 1 1")]
    for i in 0 .. layers { x = h.{i}: block(x, h, bias) }
    loss = mean((x - y) * (x - y))
    minimize loss { optimizer = adamw(lr) }
    return loss
  }
}
"""


class Attend(e2e.TestCase):
    @staticmethod
    def draws():
        draw = random.Random(1)

        def tensor(*shape):
            count = 1
            for size in shape:
                count *= size
            return ("F32", list(shape), struct.pack(f"<{count}f", *(draw.uniform(-1, 1) for _ in range(count))))
        return tensor

    def test_both_ways_agree(self):
        (self.folder / "m.plim").write_text(MODEL)
        tensor = self.draws()
        e2e.write_safetensors(self.folder / "data.safetensors", {
            "q": tensor(2, 4, 6, 8), "k": tensor(2, 2, 9, 8), "v": tensor(2, 2, 9, 8), "shift": tensor(2, 4, 6, 9)})
        program = self.compile("m.plim", out="program")
        done = self.good(program, "eval", "--data", "data.safetensors")
        found = re.match(r"loss ([-+0-9.e]+) over", done.stdout)
        self.assertIsNotNone(found, done.stdout)
        self.assertLess(float(found[1]), 2e-5)

    def test_a_relative_bias_is_learned_in_less_memory(self):
        (self.folder / "t5.plim").write_text(RELATIVE)
        tensor = self.draws()
        e2e.write_safetensors(self.folder / "data.safetensors", {"x": tensor(4, 200, 32), "y": tensor(4, 200, 32)})

        def trained(name, *flags):
            program = self.compile("t5.plim", *flags, out=name)
            one, three = (self.train(program, "data.safetensors", "--threads", threads, steps=25) for threads in (1, 3))
            self.assertEqual(e2e.losses(one), e2e.losses(three))
            return e2e.losses(one), one[-1]["plan_peak_bytes"]
        streamed, peak = trained("streamed")
        written, written_peak = trained("written", "-D", "written=true")
        self.assertLess(streamed[-1], 0.9 * streamed[0])
        for here, there in zip(streamed, written):
            self.assertLess(abs(here - there), 1e-5 * there)
        self.assertLess(peak, 0.7 * written_peak)
        # In less memory yet the same bits: what a bias's gradient sums does not depend on the plan.
        tight, tight_peak = trained("tight", "--budget", int(0.8 * peak))
        self.assertLess(tight_peak, 0.85 * peak)
        self.assertEqual(tight, streamed)


if __name__ == "__main__":
    e2e.unittest.main()
