"""Under a budget: the same bits at every budget, more memory never a slower plan, a least that is one.

PLIM_BUDGETS=10 sweeps so many budgets over all models that come with the compiler, which takes many minutes; without
it there are a few budgets of one model. PLIM_FAR=disk lets values move as well.
"""
import os
import random
import re
import unittest

import e2e

BUDGETS = int(os.environ.get("PLIM_BUDGETS", "0"))
FAR = ("--far", os.environ["PLIM_FAR"]) if "PLIM_FAR" in os.environ else ()
STEPS = 3
if BUDGETS:
    e2e.LIMIT_S = 1200
TEXT = ("-D", "layers=3", "-D", "width=64", "-D", "context=64", "-D", "batch=8")
# Flags, and what the data is: text, or a picture's side.
MODELS = {"gpt2": (TEXT, "text"), "llama": (TEXT + ("-D", "ffn=176"), "text"), "llama_lora": ((), "text"),
          "lstm": ((), "text"), "mlp": ((), "points"), "bert_base": ((), "tokens"), "vit_b16": ((), 32),
          "alexnet": ((), 64), "vgg16": ((), 32), "resnet50": ((), 32), "mnasnet": ((), 32), "mobilenet_v2": ((), 32),
          "efficientnet_b0": ((), 32), "densenet121": ((), 32), "random_wired": ((), 32), "unet": ((), 16)}


DEEP = """use nn
model deep(inputs = 16, width = 256, classes = 4, batch = 2048, layers = 6) {
  fn logits(x) {
    y = first: nn.linear(x, width)
    for i in 0 .. layers { y = tanh(h.{i}: nn.linear(y, width)) }
    return last: nn.linear(y, classes)
  }
  entry train(x: f32[batch, inputs] from data, label: i32[batch] from data, lr: f32 = 0.1) {
    loss = cross_entropy(logits(x), label)
    minimize loss { optimizer = sgd(lr, momentum = 0.9) }
    return loss
  }
}
"""


