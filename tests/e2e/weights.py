"""Weights in and out: names, types and shards of published files, one call of an entry, and every refusal."""
import json
import struct

import e2e


def halves(values):
    return struct.pack(f"<{len(values)}e", *values)


def brains(values):
    """bf16, of numbers that it can hold."""
    return b"".join(struct.pack("<f", x)[2:] for x in values)


def npy(path, descr, shape, data):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple(shape)!r}, }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1") + data)


STACKED = """module @m
state @w: f32[3,2] {kind = "param", file = "experts.{}.w1.weight"}
state @n: i32[2] {kind = "saved", file = "count"}
state @c: f32[4] {kind = "transient"}
graph @init(%seed: i32[] from seed) {
  %a: f32[3,2] = random_normal %seed {shape = [3,2], key = 11, mean = 0.0, std = 1.0}
  %b: i32[2] = constant {value = 5, dtype = "i32", shape = [2]}
  %c: f32[4] = constant {value = 0.0, dtype = "f32", shape = [4]}
  commit @w = %a
  commit @n = %b
  commit @c = %c
}
graph @show(%x: f32[3,2] from caller, %i: i32[2] from caller {bound = 7}, %k: f32[] from knob = 2.0) -> (y: f32[3,2], n: i32[2], s: f32[]) {
  %w: f32[3,2] = state {name = "w"}
  %m: i32[2] = state {name = "n"}
  %kk: f32[3,2] = broadcast %k {shape = [3,2], axes = []}
  %xk: f32[3,2] = mul %x, %kk
  %y: f32[3,2] = add %xk, %w
  %n: i32[2] = add %m, %i
  %s: f32[] = reduce_sum %y {axes = [0,1]}
  return %y, %n, %s
}
"""


