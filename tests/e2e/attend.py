"""attend as a composition (bias, mask) against the operator, and the gradient of a bias against differences."""
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
  # A mask as the operator takes it against the composition, which a bias of zeros asks for; and the gradients of both.
  fn apart(q, k, v, mask, cap = 0) {
    fused = attend(q, k, v, mask = mask, cap = cap)
    composed = attend(q, k, v, mask = mask, cap = cap, bias = zeros([1]))
    there, here = sum(composed * q), sum(fused * q)
    return worst([error(fused, composed), error(grad(here, q), grad(there, q)), error(grad(here, k), grad(there, k)), error(grad(here, v), grad(there, v))])
  }
  # The same bias as slopes, and with nothing of data added; and the gradients of both.
  fn tilted(q, k, v, bias, mask, cap = 0) {
    fused = attend(q, k, v, mask = mask, cap = cap, bias = bias)
    composed = attend(q, k, v, mask = mask, cap = cap, bias = bias + 0.0 * q[0, 0, 0, 0])
    there, here = sum(composed * q), sum(fused * q)
    return worst([error(fused, composed), error(grad(here, q), grad(there, q)), error(grad(here, k), grad(there, k)), error(grad(here, v), grad(there, v))])
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
    plain = error(attend(q, k, v), attend(q, k, v, bias = zeros([1])))
    causal = worst([error(attend(q, k, v, causal = true), attend(q, k, v, causal = true, mask = all)), error(attend(q, k, v, causal = true), attend(q, k, v, causal = true, mask = all, bias = zeros([1])))])
    shown = worst([error(attend(q, k, v, causal = true, scale = 0.5), attend(q, k, v, mask = last, scale = 0.5)), error(attend(q, k, v, causal = true, scale = 0.5), attend(q, k, v, mask = last, scale = 0.5, bias = zeros([1])))])
    window = error(attend(q, k, v, causal = true, window = 3), attend(q, k, v, causal = true, window = 3, bias = zeros([t])))
    pos = i32(q[0, 0, 0, 0] * 0) + 1
    moved = error(attend(q, k, v, causal = true, offset = pos), attend(q, k, v, causal = true, offset = pos, mask = all))
    capped = error(attend(q, k, v, causal = true, offset = pos, window = 4, cap = 0.2), attend(q, k, v, causal = true, offset = pos, window = 4, cap = 0.2, mask = all))
    # Log-sum-exps of capped scores, and their gradients against a difference.
    sums = mean(log_sums(q, k, v) * shift[.., .., .., 0])
    raised = mean((log_sums(q + 0.01 * shift[.., .., .., 0 .. w], k, v) - log_sums(q - 0.01 * shift[.., .., .., 0 .. w], k, v)) * shift[.., .., .., 0]) / 0.02
    logs = abs(raised - sum(grad(sums, q) * shift[.., .., .., 0 .. w])) / abs(raised)
    # Biases by distance against the composition, which a bias of all scores asks for, in three ways of writing.
    tilt_of = arrange(0.5 * exp(-0.7 * f32(iota([h]))), "h -> h 1 1")
    far = f32(iota([s, t], axis = 1) - iota([s, t]))
    sloped = worst([tilted(q, k, v, tilt_of * far, none), tilted(q, k, v, tilt_of * (iota([t]) - iota([s, t]) / 1) * -2, last, 0.4), tilted(q, k, v, 0 - far * tilt_of / 3, last)])
    cached = error(attend(q, k, v, causal = true, offset = pos, bias = tilt_of * far), attend(q, k, v, causal = true, offset = pos, bias = tilt_of * far + 0.0 * shift))
    single = error(attend(q[.., .., 0 .. 1], k, v, causal = true, offset = pos, cap = 0.7, bias = tilt_of * far[0 .. 1]), attend(q[.., .., 0 .. 1], k, v, causal = true, offset = pos, cap = 0.7, bias = tilt_of * far[0 .. 1] + 0.0 * shift[.., .., 0 .. 1]))
    blind = max(max(abs(attend(q, k, v, mask = iota([s, t]) < 0))), max(abs(attend(q, k, v, mask = iota([s, t]) < 0, bias = zeros([t])))))

    # Batch axes in front: as many attentions side by side.
    q2, k2, v2 = arrange(q, "b (c h) s w -> c b h s w", c = 2), arrange(k, "b (c g) t w -> c b g t w", c = 2), arrange(v, "b (c g) t w -> c b g t w", c = 2)
    folded = error(attend(q2, k2, v2), stack(attend(q2[0], k2[0], v2[0]), attend(q2[1], k2[1], v2[1])))
    wide = error(attend(q2, k2, v2, bias = shift[.., 0 .. 2]), attend(q2, k2, v2, bias = stack(shift[.., 0 .. 2], shift[.., 0 .. 2])))

    # The gradient of queries through both ways, and of the bias against a difference along `shift`.
    ways = error(grad(sum(attend(q, k, v, causal = true)), q), grad(sum(attend(q, k, v, causal = true, bias = 0.0 * shift)), q))
    bias = 0.3 * shift
    rise = (loss(q, k, v, bias + 0.01 * shift) - loss(q, k, v, bias - 0.01 * shift)) / 0.02
    slope = abs(rise - sum(grad(loss(q, k, v, bias), bias) * shift))

    # Documents: packed rows do as their parts do alone.
    ids = i32(iota([b, s], axis = 1) / 3)
    half = k[.., .., 0 .. s]
    packed = attend(q, half, v[.., .., 0 .. s], mask = nn.same_document(ids))
    alone = attend(q[.., .., 3 .. s], half[.., .., 3 .. s], v[.., .., 3 .. s])
    split = error(packed[.., .., 3 .. s], alone)

    # The operator against the composition, which a bias of zeros asks for; ids in order, and in none; and gradients.
    mixed = i32(3 * shift[.., 0, .., 0] * shift[.., 0, .., 0])
    fused = attend(q, half, v[.., .., 0 .. s], causal = true, window = 4, mask = nn.same_document(mixed))
    composed = attend(q, half, v[.., .., 0 .. s], causal = true, window = 4, mask = nn.same_document(mixed), bias = zeros([1]))
    both = error(fused, composed)
    slopes = max(error(grad(sum(fused * q), q), grad(sum(composed * q), q)), error(grad(sum(fused * q), half), grad(sum(composed * q), half)))
    opened = error(attend(q, half, v[.., .., 0 .. s], mask = nn.prefix_mask(s, 0)), attend(q, half, v[.., .., 0 .. s], causal = true))
    # Other masks of positions: prefixes of all rows, of each row, of documents; windows on both sides; padding.
    other = v[.., .., 0 .. s]
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
    return worst([masks, sloped, cached, single, capped, 0.01 * logs, 0.01 * tilt, plain, causal, shown, window, moved, blind, folded, wide, ways, 0.01 * slope / abs(rise), split, opened, both, slopes])
  }
}
"""


class Attend(e2e.TestCase):
    def test_both_ways_agree(self):
        (self.folder / "m.plim").write_text(MODEL)
        draw = random.Random(1)

        def tensor(*shape):
            count = 1
            for size in shape:
                count *= size
            return ("F32", list(shape), struct.pack(f"<{count}f", *(draw.uniform(-1, 1) for _ in range(count))))
        e2e.write_safetensors(self.folder / "data.safetensors", {
            "q": tensor(2, 4, 6, 8), "k": tensor(2, 2, 9, 8), "v": tensor(2, 2, 9, 8), "shift": tensor(2, 4, 6, 9)})
        program = self.compile("m.plim", out="program")
        done = self.good(program, "eval", "--data", "data.safetensors")
        found = re.match(r"loss ([-+0-9.e]+) over", done.stdout)
        self.assertIsNotNone(found, done.stdout)
        self.assertLess(float(found[1]), 2e-5)


if __name__ == "__main__":
    e2e.unittest.main()
