"""A project of somebody else's (tests/project) built with find_package(Plimsoll): programs, libraries, rebuilds, plans
held against their summaries, and mistakes."""
import os
import re
import shutil
import time

import e2e
from installed import builds, install

PROJECT = e2e.SOURCE / "tests" / "project"


class Project(e2e.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tree = e2e.tempfile.TemporaryDirectory(prefix="plim-e2e-")
        cls.addClassCleanup(cls.tree.cleanup)
        # A name that make, Ninja and shells all have to quote.
        cls.prefix = install(e2e.pathlib.Path(cls.tree.name) / "an installation")

    def setUp(self):
        super().setUp()
        self.source, self.build = self.folder / "my project", self.folder / "its build"
        shutil.copytree(PROJECT, self.source)

    def configure(self, **options):
        self.good("cmake", "-S", self.source, "-B", self.build, f"-DCMAKE_PREFIX_PATH={self.prefix}",
                  env=builds(**options))

    def make(self, *targets):
        self.good("cmake", "--build", self.build, *(w for t in targets for w in ("--target", t)))

    def fails_to_make(self, says, *targets):
        done = e2e.run("cmake", "--build", self.build, *(w for t in targets for w in ("--target", t)))
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout + done.stderr, says)
        return done.stdout + done.stderr

    def change(self, file, old, new):
        text = (self.source / file).read_text()
        self.assertIn(old, text)
        # Make compares times, which some file systems keep in coarse steps.
        time.sleep(0.02)
        (self.source / file).write_text(text.replace(old, new))

    def made(self, name="tides"):
        return (self.build / name).stat().st_mtime_ns

    def check_build(self, generator):
        self.configure(generator=generator)
        self.make()
        self.good("ctest", "--test-dir", self.build, "--output-on-failure")
        before = self.made(), self.made("guess")
        self.make()
        self.assertEqual((self.made(), self.made("guess")), before, "nothing changed, something was made")
        # A file that the model uses, and nothing else says so.
        self.change("parts/layers.plim", "# What", "# All that")
        self.make()
        self.assertGreater(self.made(), before[0])
        self.assertEqual(self.made("guess"), before[1])

    def test_with_ninja(self):
        self.check_build("Ninja")

    def test_with_make(self):
        self.check_build("Unix Makefiles")

    def test_artifacts_depend_on_no_folder(self):
        self.configure()
        self.make("tides-compile", "tiny-gpt-compile")
        names = ("tides", "plimsoll/tiny-gpt/libtiny-gpt.a", "plimsoll/tiny-gpt/tiny_gpt.h")
        first = [(self.build / name).read_bytes() for name in names]
        for bytes_, word in ((b, w) for b in first for w in (self.folder, self.prefix, e2e.BUILD, e2e.SOURCE)):
            self.assertNotIn(str(word).encode(), bytes_)
        old, self.source, self.build = self.source, self.folder / "moved", self.folder / "b"
        old.rename(self.source)
        self.prefix = install(self.folder / "second")
        self.configure()
        self.make("tides-compile", "tiny-gpt-compile")
        self.assertEqual([(self.build / name).read_bytes() == b for name, b in zip(names, first)], [True] * 3)

    def test_a_new_compiler_makes_new_programs(self):
        self.prefix = install(self.folder / "mine")
        self.configure()
        self.make("tides-compile")
        before = self.made()
        time.sleep(0.02)
        os.utime(self.prefix / "bin" / "plimc")
        self.make("tides-compile")
        self.assertGreater(self.made(), before)

    def test_a_mistake_in_a_model_is_told_with_its_place(self):
        self.configure()
        self.change("tides.plim", "mean(off * off)", "mean(of * of)")
        self.fails_to_make(re.escape(str(self.source)) + r"/tides\.plim:\d+:\d+: error\[P0\d+\]")
        self.assertFalse((self.build / "tides").exists())

    def test_a_budget_is_held(self):
        self.change("CMakeLists.txt", "BUDGET 1MiB", "BUDGET 1KiB")
        self.configure()
        self.fails_to_make(r"error\[P08\d\d\]")

    def test_a_plan_that_grew_is_told_and_can_be_accepted(self):
        self.configure()
        self.make("tides-check")
        kept = (self.source / "tides.summary").read_text()
        # Less than the limits: told, and the build goes on.
        self.change("tides.plim", "hidden = 16;", "hidden = 15;")
        done = self.good("cmake", "--build", self.build, "--target", "tides-check")
        self.assertRegex(done.stdout + done.stderr, r"(?m)^  weights .* -\d")
        self.change("tides.plim", "hidden = 15;", "hidden = 64;")
        said = self.fails_to_make(r"(?m)^peak .*KiB .*KiB .*\+\d", "tides-check")
        self.assertRegex(said, r"fails: peak>\+1%")
        self.assertIn("--target tides-accept", said)
        self.make("tides-accept")
        self.make("tides-check")
        self.assertNotEqual((self.source / "tides.summary").read_text(), kept)
        # What nothing was kept of must be accepted once, too.
        (self.source / "tides.summary").unlink()
        self.fails_to_make(r"there\s+is\s+no\s[^:]*tides\.summary", "tides-check")

    def test_mistakes_in_the_rules(self):
        rules = self.source / "CMakeLists.txt"
        good = rules.read_text()
        for old, new, says in (("CONFIG tiny INCLUDES", "CONFIGURE tiny INCLUDES", "what is"),
                               ("MODEL tides.plim", "", "which MODEL"),
                               ("MODEL tides.plim", "MODEL waves.plim", "there is no .*waves.plim"),
                               ("EMIT lib", "EMIT dll", "exe or lib, not dll"),
                               ("SUMMARY tides.summary", "", "FAIL_IF needs a SUMMARY"),
                               ("Plimsoll 0.1", "Plimsoll 7.0", "7.0")):
            self.assertIn(old, good)
            rules.write_text(good.replace(old, new))
            done = e2e.run("cmake", "-S", self.source, "-B", self.build, f"-DCMAKE_PREFIX_PATH={self.prefix}",
                           env=builds())
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(" ".join(done.stderr.split()), says)

    def test_the_script_of_the_documentation(self):
        page = (e2e.SOURCE / "docs" / "ci.md").read_text()
        script, = re.findall(r"```sh\n(.*?)```", page, re.S)
        (self.folder / "models.sh").write_text(script)
        for name in ("models", "plans"):
            (self.folder / name).mkdir()
        shutil.copy(e2e.SOURCE / "models" / "mlp.plim", self.folder / "models")
        (self.folder / "plans" / "mlp.summary").write_text("")
        settings = dict(os.environ, PATH=f"{self.prefix / 'bin'}:{os.environ['PATH']}")
        self.refused("sh", "models.sh", env=settings)
        self.good("sh", "models.sh", "accept", env=settings)
        self.assertIn("figures are the same", self.good("sh", "models.sh", env=settings).stdout)
        text = (self.folder / "models" / "mlp.plim").read_text()
        (self.folder / "models" / "mlp.plim").write_text(text.replace("hidden = 32;", "hidden = 64;"))
        done = e2e.run("sh", "models.sh", cwd=self.folder, env=settings)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("fails: peak>+1%", done.stdout)


if __name__ == "__main__":
    e2e.unittest.main()