class Weights(e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.program = self.compile(e2e.GRAPHS / "mlp.graph")
        e2e.write_classes(self.folder / "data", 64)
        self.good(self.program, "export", "--seed", "3", "-o", "base.safetensors")
        self.base = e2e.read_safetensors(self.folder / "base.safetensors")

    def write(self, tensors, name="other.safetensors"):
        e2e.write_safetensors(self.folder / name, tensors)
        return name

    def loads(self, path, says=None, equals=None):
        """What path gives, exported again, is the base's tensors."""
        done = self.good(self.program, "export", "--weights", path, "-o", "back.safetensors")
        self.assertEqual(e2e.read_safetensors(self.folder / "back.safetensors"), equals or self.base)
        if says:
            self.assertRegex(done.stderr, says)
        else:
            self.assertEqual(done.stderr, "")

    def refuses(self, path, *says):
        done = self.refused(self.program, "export", "--weights", path, "-o", "never.safetensors")
        for text in says:
            self.assertRegex(done.stderr, text)
        self.assertFalse((self.folder / "never.safetensors").exists())
        return done

    def test_round_trip(self):
        self.assertEqual(set(self.base), {"fc.weight", "fc.bias", "head.weight"})
        self.loads("base.safetensors")
        raw = (self.folder / "base.safetensors").read_bytes()
        self.assertIn(b'"__metadata__":{"format":"pt"}', raw)

    def test_names(self):
        self.loads(self.write({f"model.net.{k}": v for k, v in self.base.items()}), r"names begin with model\.net\.$")
        renamed = {"fc.gamma": self.base["fc.weight"], "fc.beta": self.base["fc.bias"],
                   "head.weight": self.base["head.weight"]}
        self.loads(self.write(renamed))
        # One prefix for all names: what has another does not fit.
        mixed = {"a.fc.weight": self.base["fc.weight"], "a.fc.bias": self.base["fc.bias"],
                 "b.head.weight": self.base["head.weight"]}
        self.refuses(self.write(mixed), "begin with a", "no tensor head.weight", "1 of 3")
        # Two sets of names that fit equally well are no answer.
        double = {f"{p}.{k}": v for k, v in self.base.items() for p in "ab"}
        self.refuses(self.write(double), "no tensor fc.weight", "no tensor fc.bias", "3 of 3")
        # A name as it stands comes first.
        double = dict(self.base, **{f"ema.{k}": (d, s, bytes(len(b))) for k, (d, s, b) in self.base.items()})
        self.loads(self.write(double), r"3 tensors are ignored, .*: ema\.fc\.bias, ema\.fc\.weight, ema\.head\.weight$")

    def test_names_without_the_front_of_the_models(self):
        model = (e2e.GRAPHS / "mlp.graph").read_text().replace('file = "', 'file = "net.')
        (self.folder / "net.graph").write_text(model)
        self.program = self.compile("net.graph", out="net")
        self.loads("base.safetensors", r"names leave out net\.$", {f"net.{k}": v for k, v in self.base.items()})

    def test_types(self):
        small = {k: (s, [(i % 17 - 8) / 4 for i in range(len(b) // 4)]) for k, (_, s, b) in self.base.items()}
        want = {k: ("F32", s, e2e.floats(x)) for k, (s, x) in small.items()}
        for name, pack in (("F32", e2e.floats), ("F16", halves), ("BF16", brains),
                           ("F64", lambda x: struct.pack(f"<{len(x)}d", *x))):
            self.loads(self.write({k: (name, s, pack(x)) for k, (s, x) in small.items()}), equals=want)
        self.write(want, "small.safetensors")
        for name, pack in (("bf16", brains), ("f16", halves), ("f32", e2e.floats)):
            self.good(self.program, "export", "--weights", "small.safetensors", "--dtype", name, "-o", "typed.safetensors")
            self.assertEqual(e2e.read_safetensors(self.folder / "typed.safetensors"),
                             {k: (name.upper(), s, pack(x)) for k, (s, x) in small.items()})

    def test_all_mismatches_at_once(self):
        bad = {"fc.weight": ("F32", [24, 16], self.base["fc.weight"][2]), "fc.bias": ("I32", [24], bytes(96))}
        self.refuses(self.write(bad), r"fc\.weight is \[24,16\], the model wants \[16,24\]",
                     "fc.bias is I32, which can't become f32", "no tensor head.weight", "3 of 3 states")
        done = self.good(self.program, "export", "--allow-missing", "--seed", "3", "-o", "some.safetensors", "--weights",
                         self.write({"fc.bias": ("F32", [24], e2e.floats([1] * 24))}))
        self.assertIn("2 of 3 states are not in it and keep their first values", done.stderr)
        some = e2e.read_safetensors(self.folder / "some.safetensors")
        self.assertEqual(some, dict(self.base, **{"fc.bias": ("F32", [24], e2e.floats([1] * 24))}))

    def test_folders(self):
        folder = self.folder / "saved"
        (folder / "step-20").mkdir(parents=True)
        (folder / "step-9").mkdir()
        (folder / "step-100").mkdir()  # Not complete: the newest that is counts
        self.refuses("saved", "no complete checkpoint")
        for step in ("step-20", "step-9", "step-100"):
            content = self.base if step == "step-20" else {"x": ("F32", [1], bytes(4))}
            e2e.write_safetensors(folder / step / "model.safetensors", content)
        (folder / "step-20/complete.json").write_text("{}")
        (folder / "step-9/complete.json").write_text("{}")
        self.loads("saved")
        self.loads("saved/step-20/")
        self.good(self.program, "export", "--weights", "saved", "-o", "out/")
        self.loads("out")

    def test_shards(self):
        self.good(self.program, "export", "--weights", "base.safetensors", "--shard-size", "1KiB", "-o", "shards/")
        names = sorted(p.name for p in (self.folder / "shards").iterdir())
        self.assertEqual(names, ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                                 "model.safetensors.index.json"])
        index = json.loads((self.folder / "shards" / names[2]).read_text())
        self.assertEqual(index["metadata"]["total_size"], 4 * (16 * 24 + 24 + 24 * 4))
        self.assertEqual(set(index["weight_map"]), set(self.base))
        self.loads("shards")
        self.loads("shards/model.safetensors.index.json")
        # A set is never mixed with an older one.
        self.refused_in_one_sentence(self.program, "export", "--shard-size", "1KiB", "-o", "shards", says="needs? a new one")
        self.refused_in_one_sentence(self.program, "export", "--shard-size", "1KiB", "-o", "x.safetensors", says="-o FOLDER")
        self.loads("shards")
        self.assertEqual([p.name for p in self.folder.iterdir() if "part" in p.name], [])
        # What fits one file is one.
        self.good(self.program, "export", "--shard-size", "1GiB", "-o", "one")
        self.assertEqual([p.name for p in (self.folder / "one").iterdir()], ["model.safetensors"])

    def test_wrong_indexes(self):
        one = {"fc.weight": self.base["fc.weight"], "fc.bias": self.base["fc.bias"]}
        two = {"head.weight": self.base["head.weight"]}
        (self.folder / "in").mkdir()
        self.write(one, "in/a.safetensors")
        self.write(two, "in/b.safetensors")
        self.write(self.base, "in/all.safetensors")
        self.write(two, "outside.safetensors")
        good = {"fc.weight": "a.safetensors", "fc.bias": "a.safetensors", "head.weight": "b.safetensors"}

        def refuses(text, says):
            (self.folder / "in/model.safetensors.index.json").write_text(text)
            done = self.refuses("in", says)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

        def mapped(**changes):
            return json.dumps({"weight_map": {k.replace("__", "."): v for k, v in dict(
                {k.replace(".", "__"): v for k, v in good.items()}, **changes).items() if v is not None}})

        (self.folder / "in/model.safetensors.index.json").write_text(
            json.dumps({"metadata": {"total_size": 1.5, "more": [1, {}]}, "weight_map": good}))
        self.loads("in")
        for name in ("../outside.safetensors", "/etc/passwd", "", ".", "..", "sub/b.safetensors"):
            refuses(mapped(head__weight=name), "no plain file name")
        refuses(mapped(head__weight="b.safetensors\0.txt"), "does not map names to file names")
        refuses(mapped(head__weight="c.safetensors"), "c.safetensors: No such file")
        refuses(mapped(head__weight="a.safetensors"), "tensor head.weight is not in a.safetensors")
        refuses(mapped(head__weight="all.safetensors"), "is in two shards")
        refuses(mapped(fc__bias=None), "lists 2 tensors, but its shards have 3")
        refuses(mapped(more="a.safetensors"), "tensor more is not in a.safetensors")
        refuses(mapped(head__weight=3), "does not map names to file names")
        refuses('{"weight_map": {"fc.bias": "a.safetensors", "fc.bias": "a.safetensors"}}', "lists tensor fc.bias twice")
        refuses('{"weight_map": {}, "weight_map": {}}', "twice")
        refuses("{}", "no weight_map")
        refuses("[]", "no valid JSON")
        refuses('{"weight_map": ' + "[" * 100000, "no valid index")
        refuses(mapped()[:-1], "no valid JSON")
        refuses(mapped() + "x", "no valid JSON")
        refuses("", "no valid JSON")
        (self.folder / "in/b.safetensors").write_bytes(b"junk")
        refuses(mapped(), "b.safetensors is no valid safetensors file")

    def test_usage(self):
        def refused(*words, says):
            self.refused_in_one_sentence(self.program, *words, says=says)

        refused("export", says="where to")
        refused("export", "-o", "x.safetensors", "--dtype", "f8", says="f32, bf16 and f16")
        refused("export", "-o", "x", "--shard-size", "0", says="--shard-size 0")
        refused("export", "-o", "x", "--shard-size", "2GB", says="--shard-size 2GB")
        refused("export", "-o", "no/such/x.safetensors", says="no/such")
        refused("export", "-o", "data", says="data")
        refused("export", "-o", "x", "--weights", "nowhere", says="nowhere: No such file")
        refused("export", "-o", "x", "--weights", ".", says="no model.safetensors")


class Calls(e2e.TestCase):
    def setUp(self):
        super().setUp()
        (self.folder / "m.graph").write_text(STACKED)
        self.program = self.compile("m.graph")

    def weights(self, **changes):
        tensors = {f"experts.{i}.w1.weight": ("F32", [2], e2e.floats([i, 10 * i])) for i in range(3)}
        tensors["count"] = ("I64", [2], struct.pack("<2q", 3, -4))
        tensors.update({k.replace("__", "."): v for k, v in changes.items()})
        e2e.write_safetensors(self.folder / "w.safetensors", {k: v for k, v in tensors.items() if v})
        return "w.safetensors"

    def inputs(self, ids=(1, 2)):
        npy(self.folder / "x.npy", "<f8", [3, 2], struct.pack("<6d", *range(6)))
        e2e.write_safetensors(self.folder / "i", {"i": ("I64", [2], struct.pack("<2q", *ids)), "j": ("U8", [1], b"x")})
        return "--in", "x=x.npy", "--in", "i=i"

    def test_a_call_reads_slices_and_writes_results(self):
        self.good(self.program, "run", "show", "--weights", self.weights(), *self.inputs(), "--set", "k=3",
                  "--out", "y=y.npy", "--out", "1=n.npy", "--out", "s=s.npy")
        y = (self.folder / "y.npy").read_bytes()
        self.assertEqual(len(y) - 24, 128 if len(y) > 128 else 0)
        want = [3 * x + w for x, w in zip(range(6), (0, 0, 1, 10, 2, 20))]
        self.assertEqual(y[128:], e2e.floats(want))
        self.assertIn(b"'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", y)
        self.assertEqual((self.folder / "n.npy").read_bytes()[128:], e2e.integers([4, -2]))
        self.assertEqual((self.folder / "s.npy").read_bytes()[128:], e2e.floats([sum(want)]))
        done = self.good(self.program, "run", "show", "--weights", self.weights(), *self.inputs(), "--set", "k=3")
        self.assertEqual(done.stdout, f"s {sum(want)}\n")

    def test_slices_go_out_as_they_came_in(self):
        self.good(self.program, "export", "--weights", self.weights(), "-o", "back.safetensors", "--dtype", "bf16")
        back = e2e.read_safetensors(self.folder / "back.safetensors")
        self.assertEqual(back["experts.1.w1.weight"], ("BF16", [2], brains([1, 10])))
        self.assertEqual(back["count"], ("I32", [2], e2e.integers([3, -4])))
        self.assertEqual(len(back), 4)

    def test_refusals(self):
        def refused(*words, says, **options):
            return self.refused(self.program, "run", *words, says=says, **options)

        good = self.inputs()
        refused(says="", status=2)
        refused("shw", *good, says="no entry shw; it has init, show")
        refused("show", says="wants x: give --in x=FILE")
        refused("show", *good, "--in", "z=x.npy", says="entry show has these inputs: x, i")
        refused("show", *good, "--in", "k=x.npy", says="these inputs: x, i")
        refused("show", *good, "--out", "z=x.npy", says="entry show gives y, n, s")
        refused("show", *good, "--out", "3=x.npy", says="entry show gives y, n, s")
        refused("show", *good, "--out", "y=no/y.npy", says="no/y.npy")
        refused("show", *good, "--in", "x=nowhere.npy", says="nowhere.npy: No such file")
        refused("show", *good, "--in", "x=m.graph", says="no valid safetensors")
        refused("show", *good, "--in", "x=i", says="no tensor x")
        npy(self.folder / "t.npy", "<f4", [2, 3], bytes(24))
        refused("show", *good, "--in", "x=t.npy", says=r"\[2, 3\], input x wants \[3, 2\]")
        npy(self.folder / "t.npy", "<i4", [3, 2], bytes(24))
        refused("show", *good, "--in", "x=t.npy", says="I32, which can't become f32")
        npy(self.folder / "t.npy", "<f4", [3, 3], bytes(24))
        refused("show", *good, "--in", "x=t.npy", says="does not fit the file's size")
        for ids in ((7, 0), (0, -1)):
            refused("show", *self.inputs(ids), says="must be less than 7 and not negative")
        refused("show", *self.inputs((1 << 31, 0)), says="2147483648, which does not fit i32")
        refused("show", *self.inputs(), "--weights", self.weights(experts__1__w1__weight=None),
                says="no tensor experts.1.w1.weight")
        refused("show", *good, "--allow-missing", "--weights", self.weights(experts__1__w1__weight=None),
                says="1 of the 3 slices of w are missing")
        refused("show", *good, "--weights", self.weights(experts__2__w1__weight=("F32", [1, 2], bytes(8))),
                says=r"experts\.2\.w1\.weight is \[1,2\], the model wants \[2\]")
        refused("show", *good, "--weights", self.weights(count=("I64", [2], struct.pack("<2q", 1 << 40, 0))),
                says="count holds 1099511627776, which does not fit i32")


if __name__ == "__main__":
    e2e.unittest.main()
