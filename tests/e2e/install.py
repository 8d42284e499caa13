"""cmake --install: a tree that works wherever it lies, and names no folder of the machine it was made on."""
import os
import shutil

import e2e
from installed import TOOLS, install

MODEL = e2e.SOURCE / "models" / "mlp.plim"
EXPECTED = {
    "bin/plimc", "bin/plim-opt", "bin/plim-dump", "lib/plimsoll/libplim_runtime.a", "include/plimsoll/plim.h",
    "lib/cmake/Plimsoll/PlimsollConfig.cmake", "lib/cmake/Plimsoll/PlimsollConfigVersion.cmake",
    "lib/cmake/Plimsoll/PlimsollModel.cmake", "lib/cmake/Plimsoll/PlimsollSummary.cmake",
    "share/pkgconfig/plimsoll.pc", "share/man/man1/plimc.1", "share/man/man1/plim-opt.1",
    "share/man/man1/plim-dump.1", "share/man/man7/plimsoll-program.7", "share/plimsoll/models/gpt2.plim",
    "share/bash-completion/completions/plimc", "share/bash-completion/completions/plim-opt",
    "share/bash-completion/completions/plim-dump", "share/doc/plimsoll/ci.md", "share/doc/plimsoll/LICENSE",
}


class Install(e2e.TestCase):
    def setUp(self):
        super().setUp()
        self.prefix = install(self.folder / "one")

    def make(self, plimc, model, out, *options):
        self.good(plimc, model, "--config", "tiny", "--quiet", "-o", out, *options)
        return (self.folder / out).read_bytes()

    def test_the_tree(self):
        found = {str(p.relative_to(self.prefix)) for p in self.prefix.rglob("*") if not p.is_dir()}
        self.assertEqual(EXPECTED - found, set())
        outside = {f for f in found if f.split("/")[0] not in ("bin", "lib", "include", "share")}
        self.assertEqual(outside, set())

    def test_no_file_names_a_folder_of_this_machine(self):
        words = [str(w).encode() for w in (e2e.BUILD, e2e.SOURCE, self.folder)]
        for path in self.prefix.rglob("*"):
            if path.is_dir():
                continue
            for word in words:
                self.assertNotIn(word, path.read_bytes(), path)

    def test_equal_models_give_equal_bytes_from_every_installation(self):
        other = install(self.folder / "another, with spaces")
        shutil.copy(MODEL, self.folder / "mlp.plim")
        uses = ((e2e.PLIMC, MODEL), (self.prefix / "bin/plimc", "mlp.plim"),
                (other / "bin/plimc", self.folder / "mlp.plim"))
        for out, options in (("mlp", ()), ("libmlp.a", ("--emit", "lib"))):
            made = [self.make(plimc, model, out, *options) for plimc, model in uses]
            self.assertEqual([m == made[0] for m in made], [True] * len(made), out)
            for word in (e2e.BUILD, e2e.SOURCE, self.folder):
                self.assertNotIn(str(word).encode(), made[0])

    def test_a_moved_tree_works(self):
        moved = self.folder / "elsewhere" / "deep"
        moved.parent.mkdir()
        self.prefix.rename(moved)
        (self.folder / "link").symlink_to(moved / "bin" / "plimc")
        self.good(self.folder / "link", moved / "share/plimsoll/models/mlp.plim", "--config", "tiny", "--quiet",
                  "-o", "mlp")
        self.good("./mlp", "info")
        self.assertIn("mlp", self.good(moved / "bin/plim-dump", "mlp").stdout)
        self.assertIn("simplify", self.good(moved / "bin/plim-opt", "--list").stdout)

    def test_a_text_can_use_the_models_installed(self):
        (self.folder / "mine.plim").write_text(
            'use "lstm.plim" as theirs\nuse nn\nmodel mine(batch = 2) {\n'
            "  entry eval(x: f32[batch, 4] from data) { return mean(out: nn.linear(x, 3)) }\n}\n")
        self.refused(self.prefix / "bin/plimc", "mine.plim", "--check", says="lstm.plim")
        self.good(self.prefix / "bin/plimc", "mine.plim", "--check", "-I", self.prefix / "share/plimsoll/models")

    def test_without_the_runtime_library_there_is_a_sentence(self):
        (self.prefix / "lib/plimsoll/libplim_runtime.a").unlink()
        self.refused(self.prefix / "bin/plimc", MODEL, "-o", "mlp", says=r"P0952.*libplim_runtime\.a")

    def test_pkg_config(self):
        settings = dict(os.environ, PKG_CONFIG_PATH=str(self.prefix / "share/pkgconfig"))
        self.good("pkg-config", "--validate", "plimsoll", env=settings)

        def ask(*words):
            return self.good("pkg-config", *words, "plimsoll", env=settings).stdout.split()
        plimc, = ask("--variable=plimc")
        version, = ask("--modversion")
        self.assertEqual(self.good(plimc, "--version").stdout.split(), ["plimc", version])
        (self.folder / "main.c").write_text('#include "libm.h"\n#include <plimsoll/plim.h>\nint main(void) '
                                            "{ PlimStatus s = PLIM_OK; m_close(NULL); return (int)s; }\n")
        self.make(plimc, f"{ask('--variable=models')[0]}/mlp.plim", "libm.a", "--emit", "lib")
        (self.folder / "m.h").rename(self.folder / "libm.h")
        self.good("cc", "main.c", *ask("--cflags"), "libm.a", *ask("--libs"), "-o", "main")
        self.good("./main")

    def test_every_tool_says_which_it_is(self):
        for tool in TOOLS:
            self.assertIn(tool, self.good(self.prefix / "bin" / tool, "--help").stdout)


if __name__ == "__main__":
    e2e.unittest.main()
