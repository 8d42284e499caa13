"""A network of convolutions learns, on any number of threads alike, in its planned memory; its gradients are slopes."""
import random
import re
import struct

import e2e

MODEL = """
use nn
model m(batch = 16) {
  net: body(_)
  fn body(x) {
    x = relu(a: nn.conv2d(x, 16, 3, stride = 2, padding = 1))
    x = x + relu(b: nn.conv2d(x, 16, 5, padding = 2, groups = 16))
    x = concat(relu(c: nn.conv2d(x, 8, 1)), relu(d: nn.conv2d(x, 8, 3, padding = 1, groups = 2)), axis = 1)
    x = relu(e: nn.conv2d(x, 24, 3, stride = 2, padding = ((0, 1), (1, 1)), dilation = (1, 2), bias = false))
    return f: nn.linear(mean(x, [2, 3]), 4)
  }
  entry train(x: f32[batch, 3, 16, 15] from data, y: i32[batch] from data, lr: f32 = 0.01) {
    loss = cross_entropy(net(x), y)
    minimize loss { optimizer = adamw(lr) }
    return loss
  }
  entry eval(x: f32[batch, 3, 16, 15] from data, y: i32[batch] from data) {
    g = grad(cross_entropy(net(x), y), x)
    step = 0.02 * g / sqrt(sum(g * g))
    rise = cross_entropy(net(x + step), y) - cross_entropy(net(x - step), y)
    return abs(rise / (2 * sum(g * step)) - 1)
  }
}
"""


def write_images(path, rows):
    """Stripes of four directions with noise: what a kernel can tell apart and a pixel can't."""
    draw = random.Random(1)
    images, labels = [], []
    for _ in range(rows):
        label, shift = draw.randrange(4), draw.randrange(4)
        across, down = ((1, 0), (0, 1), (1, 1), (1, -1))[label]
        for _ in range(3):
            images += [((down * h + across * w + shift) % 4 < 2) - 0.5 + draw.gauss(0, 0.2)
                       for h in range(16) for w in range(15)]
        labels.append(label)
    e2e.write_safetensors(path, {
        "x": ("F32", [rows, 3, 16, 15], struct.pack(f"<{len(images)}f", *images)),
        "y": ("I32", [rows], struct.pack(f"<{rows}i", *labels))})


class Convolutions(e2e.TestCase):
    def setUp(self):
        super().setUp()
        (self.folder / "m.plim").write_text(MODEL)
        write_images(self.folder / "data.safetensors", 64)

    def test_a_network_learns(self):
        steps = 60
        ways = [(), ("--precision", "bf16"), ("--target", "cpu:native")]
        for flags in ways[:e2e.repeats(len(ways))]:
            program = self.compile("m.plim", *flags)
            lines = self.train(program, "data.safetensors", steps=steps)
            self.assertGreater(lines[0]["loss"], 1.0)
            self.assertLess(lines[-1]["loss"], 0.3, flags)
            self.check_resident(lines, None)

    def test_threads_change_no_bit(self):
        program = self.compile("m.plim")
        found = [e2e.losses(self.train(program, "data.safetensors", "--threads", str(n), steps=20)) for n in (1, 2, 5)]
        self.assertEqual(found[0], found[1])
        self.assertEqual(found[0], found[2])

    def test_gradients_are_slopes(self):
        program = self.compile("m.plim")
        lines = self.train(program, "data.safetensors", "--save", "out", steps=20)
        done = self.good(program, "eval", "--data", "data.safetensors", "--weights", e2e.saved(self.folder / "out"))
        found = re.match(r"loss ([-+0-9.e]+) over", done.stdout)
        self.assertIsNotNone(found, done.stdout)
        self.assertLess(float(found[1]), 0.02)


if __name__ == "__main__":
    e2e.unittest.main()
