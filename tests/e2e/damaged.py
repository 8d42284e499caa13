"""Damaged programs and programs for other machines are refused in one sentence; nothing crashes."""
import pathlib
import random

import e2e

MUTATIONS = 500


class Damaged(e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.program = self.compile(e2e.GRAPHS / "micro.graph")
        self.bytes = self.program.read_bytes()
        self.at, self.size = e2e.find_plan(self.program)

    def dump(self, content, must_refuse):
        (self.folder / "bad").write_bytes(content)
        done = e2e.run(e2e.PLIM_DUMP, self.folder / "bad", "--verify")
        if must_refuse or done.returncode != 0:
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
            self.assertEqual(done.stdout, "")
            self.assertLess(len(done.stderr), 700)

    def test_sound(self):
        self.good(e2e.PLIM_DUMP, self.program, "--verify")

    def test_flipped_bytes_in_the_plan(self):
        source = random.Random(5)
        for _ in range(e2e.repeats(MUTATIONS)):
            content = bytearray(self.bytes)
            for _ in range(source.choice((1, 1, 2, 8))):
                content[self.at + source.randrange(self.size)] ^= 1 << source.randrange(8)
            self.dump(content, must_refuse=bytes(content) != self.bytes)

    def test_truncated(self):
        source = random.Random(6)
        for _ in range(e2e.repeats(100)):
            self.dump(self.bytes[:self.at + source.randrange(self.size)], must_refuse=True)
            self.dump(self.bytes[:source.randrange(self.at)], must_refuse=True)

    def test_damage_elsewhere(self):
        source = random.Random(7)
        for _ in range(e2e.repeats(50)):
            content = bytearray(self.bytes)
            at = source.randrange(len(content) - 64)
            content[at:at + 64] = source.randbytes(64)
            self.dump(content, must_refuse=False)

    def test_things_that_are_no_programs(self):
        for content in (b"", b"\n", b"PLIMPLAN", b"PLIMPLAN" + b"\xff" * 40, b"\x7fELF" + bytes(5000),
                        bytes(range(256)) * 100, b"plan 1\n", b"plan 2\n", b"plan \xff\xfe"):
            self.dump(content, must_refuse=True)
        self.dump(pathlib.Path("/bin/true").read_bytes(), must_refuse=True)

    def test_program_refuses_its_damaged_plan(self):
        source = random.Random(8)
        for _ in range(e2e.repeats(20)):
            content = bytearray(self.bytes)
            content[self.at + source.randrange(self.size)] ^= 1 << source.randrange(8)
            bad = self.folder / "bad"
            bad.write_bytes(content)
            bad.chmod(0o755)
            self.refused_in_one_sentence(bad, "info")


class WrongMachine(e2e.TestCase):
    def plan_for(self, more):
        program = self.compile(e2e.GRAPHS / "mlp.graph", out="here")
        text = self.good(e2e.PLIM_DUMP, program, "--plan").stdout.splitlines(keepends=True)
        lines = [f'{line.rstrip()[:-1]},{more}"\n' if line.startswith("isa ") else line for line in text]
        self.assertNotEqual(lines, text)
        (self.folder / "there.plan").write_text("".join(lines))

    def check_refused(self, missing):
        program = self.compile("there.plan", out="there")
        for words in (("info",), ("train", "--data", "none"), ("eval", "--data", "none")):
            self.refused_in_one_sentence(program, *words, says=f"this machine has no {missing}; compile it again")
        # Looking at it is possible anywhere.
        self.good(e2e.PLIM_DUMP, program)

    def test_sets_this_machine_lacks(self):
        flags = pathlib.Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split()
        lacking = [ours for ours, theirs in (("avx512fp16", "avx512_fp16"), ("amx-bf16", "amx_bf16"),
                                             ("avx512vpopcntdq", "avx512_vpopcntdq"), ("avx512f", "avx512f"))
                   if theirs not in flags]
        if not lacking:
            self.skipTest("this machine has every instruction set we know of")
        self.plan_for(",".join(lacking))
        self.check_refused(lacking[0])

    def test_sets_nobody_knows(self):
        self.plan_for("avx9000")
        self.check_refused("avx9000")


if __name__ == "__main__":
    e2e.unittest.main()
