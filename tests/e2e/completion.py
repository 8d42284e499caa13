"""bash's completion: asked as bash itself asks, it offers what the tools take."""
import os
import subprocess

import e2e
from installed import help_lines

SCRIPT = e2e.SOURCE / "tools" / "package" / "plimsoll.bash"
MODELS = e2e.SOURCE / "models"
# bash splits words at = and calls the function bound to the first one.
ASK = r"""
shopt -u extglob
. "$SCRIPT"
complete -F _plimsoll_program ./program
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
function=$(complete -p "$1" | sed -n 's/.*-F \([^ ]*\) .*/\1/p')
"$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


class Completion(e2e.TestCase):
    def setUp(self):
        super().setUp()
        for name in ("gpt2.plim", "mlp.plim"):
            (self.folder / name).write_bytes((MODELS / name).read_bytes())
        (self.folder / "notes.txt").write_text("")
        (self.folder / "config.json").write_text("{}")
        (self.folder / "sub").mkdir()

    def offered(self, *words):
        settings = dict(os.environ, SCRIPT=str(SCRIPT), PATH=f"{e2e.BUILD / 'tools'}:{os.environ['PATH']}")
        done = subprocess.run(["bash", "-c", ASK, "bash", *words], cwd=self.folder, env=settings, text=True,
                              capture_output=True, check=True)
        self.assertEqual(done.stderr, "")
        return sorted(word for word in done.stdout.split("\n") if word)

    def test_flags(self):
        for tool in ("plimc", "plim-opt", "plim-dump"):
            _, flags = help_lines(e2e.BUILD / "tools" / tool)
            self.assertEqual(self.offered(tool, "-"), sorted(flags))
        self.assertEqual(self.offered("plimc", "gpt2.plim", "--ent"), ["--entry"])
        self.assertEqual(self.offered("plimc", "--check", "--ver"), ["--version"])

    def test_inputs(self):
        self.assertEqual(self.offered("plimc", ""), ["gpt2.plim", "mlp.plim", "sub"])
        self.assertEqual(self.offered("plimc", "--quiet", "g"), ["gpt2.plim"])
        self.assertEqual(self.offered("plim-dump", ""), ["config.json", "gpt2.plim", "mlp.plim", "notes.txt", "sub"])
        self.assertEqual(self.offered("plimc", "-I", ""), ["sub"])

    def test_what_is_offered_is_taken(self):
        for flag in ("--emit", "--target", "--order", "--arrange", "--precision", "--error-format", "--dump-after",
                     "--model"):
            values = self.offered("plimc", "mlp.plim", flag, "")
            self.assertNotEqual(values, [], flag)
            for value in values:
                done = e2e.run(e2e.PLIMC, "mlp.plim", "--check", flag, value, cwd=self.folder)
                # Kinds of output are held against the target, too (P0864).
                self.assertIn(done.returncode, (0, 1) if flag == "--emit" else (0,), done.stderr)
        passes = ",".join(self.offered("plim-opt", "--passes", ""))
        self.assertNotIn("no pass", e2e.run(e2e.BUILD / "tools/plim-opt", "--passes", passes, "no.graph").stderr)

    def test_every_kind_of_output_is_offered(self):
        lines, _ = help_lines(e2e.PLIMC)
        text, = (line for line in lines if line.startswith("--emit"))
        for word in self.offered("plimc", "--emit", ""):
            self.assertIn(word, text)
        listed = text.replace(",", " ").replace(" or ", " ").split("KIND")[1].replace("(default)", "").split()
        self.assertEqual(self.offered("plimc", "--emit", ""), sorted(listed))

    def test_names_come_from_the_model(self):
        self.assertEqual(self.offered("plimc", "gpt2.plim", "--entry", ""), ["decode", "eval", "prefill", "train"])
        self.assertEqual(self.offered("plimc", "gpt2.plim", "--entry", "eval,de"), ["eval,decode"])
        self.assertEqual(self.offered("plimc", "gpt2.plim", "--entry", "=", "t"), ["train"])
        self.assertEqual(self.offered("plimc", "gpt2.plim", "--entry", "="), ["decode", "eval", "prefill", "train"])
        self.assertEqual(self.offered("plimc", "gpt2.plim", "--config", ""),
                         ["124m", "350m", "774m", "config.json", "sub", "tiny", "xl"])
        self.assertEqual(self.offered("plimc", "gpt2.plim", "--model", ""), ["gpt2"])

    def test_passes(self):
        self.assertIn("autodiff", self.offered("plim-opt", "--passes", ""))
        self.assertEqual(self.offered("plim-opt", "--passes", "simplify,autod"), ["simplify,autodiff"])

    def test_numbers_and_texts_offer_nothing(self):
        for words in (("plimc", "--threads", ""), ("plimc", "--budget", ""), ("plim-opt", "--capacity", "")):
            self.assertEqual(self.offered(*words), [])

    def test_programs(self):
        self.compile(e2e.GRAPHS / "mlp.graph")
        _, flags = help_lines(self.folder / "program", "train")
        self.assertEqual(self.offered("./program", "train", "-"), sorted(flags))
        self.assertEqual(self.offered("./program", "e"), ["eval", "export"])
        self.assertEqual(self.offered("./program", "export", "--dtype", ""), ["bf16", "f16", "f32"])
        entries = self.good("./program", "info").stdout.split("entries")[1].split("\n")[0].split()
        self.assertEqual(self.offered("./program", "run", ""), sorted(entries))
        self.assertEqual(self.offered("./program", "train", "--save", ""), ["sub"])
        self.assertIn("notes.txt", self.offered("./program", "train", "--data", ""))
        self.assertEqual(self.offered("./program", "train", "--steps", ""), [])


if __name__ == "__main__":
    e2e.unittest.main()
