"""What plim-dump shows: JSON after its schema, pictures that Graphviz draws, timelines that make sense, questions
answered, differences named."""
import copy
import json
import random
import re

import e2e
import json_schema

MODELS = sorted(f.stem for f in (e2e.SOURCE / "models").glob("*.plim"))
SCHEMA = json.loads((e2e.SOURCE / "docs" / "plim-dump.schema.json").read_text())
WIDTH = 100


class Dump(e2e.TestCase):
    def plan(self, model, *flags, out="m.plan"):
        self.good(e2e.PLIMC, e2e.SOURCE / "models" / f"{model}.plim", "--config", "tiny", "--quiet", "--emit", "plan",
                  "-o", out, *flags)
        return out

    def dump(self, *words):
        return self.good(e2e.PLIM_DUMP, *words).stdout

    def json(self, *words):
        return json.loads(self.dump(*words, "--json"))


class Outputs(Dump):
    def test_json_follows_its_schema(self):
        for model in MODELS if e2e.SCALE == 1 else ("mlp", "gpt2"):
            found = self.json(self.plan(model))
            self.assertEqual(json_schema.mistakes(found, SCHEMA), [], model)
            self.assertEqual(sum(found["memory"].values()), found["spaces"]["device"]["load"], model)
            loads = {name: max(p["load"], default=0) for name, p in found["programs"].items()}
            self.assertEqual(loads, {name: e["load"] for name, e in found["entries"].items()}, model)
            self.assertEqual(max(loads.values()), found["spaces"]["device"]["load"], model)

    def test_the_schema_refuses_what_is_wrong(self):
        sound = self.json(self.plan("mlp"))
        self.assertEqual(json_schema.mistakes(sound, SCHEMA), [])

        def spoil(change):
            spoilt = copy.deepcopy(sound)
            change(spoilt)
            self.assertNotEqual(json_schema.mistakes(spoilt, SCHEMA), [], change)

        for name in sound:
            spoil(lambda j: j.pop(name))
        for name in sound["buffers"][0]:
            spoil(lambda j: j["buffers"][0].pop(name))
        spoil(lambda j: j.update(version=2))
        spoil(lambda j: j.update(surprise=1))
        spoil(lambda j: j["buffers"][0].update(kind="wights"))
        spoil(lambda j: j["programs"]["train"]["instructions"][0].update(phase="sideways"))
        spoil(lambda j: j["programs"]["train"]["instructions"][0].update(flops=-1))

    def test_screens_fit(self):
        plan = self.plan("gpt2")
        for words in (("--summary",), ("--memory",), ("--why", "h.0.mlp"), ("--why", "train:13"),
                      ("--why", "h.0.attn.attention"), ("--why", "wte"), ("--help",)):
            lines = self.dump(plan, *words).splitlines()
            # Only texts of the plan's maker may be longer: the flags it was given.
            self.assertLessEqual(max(len(line) for line in lines if not line.startswith("built by")), WIDTH, words)
            self.assertLessEqual(len(lines), 60 if words[0] != "--why" else 200, words)

    def test_pictures(self):
        # A small one whole, a larger one by scope.
        for model, flags in (("mlp", ()), ("gpt2", ("--scope", "h.0"))):
            self.dump(self.plan(model), "--dot", "m.dot", *flags)
            self.good("dot", "-Tsvg", "m.dot", "-o", "m.svg")
            drawn = (self.folder / "m.svg").read_text()
            text = (self.folder / "m.dot").read_text()
            boxes = set(re.findall(r"^ *(n\d+|b\d+) \[", text, re.M))
            self.assertEqual(len(re.findall('<g id="node', drawn)), len(boxes))
            ends = {name for edge in re.findall(r"^  (\w+) -> (\w+) \[", text, re.M) for name in edge}
            self.assertLessEqual(ends, boxes)
        self.assertEqual(len(re.findall('<g id="clust', drawn)), text.count("subgraph"))
        self.refused_in_one_sentence(e2e.PLIM_DUMP, "m.plan", "--dot", "-", "--scope", "h.9",
                                     says=r"no operator of train has the scope h\.9; did you mean h\.\d")

    def check_trace(self, trace, plan, entry):
        """Every slice and arrow sound; of what is predicted, a slice an instruction and call."""
        events = trace["traceEvents"]
        for e in events:
            self.assertIn(e["ph"], "MXCsf")
            self.assertIsInstance(e["pid"], int)
            if e["ph"] != "M":
                self.assertGreaterEqual(e["ts"], 0, e)
            if e["ph"] == "X":
                self.assertGreaterEqual(e["dur"], 0, e)
        ours = [e for e in events if e["pid"] == 1]
        program = plan["programs"][entry]
        expected = sum(i["calls"] for i in program["instructions"])
        slices = [e for e in ours if e["ph"] == "X"]
        self.assertEqual(len(slices), expected)
        places = {(e["args"]["segment"], e["args"]["slot"], e["args"]["instruction"]) for e in slices}
        self.assertEqual(len(places), expected)
        # Slices of one stream follow each other; the last ends with the step.
        end = {}
        for e in slices:
            self.assertGreaterEqual(e["ts"], end.get(e["tid"], 0) - 1e-6)
            end[e["tid"]] = e["ts"] + e["dur"]
        self.assertAlmostEqual(max(end.values()), program["predicted_ps"] * 1e-6, delta=1e-3)
        # Counters: their highest sum is the entry's load.
        sums = [sum(e["args"].values()) for e in ours if e["ph"] == "C"]
        self.assertEqual(max(sums), plan["entries"][entry]["load"])
        # Arrows: each begins and ends once, inside slices.
        begins = {e["id"]: e for e in ours if e["ph"] == "s"}
        ends = {e["id"]: e for e in ours if e["ph"] == "f"}
        self.assertEqual(begins.keys(), ends.keys())
        for number, begin in begins.items():
            self.assertLessEqual(begin["ts"], ends[number]["ts"] + 1e-6)
            for e in (begin, ends[number]):
                self.assertTrue(any(s["tid"] == e["tid"] and s["ts"] - 1e-6 <= e["ts"] <= s["ts"] + s["dur"] + 1e-6
                                    for s in slices))
        return slices, len(begins)

    def test_timelines(self):
        plan = self.plan("gpt2")
        facts = self.json(plan)
        for entry in facts["programs"]:
            self.dump(plan, "--trace", "t.json", "--entry", entry)
            self.check_trace(json.loads((self.folder / "t.json").read_text()), facts, entry)

    def test_timelines_with_streams_and_micro_batches(self):
        sample = e2e.SOURCE / "tests" / "unit" / "sample.plan"
        self.dump(sample, "--trace", "t.json", "--entry", "train")
        facts = self.json(sample)
        # Three micro-batches of a body in which five waits meet five signals, and an update with three.
        slices, arrows = self.check_trace(json.loads((self.folder / "t.json").read_text()), facts, "train")
        self.assertEqual({e["tid"] for e in slices}, {0, 1})
        waits = sum(i["calls"] * len(i["wait"]) for i in facts["programs"]["train"]["instructions"])
        self.assertEqual(arrows, waits)
        self.assertGreater(arrows, 10)

    def test_measured_beside_predicted(self):
        program = self.compile(e2e.SOURCE / "models/mlp.plim", "--config", "tiny")
        points = e2e.write_classes(self.folder / "points", 64)
        points = e2e.read_safetensors(self.folder / "points")
        e2e.write_safetensors(self.folder / "data", {"x": points["x"], "label": points["y"]})
        self.good(program, "train", "--data", "data", "--steps", "4", "--quiet", "--trace", "run.json", "--log",
                  "run.jsonl")
        facts = self.json(program)
        for measured, count in (("run.json", 3), ("run.jsonl", 4)):
            self.dump(program, "--trace", "t.json", "--measured", measured)
            trace = json.loads((self.folder / "t.json").read_text())
            slices, _ = self.check_trace(trace, facts, "train")
            theirs = [e for e in trace["traceEvents"] if e["pid"] == 2 and e["ph"] == "X"]
            self.assertGreater(len(theirs), 0)
            shown = self.dump(program, "--measured", measured)
            self.assertRegex(shown, rf"measured .*\(median of {count} steps\)")
            if measured == "run.json":
                # Each instruction ran, and says how long it took.
                self.assertTrue(all(e["args"]["measured_us"] >= 0 for e in slices))
                self.assertEqual(len([e for e in theirs if "segment" in e.get("args", {})]), len(slices))
        other = self.plan("gpt2")
        self.refused_in_one_sentence(e2e.PLIM_DUMP, other, "--measured", "run.json", says="a trace of another program")
        self.refused_in_one_sentence(e2e.PLIM_DUMP, other, "--measured", "data", says="neither a run's --trace nor")
        self.refused_in_one_sentence(e2e.PLIM_DUMP, other, "--measured", "nowhere", says="nowhere: No such file")


