"""generate: prompts, variants, stop strings and the context's end, on a model whose tokens say what was called;
then on a trained GPT-2, where the text follows from the weights, the prompt and the seed alone."""
import json
import shutil
import struct
import subprocess

import e2e

# A byte tokenizer and no weights. prefill gives "(" for the variant 8 and "@" for 32; decode says its position.
PLACES = """
model places(context = 32) {
  tokenizer "bytes"
  entry prefill(tokens: i32[1, s], length: i32) for s in (8, context) {
    return tokens[.., length - 1] * 0 + (s + 32)
  }
  entry decode(token: i32[1, 1], pos: i32) { return token[.., 0] * 0 + (pos + 60) }
}
"""
# Counts the bytes up from the prompt's last one.
COUNTER = """
model counter(vocab = %d, context = 64) {
  tokenizer "%s"
  entry prefill(tokens: i32[1, context], length: i32) { return tokens[.., length - 1] + 1 }
  entry decode(token: i32[1, 1], pos: i32) { return token[.., 0] + 1 }
}
"""


class Calls(e2e.TestCase):
    def model(self, text, name="m"):
        (self.folder / f"{name}.plim").write_text(text)
        return self.compile(self.folder / f"{name}.plim", out=name)

    def generate(self, program, prompt, *flags):
        return self.good(program, "generate", "--prompt", prompt, *flags).stdout

    def test_variants_and_positions(self):
        program = self.model(PLACES)
        said = "".join(chr(60 + pos) for pos in range(3, 8))
        self.assertEqual(self.generate(program, "abc", "--tokens", "6"), "(" + said)
        self.assertEqual(self.generate(program, "x" * 8, "--tokens", "1"), "(")
        self.assertEqual(self.generate(program, "x" * 9, "--tokens", "2"), "@" + chr(60 + 9))
        log = self.folder / "log"
        self.generate(program, "abc", "--tokens", "3", "--log", log)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        self.assertEqual([(x["step"], x["position"], x["token"]) for x in lines],
                         [(1, 3, 40), (2, 4, 63), (3, 5, 64)])

    def test_the_context_ends(self):
        program = self.model(COUNTER % (256, "bytes"))
        done = self.good(program, "generate", "--prompt", "0" * 60)
        self.assertEqual(done.stdout, "12345")
        self.assertRegex(done.stderr, "the context of 64 tokens is full")
        self.assertEqual(self.generate(program, "0" * 64), "1")
        self.refused_in_one_sentence(program, "generate", "--prompt", "0" * 65, says="65 tokens.*holds 64")
        quiet = self.good(program, "generate", "--prompt", "a", "--tokens", "3", "--quiet")
        self.assertEqual((quiet.stdout, quiet.stderr), ("bcd", ""))
        told = self.good(program, "generate", "--prompt", "a", "--tokens", "3").stderr
        self.assertRegex(told, r"^prompt: 1 tokens in [\d.]+ ms; text: 3 tokens, [\d.]+ tokens/s\n$")

    def test_stops(self):
        program = self.model(COUNTER % (256, "bytes"))
        self.assertEqual(self.generate(program, "a", "--stop", "efg"), "bcd")
        self.assertEqual(self.generate(program, "a", "--stop", "zz", "--stop", "gh", "--stop", "fgx"), "bcdef")
        self.assertEqual(self.generate(program, "a", "--stop", "b"), "")
        # The beginning of a stop that does not come is printed after all.
        self.assertEqual(self.generate(program, "a", "--stop", "defX", "--tokens", "5"), "bcdef")
        self.refused_in_one_sentence(program, "generate", "--prompt", "a", "--stop", "", says="--stop")

    def test_ids(self):
        program = self.model(COUNTER % (600, "bytes"))
        ids = lambda *flags: self.good(program, "generate", "--prompt-tokens", *flags).stdout
        # Beyond what the tokenizer has.
        self.assertEqual(ids("7,299", "--tokens", "3"), "300 301 302\n")
        self.assertEqual(ids("64", "--tokens", "2", "--tokenizer", "bytes"), "AB")
        log = self.folder / "log"
        told = self.good(program, "generate", "--prompt-tokens", "5", "--tokens", "2", "--log", log, "--profile").stdout
        self.assertRegex(told, r"^6 7\n")
        self.assertEqual([json.loads(line)["token"] for line in log.read_text().splitlines()], [6, 7])
        for wrong in ("", "1,", ",1", "1 2", "-1", "a", "99999999999"):
            self.refused_in_one_sentence(program, "generate", "--prompt-tokens", wrong, says="ids|empty")
        self.refused_in_one_sentence(program, "generate", "--prompt-tokens", "1", "--prompt", "a", says="two prompts")
        self.refused_in_one_sentence(program, "generate", "--prompt-tokens", "1", "--stop", "a", says="--tokenizer")

    def test_standard_input(self):
        program = self.model(COUNTER % (256, "bytes"))
        done = subprocess.run([program, "generate", "--prompt", "-", "--tokens", "2"], input=b"xyA", capture_output=True)
        self.assertEqual(done.stdout, b"BC")

    def test_tokenizers(self):
        kinds = e2e.SOURCE / "tests" / "unit" / "tokenizers"
        # Beside the program, where no tokenizer is named on the command line.
        program = self.model(COUNTER % (600, "tok.json"))
        self.refused_in_one_sentence(program, "generate", "--prompt", "a", says="tok.json")
        shutil.copy(kinds / "gpt2.json", self.folder / "tok.json")
        vocab = json.loads((kinds / "gpt2.json").read_text())["model"]["vocab"]
        first = vocab["A"]
        pieces = {id: piece for piece, id in vocab.items()}
        said = "".join(pieces[first + i] for i in range(1, 5))
        self.assertEqual(self.generate(program, "A", "--tokens", "4"), said)
        self.assertEqual(self.generate(program, "A", "--tokens", "4", "--tokenizer", "bytes"), "BCDE")
        self.good(program, "generate", "--prompt", "A", cwd="/")
        self.refused_in_one_sentence(program, "generate", "--prompt", "a", "--tokenizer", "m.plim", says="m.plim.*JSON")
        # Ids that the tokenizer does not know.
        done = self.good(program, "generate", "--prompt", "\udcff", "--tokenizer", "bytes", "--tokens", "3")
        self.assertRegex(done.stderr, "token 256 is none of the tokenizer's 256")

    def test_wrong_usage(self):
        program = self.model(COUNTER % (256, "bytes"))
        self.refused_in_one_sentence(program, "generate", says="--prompt")
        self.refused_in_one_sentence(program, "generate", "--prompt", "", says="empty")
        self.refused_in_one_sentence(program, "generate", "--prompt", "a", "--temperature", "hot", says="hot")
        self.refused_in_one_sentence(program, "generate", "--prompt", "a", "--top-p", "2", says="0 to 1")
        self.refused_in_one_sentence(program, "generate", "--prompt", "a", "--temperature", "1", says="no knobs")
        self.refused_in_one_sentence(program, "generate", "--prompt", "a", "--log", "no/log", says="no/log")
        other = self.compile(e2e.GRAPHS / "mlp.graph", out="other")
        self.refused_in_one_sentence(other, "generate", "--prompt", "a", says="can't generate")


