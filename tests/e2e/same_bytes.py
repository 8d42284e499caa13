"""Same input, same bytes: an executable depends on nothing but its input and the flags that shape the plan."""
import os
import shutil

import e2e


class SameBytes(e2e.TestCase):
    def compile_elsewhere(self, graph, number, out, emit=(), environment=None, umask=0o022, prefix=()):
        """Compiles a copy of the graph from a folder of its own; the output's bytes."""
        folder = self.folder / f"folder {number}" / ("deep" * number)
        folder.mkdir(parents=True)
        shutil.copy(graph, folder / graph.name)
        settings = dict(os.environ, **(environment or {}))
        self.good(*prefix, e2e.PLIMC, graph.name, "-o", out, "--quiet", *emit, cwd=folder, env=settings,
                  umask=umask)
        return (folder / out).read_bytes()

    def check(self, graph, emit=()):
        surroundings = [
            {},
            {"environment": {"TZ": "Asia/Kolkata", "LC_ALL": "C"}},
            {"environment": {"TZ": "America/St_Johns", "LC_ALL": "C.UTF-8", "LANG": "de_DE.UTF-8"}},
            {"umask": 0o077},
            {"prefix": ("taskset", "-c", str(min(os.sched_getaffinity(0))))},
            {"environment": {"HOME": "/nowhere", "USER": "nobody", "HOSTNAME": "elsewhere", "TMPDIR": str(self.folder)}},
        ]
        first = None
        for number, options in enumerate(surroundings):
            out = f"out-{'x' * number}"
            made = self.compile_elsewhere(graph, number, out, emit, **options)
            first = first or made
            self.assertEqual(made == first, True, f"{graph.name} {emit}: {options}")
        for word in (str(self.folder), str(e2e.BUILD), str(e2e.SOURCE)):
            self.assertNotIn(word.encode(), first)

    def test_programs(self):
        self.check(e2e.GRAPHS / "attention.graph")

    def test_plans(self):
        self.check(e2e.GRAPHS / "micro.graph", ("--emit", "plan"))

    def test_plan_text_compiles_to_the_same_program(self):
        whole = self.compile(e2e.GRAPHS / "micro.graph", out="whole")
        self.good(e2e.PLIMC, e2e.GRAPHS / "micro.graph", "--emit", "plan", "-o", "micro.plan")
        halves = self.compile("micro.plan", out="halves")
        self.assertEqual(whole.read_bytes() == halves.read_bytes(), True)
        dumped = self.good(e2e.PLIM_DUMP, whole, "--plan").stdout
        self.assertEqual(dumped, (self.folder / "micro.plan").read_text())


if __name__ == "__main__":
    e2e.unittest.main()