class Questions(Dump):
    def test_every_buffer_and_instruction_can_be_asked_for(self):
        plan = self.plan("gpt2")
        facts = self.json(plan)
        source = random.Random(1)
        names = source.sample([b["name"] for b in facts["buffers"]], e2e.repeats(60))
        for name in names:
            out = self.dump(plan, "--why", name)
            self.assertIn(f"{name} (b", out)
            self.assertRegex(out, r"  live  +(always|instructions \d+ \.\. \d+ of \d+)")
            self.assertRegex(out, r"  placed  +device bytes [\d,]+ \.\. [\d,]+")
            self.assertRegex(out, r"  (written by|used by) ")
        count = len(facts["programs"]["train"]["instructions"])
        for at in (0, count // 2, count - 1):
            out = self.dump(plan, "--why", f"train:{at}")
            self.assertIn(facts["programs"]["train"]["instructions"][at]["name"], out)
        self.assertIn("called by", self.dump(plan, "--why", "k0"))

    def test_decisions_are_told(self):
        plan = self.plan("gpt2")
        self.assertRegex(self.dump(plan, "--why", "h.0.mlp.gelu"),
                         r"recompute +in train it is computed again for the backward pass, so that 2097152 bytes")
        # Part of a kernel, in memory of its own nowhere.
        self.assertRegex(self.dump(plan, "--why", "h.0.attn.c_proj.add"), r"fuse +in train one kernel computes")

    def test_what_a_budget_chose_is_told(self):
        done = self.refused(e2e.PLIMC, e2e.SOURCE / "models" / "gpt2.plim", "--config", "tiny", "--entry", "train",
                            "--budget", "1", "--emit", "plan", "-o", "over")
        least = re.search(r"smallest budget that fits is (\d+) bytes", done.stderr)[1]
        for budget, fate in (("1GiB", "kept"), (least, "computed again")):
            out = self.dump(self.plan("gpt2", "--entry", "train", "--budget", budget), "--why", "h.0.mlp.c_fc.add")
            text = re.sub(r"\s+", " ", out)
            self.assertRegex(text, rf"retain in train 2097152 bytes that the backward pass reads are {fate}[^;]*; computing it "
                                   r"from what it is made of takes [0-9.]+ ms; moving it was not allowed")
            # What was said before the budget was asked leaves it open, and what comes last is what all choices come to.
            self.assertRegex(text, r"recompute in train 2097152 bytes are kept for the backward pass, unless the budget wants it otherwise: "
                                   r".* retain .* rung \d+: of the values")
            self.assertEqual(fate == "kept", "bytes of h.0.mlp.c_fc.add take the buffer of h.0.mlp.c_fc.einsum" in text)
            self.assertEqual(len(re.findall(r"fuse in train one kernel computes 2 operators", text)), 1)

    def test_names_nobody_has(self):
        plan = self.plan("gpt2")
        for wrong, right in (("h.0.mlp.c_fc.wieght", "h.0.mlp.c_fc.weight"), ("wtee", "wte"), ("c_attn", "h.0.attn.c_attn")):
            self.refused_in_one_sentence(e2e.PLIM_DUMP, plan, "--why", wrong, says=f"did you mean .*{re.escape(right)}")
        self.refused_in_one_sentence(e2e.PLIM_DUMP, plan, "--why", "qqqqqqqqqqqqqq", says="is called qqqqqqqqqqqqqq$")


class Differences(Dump):
    def fails(self, status, *words):
        done = e2e.run(e2e.PLIM_DUMP, *words, cwd=self.folder)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def test_equal_plans(self):
        plan = self.plan("mlp")
        self.assertIn("the plans are the same", self.fails(0, plan, "--diff", plan, "--fail-if", "different"))

    def test_conditions(self):
        self.plan("mlp", out="a.plan")
        self.plan("mlp", "-D", "hidden=40", out="b.plan")
        before, after = (self.json(f)["spaces"]["device"]["bytes"] for f in ("a.plan", "b.plan"))
        grown = after - before
        percent = 100 * grown / before
        for condition, status in ((f"peak>+{percent * 0.99:.6f}%", 3), (f"peak>+{percent * 1.01:.6f}%", 0),
                                  (f"peak>+{grown - 1}", 3), (f"peak>+{grown}", 0), (f"peak>{after}B", 0),
                                  (f"peak>{after - 1}", 3), ("peak<+1%", 0), ("kernels>+100,peak>+0", 3),
                                  ("kernels>+100,time>1s", 0), ("time>1us", 3), ("different", 3), ("weights>+0%", 3)):
            out = self.fails(status, "b.plan", "--diff", "a.plan", "--fail-if", condition)
            self.assertEqual("fails: " in out, status == 3, condition)
        for wrong in ("peak", "peak>", "peak>+x", "peek>+1%", "peak>1%", "peak>+1ms", "kernels>+1MiB", ">1", "peak>nan"):
            self.refused_in_one_sentence(e2e.PLIM_DUMP, "b.plan", "--diff", "a.plan", "--fail-if", wrong, status=2,
                                         says="--fail-if takes conditions such as")
        self.refused_in_one_sentence(e2e.PLIM_DUMP, "b.plan", "--fail-if", "peak>+1%", status=2, says="needs --diff")
        self.refused_in_one_sentence(e2e.PLIM_DUMP, "b.plan", "--diff", "nowhere", says="nowhere: No such file")

    def test_digests_of_runs(self):
        program = self.compile(e2e.GRAPHS / "micro.graph")
        e2e.write_classes(self.folder / "data", 128)
        for name, flags in (("a", ()), ("b", ("--threads", "2")), ("c", ("--set", "lr=0.5")), ("longer", ("--steps", "4"))):
            words = (program, "train", "--data", "data", "--digest", "--quiet")
            (self.folder / name).write_text(self.good(*words, *(flags if "--steps" in flags else (*flags, "--steps", "3"))).stdout)
        self.assertRegex(self.fails(0, "b", "--diff", "a", "--fail-if", "different"), r"^all \d+ results are equal$")
        out = self.fails(3, "c", "--diff", "a", "--fail-if", "different")
        # Another rate changes nothing before the first update.
        self.assertRegex(out, r"differ first in step 1, train\.update, instruction \d+: \w+")
        self.assertRegex(out, r"\n  \d+ results before it are equal\n")
        self.assertRegex(self.fails(3, "longer", "--diff", "a", "--fail-if", "different"),
                         r"the first \d+ results are equal; longer has more")
        # One checksum changed by hand is found where it stands.
        lines = (self.folder / "a").read_text().splitlines()
        words = lines[17].split(" ")
        words[4] = "0123456789abcdef"
        (self.folder / "d").write_text("\n".join(lines[:17] + [" ".join(words)] + lines[18:]) + "\n")
        out = self.fails(0, "d", "--diff", "a")
        self.assertIn(f"step {words[0]}, {words[1]}", out)
        self.assertIn(f"instruction {words[3]}: {' '.join(words[6:])}", out)
        self.assertIn("17 results before it are equal", out)
        (self.folder / "e").write_text("\n".join(lines[:3] + ["nonsense"]) + "\n")
        self.refused_in_one_sentence(e2e.PLIM_DUMP, "e", "--diff", "a", says="e: line 4 is none of --digest")


if __name__ == "__main__":
    e2e.unittest.main()
