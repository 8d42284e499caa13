"""Random small models that train, for random_budgets.py: points, tokens or pictures, of layers in random order, with a random optimizer.

Sizes are such that what budgets go by is met: values of 256 KiB and more, which may be cut; states of 64 KiB and more, which may be far; now and then a
weight of 16 MiB, which may come in tiles. The same seed gives the same text and data wherever Python is the same.
"""
import random

import e2e

STEPS = 2
ACTS = ("tanh", "relu", "gelu", "silu", "sigmoid")


class RandomModel:
    """text: the model; data: what to train on, as a file's tensors; flags: of plimc."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.lines, self.labels = [], 0
        self.classes = self.r.choice((4, 10, 64))
        self.kind = self.r.choice(("points", "points", "tokens", "pictures"))
        self.batch = self.r.choice({"points": (64, 256, 512, 1024), "tokens": (2, 4, 8), "pictures": (4, 8, 16)}[self.kind])
        getattr(self, self.kind)()
        self.flags = ["--threads", str(self.r.choice((1, 2)))]
        self.text = self.write(self.minimize())

    def chance(self, share):
        return self.r.random() < share

    def say(self, line):
        self.lines.append("    " + line)

    def label(self):
        self.labels += 1
        return f"l{self.labels}"

    # --- Vectors [..., width] ---

    def linear(self, out, of="x", act=None):
        call = f"{self.label()}: nn.linear({of}, {out}{', bias = false' if self.chance(0.2) else ''})"
        return f"{act}({call})" if act else call

    def vector_layer(self, width):
        """One more layer of x; the width behind it."""
        kind = self.r.choice(("linear", "linear", "residual", "norm", "drop", "gate", "wide", "join", "softmax"))
        act = self.r.choice(ACTS)
        if kind == "linear":
            width = self.r.choice((64, 128, 256, 512)) if self.chance(0.4) else width
            self.say(f"x = {self.linear(width, act=act)}")
        elif kind == "residual":
            self.say(f"x = x + {self.linear(width, act=act)}")
        elif kind == "norm":
            self.say(f"x = {self.label()}: nn.{self.r.choice(('layernorm', 'rmsnorm'))}(x)")
        elif kind == "drop":
            self.say("x = where(uniform(x.shape, 0, 1) < 0.9, x, 0.1 * x)")
        elif kind == "gate":
            self.say(f"x = x * {self.linear(width, act='sigmoid')} + {self.r.choice(('x', 'tanh(x)'))}")
        elif kind == "wide":
            self.say(f"x = x + {self.linear(width, of=self.linear(width * self.r.choice((2, 4)), act=act))}")
        elif kind == "join":
            half = width // 2
            self.say(f"x = concat({self.linear(half, act=act)}, {self.linear(width - half, act='tanh')}, axis = -1)")
        else:
            self.say("x = x + softmax(x)")
        return width

    def points(self):
        width = self.r.choice((128, 256, 512))
        if self.chance(0.1):  # Weights of 16 MiB: tiles.
            width, self.batch = 2048, 64
        self.inputs = self.r.choice((16, 64))
        self.say(f"x = {self.linear(width, act='tanh')}")
        long = self.chance(0.3)
        if long:
            self.say("early = x")
        first = width
        for _ in range(self.r.randrange(2, 4 if width == 2048 else 9)):
            width = self.vector_layer(width) if width < 2048 else self.big_layer(width)
        if long and width == first:
            self.say("x = x + early")
        self.say(f"return {self.linear('classes')}")
        self.takes = f"x: f32[batch, {self.inputs}] from data, label: i32[batch] from data"
        self.loss = "cross_entropy(logits(x), label)"

    def big_layer(self, width):
        self.say(f"x = {self.linear(width, act='tanh')}")
        return width

    # --- Tokens ---

    def tokens(self):
        self.context, self.vocab = self.r.choice((32, 64, 128)), self.r.choice((64, 256))
        width = self.r.choice((64, 128, 256))
        heads = self.r.choice((1, 2, 4))
        tied = self.chance(0.5)
        self.say("x = wte[x]")
        for _ in range(self.r.randrange(1, 4)):
            window = f", window = {self.context // 2}" if self.chance(0.2) else ""
            self.say(f"q, k, v = arrange({self.linear(3 * width)}, \"b s (3 h e) -> 3 b h s e\", h = {heads})")
            self.say(f"x = x + {self.linear(width, of=f'arrange(attend(q, k, v, causal = true{window}), {chr(34)}b h s e -> b s (h e){chr(34)})')}")
            if self.chance(0.8):
                self.say(f"x = {self.label()}: nn.layernorm(x)")
            before = width
            width = self.vector_layer(width)
            if width != before:
                self.say(f"x = {self.linear(before)}")
                width = before
        self.say('return einsum(x, wte, "b s d, v d -> b s v")' if tied else f"return {self.linear(self.vocab)}")
        self.table = f"  wte = param [{self.vocab}, {width}] ~ normal(0.05)\n"
        self.takes = f"x: i32[batch, {self.context}] from data, label: i32[batch, {self.context}] from data"
        self.loss = "cross_entropy(logits(x), label)"

    # --- Pictures ---

    def pictures(self):
        self.side = self.r.choice((16, 32))
        width = self.r.choice((8, 16, 32))
        side = self.side
        self.say(f"x = {self.label()}: nn.conv2d(x, {width}, 3, padding = 1)")
        for _ in range(self.r.randrange(2, 6)):
            kind = self.r.choice(("conv", "residual", "pool", "norm", "double"))
            act = self.r.choice(("relu", "silu", "relu6"))
            if kind == "conv":
                self.say(f"x = {act}({self.label()}: nn.conv2d(x, {width}, {self.r.choice((1, 3))}, padding = 0))")
                side -= 2
            elif kind == "residual":
                self.say(f"x = x + {act}({self.label()}: nn.batchnorm({self.label()}: nn.conv2d(x, {width}, 3, padding = 1)))")
            elif kind == "norm":
                self.say(f"x = {act}({self.label()}: nn.batchnorm(x))")
            elif kind == "pool" and side >= 8:
                self.say(f"x = {self.r.choice(('max_pool', 'avg_pool'))}(x, 2)")
                side //= 2
            elif kind == "double":
                self.say(f"x = {self.label()}: nn.double(x, {width})")
        self.say(f"return {self.linear('classes', of='nn.global_pool(x)')}")
        self.takes = f"x: f32[batch, 3, {self.side}, {self.side}] from data, label: i32[batch] from data"
        self.loss = "cross_entropy(logits(x), label)"

    # --- Around it ---

    def minimize(self):
        rate = "lr * warmup_cosine(2, floor = 0.1)" if self.chance(0.3) else "lr"
        decay = ", decay = 0.1" if self.chance(0.5) else ""
        said = [f"optimizer = {self.r.choice((f'adamw({rate}{decay})', f'sgd({rate})', f'sgd({rate}, momentum = 0.9{decay})', f'sgd({rate}, momentum = 0.9, nesterov = true)'))}"]
        if self.chance(0.35):
            said.append("update = fused")
        else:
            if self.chance(0.4):
                said.append(f"accumulate = {self.r.choice((2, 4) if self.batch >= 4 else (2,))}")
            if self.chance(0.5):
                said.append("clip = global_norm(0.5)")
        if self.chance(0.25):
            said.append("precision = bf16")
        if self.chance(0.2):
            said.append('at "l2.**" { frozen = true }')
        return "; ".join(said)

    def write(self, minimize):
        train = f"  entry train({self.takes}, lr: f32 = 0.02) {{\n    loss = {self.loss}\n    minimize loss {{ {minimize} }}\n    return loss\n  }}\n"
        test = f"  entry eval({self.takes}) {{ return {self.loss} }}\n" if self.chance(0.5) else ""
        return (f"use nn\nmodel random(batch = {self.batch}, classes = {self.classes}) {{\n{getattr(self, 'table', '')}"
                "  fn logits(x) {\n" + "\n".join(self.lines) + f"\n  }}\n{train}{test}}}\n")

    def tensors(self):
        """The data's file: rows for all steps."""
        rows = self.batch * STEPS
        if self.kind == "tokens":
            shape, count = [rows, self.context], rows * self.context
            return {"x": ("I32", shape, e2e.integers([self.r.randrange(self.vocab) for _ in range(count)])),
                    "label": ("I32", shape, e2e.integers([self.r.randrange(self.vocab) for _ in range(count)]))}
        shape = [rows, self.inputs] if self.kind == "points" else [rows, 3, self.side, self.side]
        count = 1
        for dim in shape:
            count *= dim
        return {"x": ("F32", shape, e2e.floats([self.r.gauss(0, 1) for _ in range(count)])),
                "label": ("I32", [rows], e2e.integers([self.r.randrange(self.classes) for _ in range(rows)]))}
