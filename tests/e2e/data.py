"""Where a program's data come from: several files, folders, images, tokens, epochs, and what is held out."""
import json
import random
import re
import struct

import e2e

WIDTH, CLASSES, BATCH = 16, 4, 8


def write_npy(path, descr, shape, data):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data)


class Data(e2e.TestCase):
    def classifier(self):
        return self.compile(e2e.SOURCE / "models/mlp.plim", "--config", "tiny")

    def rows(self, count, seed=1):
        """Values x and labels of noisy points round one centre a class."""
        source, fixed = random.Random(seed), random.Random(99)
        centre = [[fixed.gauss(0, 1) for _ in range(WIDTH)] for _ in range(CLASSES)]
        labels = [source.randrange(CLASSES) for _ in range(count)]
        return [[c + source.gauss(0, 0.5) for c in centre[label]] for label in labels], labels

    def write_table(self, name, x, labels):
        e2e.write_safetensors(self.folder / name, {
            "x": ("F32", [len(x), WIDTH], e2e.floats([v for row in x for v in row])),
            "label": ("I32", [len(x)], e2e.integers(labels))})

    def logged(self, program, *options):
        self.good(program, "train", *options, "--log", "log.jsonl", "--quiet")
        return [json.loads(line) for line in (self.folder / "log.jsonl").read_text().splitlines()]

    def evaluated(self, program, *options):
        done = self.good(program, "eval", *options)
        found = re.match(r"loss ([0-9.]+) over ([0-9]+) steps", done.stdout)
        return float(found[1]), int(found[2])

    def test_files_cut_anywhere_train_the_same(self):
        program = self.classifier()
        x, labels = self.rows(100)
        self.write_table("all", x, labels)
        (self.folder / "parts").mkdir()
        for name, begin, end in (("a", 0, 31), ("b", 31, 32), ("c", 32, 100)):
            self.write_table(f"parts/{name}", x[begin:end], labels[begin:end])
        (self.folder / "parts/.hidden").write_text("no data")
        flat = [v for row in x for v in row]
        write_npy(self.folder / "x.npy", "<f8", [100, WIDTH], struct.pack(f"<{len(flat)}d", *flat))
        write_npy(self.folder / "labels.npy", "<i8", [100], struct.pack("<100q", *labels))
        whole = e2e.losses(self.logged(program, "--data", "all", "--steps", "30"))
        for data in (("--data", "parts/a", "parts/b", "parts/c"), ("--data", "parts"),
                     ("--data", "parts/a", "--data=parts/b", "--data", "parts/c"),
                     ("--data", "data=parts"), ("--data", "label=labels.npy", "--data", "all"),
                     ("--data", "label=labels.npy", "--data", "x=x.npy")):
            self.assertEqual(e2e.losses(self.logged(program, *data, "--steps", "30")), whole, data)
        other = e2e.losses(self.logged(program, "--data", "parts/b", "parts/a", "parts/c", "--steps", "30"))
        self.assertNotEqual(other, whole)

    def test_epochs_and_the_log(self):
        program = self.classifier()
        x, labels = self.rows(100)
        self.write_table("all", x, labels)
        lines = self.logged(program, "--data", "all", "--epochs", "3", "--set", "lr=0.05")
        self.assertEqual(len(lines), 300 // BATCH)
        for i, line in enumerate(lines):
            self.assertAlmostEqual(line["epoch"], (i + 1) * BATCH / 100, places=6)
            self.assertAlmostEqual(line["lr"], 0.05, places=6)
            self.assertLessEqual(line["data_ms"], line["step_ms"])
        self.refused(program, "train", "--data", "all", "--epochs", "1", "--steps", "2", status=2,
                     says="--steps and --epochs")
        self.write_table("few", x[:5], labels[:5])
        self.refused_in_one_sentence(program, "train", "--data", "few", "--epochs", "1",
                                     says="fewer examples than one step")

    def test_what_is_held_out_is_not_trained_on(self):
        program = self.classifier()
        # Held-out examples can't be learnt: each has a label of its own making.
        source = random.Random(3)
        x = [[source.gauss(0, 1) for _ in range(WIDTH)] for _ in range(80)]
        labels = [source.randrange(CLASSES) for _ in range(80)]
        self.write_table("noise", x, labels)
        flags = ("--data", "noise", "--holdout", "0.2", "--seed", "5")
        lines = self.logged(program, *flags, "--steps", "1000", "--eval-every", "200", "--save", "out")
        self.assertLess(lines[-1]["loss"], 0.05)
        self.assertEqual([line["step"] for line in lines if "eval_loss" in line], [200, 400, 600, 800, 1000])
        weights = ("--weights", e2e.saved(self.folder / "out"))
        held, steps = self.evaluated(program, *flags, *weights)
        self.assertEqual(steps, 16 // BATCH)
        self.assertAlmostEqual(held, lines[-1]["eval_loss"], places=4)
        self.assertGreater(held, 1.0)
        # The rest was learnt; with another seed so were some of those held out then.
        everything, steps = self.evaluated(program, "--data", "noise", *weights)
        self.assertEqual(steps, 80 // BATCH)
        self.assertAlmostEqual(everything, 0.2 * held, delta=0.06)
        self.assertLess(self.evaluated(program, "--data", "noise", "--holdout", "16", "--seed", "6", *weights)[0],
                        0.8 * held)
        # A step trains the same with and without evaluations.
        self.assertEqual(e2e.losses(self.logged(program, *flags, "--steps", "20")), e2e.losses(lines[:20]))
        self.refused(program, "train", "--data", "noise", "--eval-every", "3", status=2, says="needs --holdout")
        self.refused_in_one_sentence(program, "train", "--data", "noise", "--holdout", "80",
                                     says="0 rows for training")

    def test_images_are_bytes(self):
        program = self.classifier()
        source = random.Random(4)
        pixels = [[source.randrange(256) for _ in range(WIDTH)] for _ in range(40)]
        labels = [source.randrange(CLASSES) for _ in range(40)]
        self.write_table("floats", [[struct.unpack("f", struct.pack("f", p / 255))[0] for p in row] for row in pixels],
                         labels)
        e2e.write_safetensors(self.folder / "bytes", {
            "x": ("U8", [40, WIDTH], bytes(p for row in pixels for p in row)),
            "label": ("U8", [40], bytes(labels))})
        self.assertEqual(e2e.losses(self.logged(program, "--data", "bytes", "--steps", "20")),
                         e2e.losses(self.logged(program, "--data", "floats", "--steps", "20")))

    def test_tokens_text_and_labels(self):
        program = self.compile(e2e.GRAPHS / "attention.graph")
        text = e2e.grammar_text(300).encode()
        (self.folder / "text").write_bytes(text)
        whole = e2e.losses(self.logged(program, "--data", "text", "--steps", "10"))
        header = lambda magic, version, count: struct.pack("<256i", magic, version, count, *[0] * 253)
        (self.folder / "a.bin").write_bytes(
            header(20240520, 1, len(text)) + struct.pack(f"<{len(text)}H", *text))
        (self.folder / "b.bin").write_bytes(
            header(20240801, 7, len(text)) + struct.pack(f"<{len(text)}I", *text))
        write_npy(self.folder / "c.npy", "<u2", [len(text)], struct.pack(f"<{len(text)}H", *text))
        (self.folder / "d").write_bytes(text[:1000])
        (self.folder / "e").write_bytes(text[1000:])
        for data in (["a.bin"], ["b.bin"], ["c.npy"], ["d", "e"]):
            self.assertEqual(e2e.losses(self.logged(program, "--data", *data, "--steps", "10")), whole, data)

    def test_unfit_data_is_refused_in_one_sentence(self):
        program = self.classifier()
        x, labels = self.rows(20)
        self.write_table("good", x, labels)
        write_npy(self.folder / "short.npy", "<i4", [19], e2e.integers(labels[:19]))
        write_npy(self.folder / "wide.npy", "<f4", [20, 17], bytes(4 * 20 * 17))
        write_npy(self.folder / "whole.npy", "<i4", [20, WIDTH], bytes(4 * 20 * WIDTH))
        (self.folder / "empty").write_bytes(b"")
        (self.folder / "nothing").mkdir()
        (self.folder / "text").write_text("hello" * 100)
        (self.folder / "cut.safetensors").write_bytes((self.folder / "good").read_bytes()[:50])
        for data, says in ((["empty"], "empty is empty"), (["nothing"], "no file in the folder"),
                           (["missing"], "can't open missing"), (["text"], "holds tokens"),
                           (["good", "text"], "text"), (["cut.safetensors"], "no valid safetensors"),
                           (["good", "label=short.npy"], "20 examples of x, but 19 of label"),
                           (["good", "x=wide.npy"], r"\[20, 17\]"), (["good", "x=whole.npy"], "I32"),
                           (["x=good"], "give --data")):
            flags = [f"--data={d}" for d in data]
            self.refused_in_one_sentence(program, "train", *flags, "--steps", "1", says=says)


if __name__ == "__main__":
    e2e.unittest.main()