class Budget(e2e.TestCase):
    def data(self, kind, by_pixel):
        source = random.Random(5)
        if kind == "text":
            (self.folder / "data").write_text(e2e.grammar_text(3000))
        elif kind == "points":
            e2e.write_classes(self.folder / "points", 256)
            points = e2e.read_safetensors(self.folder / "points")
            e2e.write_safetensors(self.folder / "data", {"x": points["x"], "label": points["y"]})
        elif kind == "tokens":
            rows, context = 64, 32
            tokens = e2e.integers([source.randrange(16) for _ in range(rows * context)])
            e2e.write_safetensors(self.folder / "data", {"tokens": ("I32", [rows, context], tokens),
                                                         "labels": ("I32", [rows, context], tokens)})
        else:
            rows, pixels = 64, kind * kind
            shape = [rows, kind, kind] if by_pixel else [rows]
            labels = [source.randrange(4) for _ in range(rows * (pixels if by_pixel else 1))]
            images = e2e.floats([source.gauss(0, 1) for _ in range(rows * 3 * pixels)])
            e2e.write_safetensors(self.folder / "data", {"images": ("F32", [rows, 3, kind, kind], images),
                                                         "labels": ("I32", shape, e2e.integers(labels))})
        return "data"

    def words(self, model):
        return (e2e.SOURCE / "models" / f"{model}.plim", "--config", "tiny", "--entry", "train", *MODELS[model][0])

    def rungs(self, model, *flags):
        """Bytes and predicted times of what there is to choose from, the fastest first."""
        done = self.good(e2e.PLIMC, *self.words(model), *flags, "--frontier")
        found = re.findall(r": +(\d+) bytes +([0-9.]+) ms", done.stdout)
        return [(int(size), float(time)) for size, time in found]

    def least(self, model, *flags):
        done = self.refused(e2e.PLIMC, *self.words(model), *flags, "--budget", "1", "--emit", "plan", "-o", "over")
        self.assertRegex(done.stderr, r"error\[P0801\]: entry train needs \d+ bytes at the least")
        self.assertFalse((self.folder / "over").exists())
        least = int(re.search(r"smallest budget that fits is (\d+) bytes", done.stderr)[1])
        self.assertLessEqual(int(re.search(r"no plan needs less than (\d+) bytes", done.stderr)[1]), least)
        return least

    def trained(self, model, data, *flags):
        """Bytes of all weights and optimizer state after some steps, and the losses."""
        name = f"{model}-{len(list(self.folder.iterdir()))}"
        program = self.compile(*self.words(model), *flags, out=name)
        losses = e2e.losses(self.train_far(program, data, "--far" in flags, "--save", f"{name}.out"))
        files = sorted((self.folder / f"{name}.out" / f"step-{STEPS}").glob("*.safetensors"))
        self.assertTrue(files)
        return losses, [f.read_bytes() for f in files]

    def train_far(self, program, data, far, *flags):
        log = self.folder / "log.jsonl"
        log.unlink(missing_ok=True)
        far = ("--far-dir", self.folder) if far else ()
        self.good(program, "train", "--data", data, "--steps", STEPS, "--log", log, "--quiet", *flags, *far)
        return [e2e.json.loads(line) for line in log.read_text().splitlines()]

    def check_bits(self, model, count):
        """The budgets are spread from the least to one where all is kept."""
        data = self.data(MODELS[model][1], model == "unet")
        rungs = self.rungs(model)
        least = self.least(model, *FAR)
        plain = self.trained(model, data)
        for k in range(count):
            budget = least + (rungs[0][0] - least) * k // max(1, count - 1)
            with self.subTest(model=model, budget=budget):
                self.assertEqual(self.trained(model, data, "--budget", str(budget), *FAR) == plain, True)
        # One byte less than the least is refused, and the least is not (k = 0).
        self.refused(e2e.PLIMC, *self.words(model), *FAR, "--budget", str(least - 1), "--emit", "plan", "-o", "x",
                     says="P0801")

    def test_bits(self):
        for model in MODELS if BUDGETS else ("gpt2",):
            self.check_bits(model, BUDGETS or 2)

    def test_values_in_parts(self):
        """Few large values, which are cut: at each budget that fits only with cut values the bits are those of keeping all."""
        (self.folder / "deep.plim").write_text(DEEP)
        e2e.write_classes(self.folder / "points", 2048)
        points = e2e.read_safetensors(self.folder / "points")
        e2e.write_safetensors(self.folder / "data", {"x": points["x"], "label": points["y"]})
        far = ("--far", "disk")
        done = self.good(e2e.PLIMC, "deep.plim", *far, "--frontier")
        rungs = [(int(size), int(cut)) for size, cut in re.findall(r": +(\d+) bytes .* (\d+) cut ", done.stdout)]
        budgets = [size for k, (size, cut) in enumerate(rungs)
                   if cut and all(size < before for before, _ in rungs[:k])]
        self.assertGreater(len(budgets), 2, done.stdout)
        plain = self.deep()
        for budget in budgets[:: max(1, len(budgets) // e2e.repeats(2))]:
            done = self.good(e2e.PLIMC, "deep.plim", *far, "--budget", str(budget), "--remarks", "--emit", "plan",
                             "-o", "plan")
            self.assertRegex(done.stderr, r"[1-9]\d* cut into parts")
            self.assertRegex(done.stderr, r"are cut into \d parts, of which \d (is|are) ")
            # Six values have one name and place: what they are made of tells them apart.
            self.assertRegex(done.stderr, r"retain: tanh: .*; made at deep.plim:\d+:\d+ from h\.\d\.add")
            self.assertEqual(self.deep("--budget", str(budget), *far) == plain, True, budget)

    def deep(self, *flags):
        """Bytes of its weights after some steps, and the losses."""
        program = self.compile("deep.plim", *flags, out=f"deep-{len(list(self.folder.iterdir()))}")
        saved = f"{program}.out"
        losses = e2e.losses(self.train_far(program, "data", "--far" in flags, "--save", saved))
        files = sorted((self.folder / saved / f"step-{STEPS}").glob("*.safetensors"))
        self.assertTrue(files)
        return losses, [f.read_bytes() for f in files]

    def test_more_memory_is_never_slower(self):
        for model in ("gpt2", "mnasnet", "unet") if BUDGETS else ("gpt2",):
            rungs = self.rungs(model)
            self.assertGreater(len(rungs), 2, model)
            times = {time for _, time in rungs}
            least = self.least(model)
            before = None
            steps = e2e.repeats(6)
            for k in range(steps + 1):
                budget = least + (rungs[0][0] - least) * k // steps
                done = self.good(e2e.PLIMC, *self.words(model), "--budget", str(budget), "--remarks", "--emit", "plan",
                                 "-o", "plan")
                more, keep = re.search(r"takes ([0-9.]+) ms more than the ([0-9.]+) ms", done.stderr).groups()
                time = float(more) + float(keep)
                self.assertTrue(any(abs(time - t) < 0.01 for t in times), (model, budget, time))
                self.assertTrue(before is None or time <= before, (model, budget, time, before))
                before = time
            self.assertEqual(before, min(times), model)

    def test_least_within_a_limit_of_far_memory(self):
        """The least that is told is one that works, with as much far memory as was allowed."""
        graph = e2e.SOURCE / "tests" / "golden" / "plan" / "budget_by_entry.graph"
        rungs = [(int(size), int(far)) for size, far in re.findall(r": +(\d+) bytes .* (\d+) bytes far", self.good(
            e2e.PLIMC, graph, "--far", "disk", "--frontier").stdout)]
        most = max(far for _, far in rungs)
        self.assertGreater(most, 0)
        leasts = []
        for limit in (most, most - 1, 1):
            far = ("--far", f"disk={limit}", "--emit", "plan")
            done = self.refused(e2e.PLIMC, graph, *far, "--budget", "1", "-o", "x", says="P0801.: entry large needs")
            leasts.append(int(re.search(r"smallest budget that fits is (\d+) bytes", done.stderr)[1]))
            self.assertIn(f"{limit} bytes may be moved away", done.stderr)
            self.good(e2e.PLIMC, graph, *far, "--budget", str(leasts[-1]), "-o", "plan", "--quiet")
            spaces = e2e.json.loads(self.good(e2e.PLIM_DUMP, "--json", "plan").stdout)["spaces"]
            self.assertLessEqual(spaces["device"]["bytes"], leasts[-1])
            self.assertLessEqual(spaces.get("disk", {"bytes": 0})["bytes"], limit)
            self.refused(e2e.PLIMC, graph, *far, "--budget", str(leasts[-1] - 1), "-o", "x", says="P0801")
        # The rung that needs the least of the device is the one that has most far away.
        self.assertLess(leasts[0], leasts[1])

    def test_flags(self):
        words = self.words("mlp")
        self.refused(e2e.PLIMC, *words, "--far", "host", "-o", "x", says=r"P0808.*a CPU's far memory is disk, not host")
        self.refused(e2e.PLIMC, *words, "--far", "disk", "--target", "cuda:sm_90a", "-o", "x",
                     says=r"P0808.*a GPU's far memory is host, not disk")
        for value in ("tape", "disk=", "disk=0", "disk=2Gb", "host,disk"):
            self.refused(e2e.PLIMC, *words, "--far", value, "-o", "x", status=2, says="--far takes KIND")
        for value in ("0", "-1", "0.5", "2GB", "1.5gib", "1 GiB", "", "much", "9" * 20):
            self.refused(e2e.PLIMC, *words, "--budget", value, "-o", "x", status=2,
                         says=r"--budget takes SIZE \(bytes, or a number with KiB, MiB or GiB; more than 0\), not " + value)


if __name__ == "__main__":
    unittest.main()
