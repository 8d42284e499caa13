"""Models as static libraries: the example of docs/embedding compiled as a user would, two models in one program,
what the archive shows, and what is refused."""
import unittest

from e2e import PLIMC, SOURCE, TestCase, grammar_text

EXAMPLE = SOURCE / "docs" / "embedding" / "score.c"
LINK = ("-lm", "-lpthread", "-ldl")
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
TINY = ("--config", "tiny", "-D", "width=32", "-D", "layers=1")

# Two libraries in one program, names of its own like ours, an arena full of ones, and every mistake a caller can make.
TWO_MODELS = r"""
#include "one.h"
#include "two.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int session_open(void); /* a name the runtime has, too */
int session_open(void) { return 7; }

int main(void) {
    PlimError error = {""};
    One *one = NULL;
    Two *two = NULL;
    char *arena = aligned_alloc(ONE_ARENA_ALIGNMENT, ONE_ARENA_BYTES), *other = aligned_alloc(64, TWO_ARENA_BYTES + 64);
    memset(arena, 0xff, ONE_ARENA_BYTES);
    memset(other, 0xff, TWO_ARENA_BYTES);
    if (one_open(arena, ONE_ARENA_BYTES, 1, &one, &error) || one_init(one, 3, &error)) return puts(error.text), 1;
    if (two_open(other, TWO_ARENA_BYTES, 2, &two, &error) || two_init(two, 3, &error)) return puts(error.text), 1;
    int32_t text[16 * 129];
    for (int i = 0; i < 16 * 129; i++) text[i] = i * 37 % 256;
    float first, second, third;
    if (one_eval(one, text, &first, &error) || two_eval(two, text, &second, &error)) return puts(error.text), 1;
    if (one_eval(one, text, &third, &error) || one_eval(one, text, NULL, &error)) return puts(error.text), 1;
    printf("%.9g %.9g %.9g\n", first, second, third);
    text[5] = 256;
    if (one_eval(one, text, &first, &error) != PLIM_BAD_INPUT) return 2;
    printf("%s\n", error.text);
    One *none = NULL;
    if (one_open(arena, ONE_ARENA_BYTES - 64, 1, &none, &error) != PLIM_BAD_INPUT || none) return 3;
    printf("%s\n", error.text);
    if (two_open(other + 4, TWO_ARENA_BYTES, 1, (Two **)&none, &error) != PLIM_BAD_INPUT) return 4;
    printf("%s\n", error.text);
    if (two_open(other, TWO_ARENA_BYTES, 999, (Two **)&none, &error) != PLIM_BAD_INPUT) return 8;
    printf("%s\n", error.text);
    if (one_call(one, 99, NULL, NULL, &error) != PLIM_BAD_INPUT || one_load(one, "nothing", &error) == PLIM_OK) return 5;
    size_t bytes = 0;
    if (!one_state(one, "wte", &bytes) || bytes != 256 * 32 * 4 || one_state(one, "wtf", NULL)) return 6;
    one_close(one), two_close(two), two_close(NULL), free(arena), free(other);
    return session_open() == 7 ? 0 : 7;
}
"""


class Library(TestCase):
    def library(self, name, *options):
        self.good(PLIMC, SOURCE / "models/gpt2.plim", *TINY, "--entry", "eval", "--emit", "lib", "-o", f"lib{name}.a",
                  "--quiet", *options)

    def test_the_example_scores_what_the_program_scores(self):
        (self.folder / "corpus.txt").write_text(grammar_text(900))
        program = self.compile(SOURCE / "models/gpt2.plim", *TINY)
        self.good(program, "train", "--data", "corpus.txt", "--steps", "2", "--save", "out", "--quiet")
        weights = sorted(self.folder.glob("out/**/model.safetensors"))[-1]
        self.library("gpt2")
        self.good("cc", *STRICT, "-I.", EXAMPLE, "libgpt2.a", *LINK, "-o", "score")
        scored = float(self.good("./score", weights, "corpus.txt").stdout)
        said = self.good(program, "eval", "--data", "corpus.txt", "--weights", weights).stdout
        self.assertAlmostEqual(scored, float(said.split()[1]), places=5)
        self.refused_in_one_sentence("./score", "no.safetensors", "corpus.txt", says="no.safetensors")

    def test_two_models_in_one_program(self):
        self.library("one")
        self.library("two")
        (self.folder / "two.c").write_text(TWO_MODELS)
        self.good("cc", *STRICT, "two.c", "libone.a", "libtwo.a", *LINK, "-o", "two_models")
        values, bound, small, crooked, threads = self.good("./two_models").stdout.splitlines()
        self.assertEqual(len(set(values.split())), 1)
        self.assertRegex(bound, r"text: value 256 at 5 is outside")
        self.assertRegex(small, r"the arena has \d+ bytes, the plan needs \d+")
        self.assertRegex(crooked, r"multiple of 64")
        # Callers have arguments, no flags.
        self.assertRegex(threads, r"^999 threads were asked for, and the plan has workspace for \d+: compile the model with --threads 999")

    def test_an_archive_shows_its_own_names_only(self):
        self.library("one")
        shown = [line.split()[-1] for line in self.good("nm", "-g", "--defined-only", "libone.a").stdout.splitlines()
                 if len(line.split()) == 3]
        self.assertEqual(sorted(shown), ["one_call", "one_close", "one_init", "one_load", "one_open", "one_state"])
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["libone.a", "one.h"])

    def test_equal_inputs_give_equal_bytes(self):
        self.library("one")
        before = [(self.folder / name).read_bytes() for name in ("libone.a", "one.h")]
        self.library("one")
        self.assertEqual(before, [(self.folder / name).read_bytes() for name in ("libone.a", "one.h")])

    def test_the_header_is_c_plus_plus_too(self):
        self.library("one")
        (self.folder / "one.cc").write_text('#include "one.h"\nint main() { one_close(nullptr); }\n')
        self.good("g++", "-Wall", "-Wextra", "-Werror", "one.cc", "libone.a", *LINK, "-o", "plus")

    def test_names_that_are_none(self):
        for name in ("gpt2.a", "lib.a", "lib2.a", "libgpt+.a", "libgpt2.so"):
            self.refused(PLIMC, SOURCE / "models/mlp.plim", "--emit", "lib", "-o", name, "--quiet", says="P0953")
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