# One weight a token; its loss is the mean of the weights that the batch's tokens have.
READER = """
model reader(vocab = 600) {
  tokenizer "tok.json"
  weight = param [vocab] ~ normal(1.0)
  entry eval(text: i32[1, 16] from data) { return mean(weight[text]) }
}
"""


class Text(e2e.TestCase):
    def test_data_are_tokenized(self):
        """eval over a text is eval over the library's tokens of it, in a token file."""
        kinds = e2e.SOURCE / "tests" / "unit" / "tokenizers"
        shutil.copy(kinds / "gpt2.json", self.folder / "tok.json")
        (self.folder / "m.plim").write_text(READER)
        program = self.compile(self.folder / "m.plim")
        cases = [json.loads(line) for line in (kinds / "gpt2.cases").read_text().splitlines()]
        # Long enough to differ from its bytes in every window.
        text, ids = max(((c["text"], c["ids"]) for c in cases), key=lambda c: len(c[1]))
        self.assertGreater(len(ids), 16)
        (self.folder / "text").write_text(text)
        header = struct.pack("<3i", 20240520, 1, len(ids)) + bytes(1024 - 12)
        (self.folder / "tokens").write_bytes(header + struct.pack(f"<{len(ids)}H", *ids))
        runs = [self.good(program, "eval", "--data", data, "--seed", "3").stdout for data in ("text", "tokens")]
        self.assertEqual(*runs)
        (self.folder / "tok.json").unlink()
        self.refused_in_one_sentence(program, "eval", "--data", "text", says="tok.json")
        self.good(program, "eval", "--data", "tokens")


