"""Networks of images that come with the compiler, and the LSTM, at tiny sizes: they compile, their plans verify, they train
for some steps with a falling loss. At full size they are planned, with the published numbers of parameters."""
import json
import random

import e2e

STEPS = 20
# Sides of the tiny images.
NETS = {"alexnet": 64, "vgg16": 32, "resnet50": 32, "mnasnet": 32, "efficientnet_b0": 32,
        "densenet121": 32, "random_wired": 32}
PUBLISHED = {"alexnet": 61_100_840, "vgg16": 138_357_544, "resnet50": 25_557_032, "mobilenet_v2": 3_504_872,
             "mnasnet": 4_383_312, "efficientnet_b0": 5_288_548, "densenet121": 7_978_856, "unet": 34_520_533,
             "lstm": 4_464_896, "random_wired": 5_690_884}
if e2e.SCALE > 1:
    NETS = {"alexnet": 64}
    PUBLISHED = {net: PUBLISHED[net] for net in ("resnet50", "unet", "lstm")}


class Images(e2e.TestCase):
    def pictures(self, rows, side, by_pixel=False):
        """A class is a colour, under noise; pixel by pixel it is which of two channels is brighter, and the sign of a third."""
        source = random.Random(side)
        colour = [[source.gauss(0, 1) for _ in range(3)] for _ in range(4)]
        pixels, labels = [], []
        for row in range(rows):
            if by_pixel:
                image = [[source.gauss(0, 1) for _ in range(side * side)] for _ in range(3)]
                labels += [2 * (r > g) + (b > 0) for r, g, b in zip(*image)]
            else:
                labels.append(row % 4)
                image = [[level + source.random() * 0.4 for _ in range(side * side)] for level in colour[row % 4]]
            pixels += [x for channel in image for x in channel]
        shape = [rows, side, side] if by_pixel else [rows]
        e2e.write_safetensors(self.folder / "images", {"images": ("F32", [rows, 3, side, side], e2e.floats(pixels)),
                                                       "labels": ("I32", shape, e2e.integers(labels))})
        return "images"

    def learns(self, model, data, below, *flags):
        """The program, once its loss has fallen below that share of the first."""
        source = e2e.SOURCE / "models" / f"{model}.plim"
        program = self.compile(source, "--config", "tiny", *flags, out=model)
        self.good(e2e.PLIM_DUMP, program, "--verify")
        lines = self.train(program, data, "--save", f"{model}.out", steps=STEPS)
        losses = e2e.losses(lines)
        self.assertLess(min(losses[-3:]), below * losses[0], (model, losses))
        self.check_arena(program, data)
        return program

    def test_nets(self):
        for model, side in NETS.items():
            with self.subTest(model):
                self.learns(model, self.pictures(64, side), 0.93, "--entry", "train")

    def test_unet(self):
        self.learns("unet", self.pictures(32, 16, by_pixel=True), 0.85, "--entry", "train")

    def test_running_statistics(self):
        """A batch norm's running statistics, learnt in training, serve where a row stands alone."""
        data = self.pictures(64, 32)
        program = self.learns("mobilenet_v2", data, 0.93)
        first = self.compile(e2e.SOURCE / "models" / "mobilenet_v2.plim", "--config", "tiny", "-D", "batch=1",
                             "--entry", "eval", out="alone")
        loss = {}
        for name, one, steps in ("many", program, 4), ("alone", first, 64):
            done = self.good(one, "eval", "--data", data, "--weights", e2e.saved(self.folder / "mobilenet_v2.out"),
                             "--steps", steps)
            loss[name] = float(done.stdout.split()[1])
        self.assertAlmostEqual(loss["many"], loss["alone"], delta=2e-3)

    def test_lstm(self):
        (self.folder / "text").write_text(e2e.grammar_text(3000))
        self.learns("lstm", "text", 0.7, "--entry", "train")

    def test_published_sizes(self):
        for model, parameters in PUBLISHED.items():
            for batch in (1, 32) if model == "resnet50" else (32,):
                self.good(e2e.PLIMC, e2e.SOURCE / "models" / f"{model}.plim", "-D", f"batch={batch}", "--emit", "plan",
                          "-o", "big.plan")
                info = json.loads(self.good(e2e.PLIM_DUMP, "big.plan", "--json").stdout)
                space = info["spaces"]["device"]
                self.assertGreaterEqual(space["bytes"], space["load"])
                self.assertEqual(e2e.count_parameters(self.folder / "big.plan"), parameters, model)


if __name__ == "__main__":
    e2e.unittest.main()