class Trained(e2e.TestCase):
    def test_gpt2(self):
        (self.folder / "text").write_text(e2e.grammar_text(3000))
        program = self.compile(e2e.SOURCE / "models" / "gpt2.plim", "--config", "tiny", "-D", "layers=2", "-D", "width=64",
                               "-D", "context=48", "-D", "batch=8")
        self.train(program, "text", "--save", "out", "--set", "lr=0.01", "--set", "warmup=3", steps=30)
        weights = next((self.folder / "out").rglob("model.safetensors"))

        def generate(prompt, *flags):
            return self.good(program, "generate", "--weights", weights, "--prompt", prompt, "--quiet", *flags).stdout

        prompt = (self.folder / "text").read_text()[:12]
        greedy = generate(prompt, "--temperature", "0", "--tokens", "20")
        self.assertEqual(len(greedy), 20)
        self.assertEqual(generate(prompt, "--temperature", "0", "--tokens", "20", "--seed", "9"), greedy)
        self.assertEqual(generate(prompt, "--temperature", "0", "--tokens", "20", "--threads", "1"), greedy)
        # The cache says what reading everything again says.
        for k in (1, 7, 19):
            self.assertEqual(generate(prompt + greedy[:k], "--temperature", "0", "--tokens", "1"), greedy[k])
        # Draws follow from the seed and the position alone.
        drawn = {seed: generate(prompt, "--seed", seed, "--tokens", "20") for seed in ("1", "2", "3")}
        self.assertEqual(len(set(drawn.values())), 3)
        self.assertEqual(generate(prompt, "--seed", "1", "--tokens", "20", "--threads", "1"), drawn["1"])
        self.assertEqual(generate(prompt + drawn["1"][:5], "--seed", "1", "--tokens", "5"), drawn["1"][5:10])
        # So few candidates that one is left.
        self.assertEqual(generate(prompt, "--seed", "1", "--top-p", "1e-6", "--tokens", "20"), greedy)
        done = self.good(program, "generate", "--weights", weights, "--prompt", "x" * 40, "--tokens", "100")
        self.assertRegex(done.stderr, "context of 48 tokens is full")

    def test_wrong_weights(self):
        program = self.compile(e2e.SOURCE / "models" / "gpt2.plim", "--config", "tiny", "-D", "layers=1", "-D", "width=64",
                               "-D", "context=48", "-D", "vocab=200", "--entry", "prefill,decode")
        self.refused_in_one_sentence(program, "generate", "--prompt", "a", says="--weights")
        self.refused(program, "generate", "--prompt", "a", "--weights", "nowhere", says="nowhere")
        (self.folder / "broken").write_bytes(b"\x10\0\0\0\0\0\0\0{broken")
        self.refused(program, "generate", "--prompt", "a", "--weights", "broken", says="broken")
        # Bytes beyond the vocabulary.
        self.refused_in_one_sentence(program, "generate", "--prompt", "\udcff", says="255 is beyond.* of 200")


if __name__ == "__main__":
    e2e.unittest.main()
