"""The models that come with the compiler, at tiny sizes: they compile, their plans verify, they train for 30 steps
on data made here, and what they save has the names and shapes of published checkpoints."""
import json
import random

import e2e

STEPS = 30
SMALL = ("-D", "layers=2", "-D", "width=64", "-D", "context=64", "-D", "batch=8")


class Models(e2e.TestCase):
    def program(self, model, *flags):
        program = self.compile(e2e.SOURCE / "models" / f"{model}.plim", "--config", "tiny", *flags)
        self.good(e2e.PLIM_DUMP, program, "--verify")
        return program

    def learns(self, program, data, *flags, below):
        """Trains; the loss falls under the given share of what it was. The saved tensors."""
        lines = self.train(program, data, "--save", "out", *flags, steps=STEPS)
        losses = e2e.losses(lines)
        self.assertLess(min(losses[-3:]), below * losses[0], losses)
        weights = e2e.saved(self.folder / "out")
        self.check_resident(lines, weights)
        self.check_arena(program, data, *flags)

        # eval over the same data agrees with where training ended.
        done = self.good(program, "eval", "--data", data, "--weights", weights, "--steps", "4")
        self.assertLess(float(done.stdout.split()[1]), below * losses[0] * 1.1, done.stdout)
        return e2e.read_safetensors(weights)

    def text(self):
        (self.folder / "text").write_text(e2e.grammar_text(3000))
        return "text"

    def tables(self, tensors):
        e2e.write_safetensors(self.folder / "tables", tensors)
        return "tables"

    def check_names(self, saved, expected):
        for name, shape in expected.items():
            self.assertIn(name, saved)
            self.assertEqual(saved[name][:2], ("F32", shape), name)

    def test_gpt2(self):
        saved = self.learns(self.program("gpt2", *SMALL), self.text(), "--set", "lr=0.01", "--set", "warmup=3",
                            below=0.5)
        self.check_names(saved, {
            "wte.weight": [256, 64], "wpe.weight": [64, 64], "h.0.ln_1.weight": [64], "h.0.ln_1.bias": [64],
            "h.1.attn.c_attn.weight": [64, 192], "h.1.attn.c_attn.bias": [192], "h.0.attn.c_proj.weight": [64, 64],
            "h.0.mlp.c_fc.weight": [64, 256], "h.0.mlp.c_proj.weight": [256, 64], "h.1.ln_2.bias": [64],
            "ln_f.weight": [64], "ln_f.bias": [64]})

    def test_gpt2_on_this_machine(self):
        self.learns(self.program("gpt2", *SMALL, "--target", "cpu:native"), self.text(), "--set", "lr=0.01",
                    "--set", "warmup=3", below=0.5)

    def test_llama(self):
        saved = self.learns(self.program("llama", *SMALL, "-D", "ffn=176"), self.text(), "--set", "lr=0.01",
                            "--set", "warmup=3", below=0.6)
        self.check_names(saved, {
            "model.embed_tokens.weight": [256, 64], "model.layers.0.self_attn.q_proj.weight": [64, 64],
            "model.layers.1.self_attn.k_proj.weight": [32, 64], "model.layers.1.self_attn.v_proj.weight": [32, 64],
            "model.layers.0.self_attn.o_proj.weight": [64, 64], "model.layers.0.mlp.gate_proj.weight": [176, 64],
            "model.layers.0.mlp.up_proj.weight": [176, 64], "model.layers.0.mlp.down_proj.weight": [64, 176],
            "model.layers.0.input_layernorm.weight": [64], "model.layers.1.post_attention_layernorm.weight": [64],
            "model.norm.weight": [64]})

    def test_llama_lora(self):
        # Over a base of random weights the factors learn little, but they do.
        saved = self.learns(self.program("llama_lora"), self.text(), "--set", "lr=0.03", below=0.98)
        factors = "model.layers.1.self_attn.v_proj"
        self.check_names(saved, {factors + ".lora_A.weight": [4, 64], factors + ".lora_B.weight": [32, 4]})
        self.assertEqual(saved[factors + ".weight"][:2], ("BF16", [32, 64]))

    def test_bert_base(self):
        # Every token's label is a fixed function of it: learnt word by word.
        source = random.Random(3)
        rows, context = 64, 32
        tokens = [source.randrange(16) for _ in range(rows * context)]
        data = self.tables({"tokens": ("I32", [rows, context], e2e.integers(tokens)),
                            "labels": ("I32", [rows, context], e2e.integers([(5 * t + 3) % 16 for t in tokens]))})
        saved = self.learns(self.program("bert_base"), data, "--set", "lr=0.01", "--set", "warmup=3", below=0.5)
        self.check_names(saved, {
            "bert.embeddings.word_embeddings.weight": [256, 64],
            "bert.embeddings.position_embeddings.weight": [64, 64],
            "bert.embeddings.token_type_embeddings.weight": [2, 64], "bert.embeddings.LayerNorm.weight": [64],
            "bert.encoder.layer.0.attention.self.query.weight": [64, 64],
            "bert.encoder.layer.1.attention.output.dense.bias": [64],
            "bert.encoder.layer.0.intermediate.dense.weight": [128, 64],
            "bert.encoder.layer.0.output.dense.weight": [64, 128],
            "cls.predictions.transform.dense.weight": [64, 64], "cls.predictions.bias": [256]})

    def test_vit_b16(self):
        # A class is a colour, under noise.
        source = random.Random(4)
        rows, side = 80, 32
        colour = [[source.gauss(0, 1) for _ in range(3)] for _ in range(10)]
        pixels, labels = [], []
        for _ in range(rows):
            label = source.randrange(10)
            labels.append(label)
            for level in colour[label]:
                pixels += [level + source.random() * 0.4 for _ in range(side * side)]
        data = self.tables({"images": ("F32", [rows, 3, side, side], e2e.floats(pixels)),
                            "labels": ("I32", [rows], e2e.integers(labels))})
        saved = self.learns(self.program("vit_b16"), data, "--set", "lr=0.003", "--set", "warmup=3", below=0.5)
        self.check_names(saved, {
            "vit.embeddings.cls_token": [1, 1, 64], "vit.embeddings.position_embeddings": [1, 17, 64],
            "vit.embeddings.patch_embeddings.projection.weight": [64, 3, 8, 8],
            "vit.encoder.layer.0.attention.attention.query.weight": [64, 64],
            "vit.encoder.layer.1.layernorm_after.bias": [64], "classifier.weight": [10, 64]})

    def test_mlp(self):
        e2e.write_classes(self.folder / "points", 256)
        points = e2e.read_safetensors(self.folder / "points")
        data = self.tables({"x": points["x"], "label": points["y"]})
        saved = self.learns(self.program("mlp"), data, below=0.5)
        self.check_names(saved, {"fc1.weight": [32, 16], "fc1.bias": [32], "fc2.weight": [4, 32], "fc2.bias": [4]})

    def test_all_sizes_are_planned(self):
        """The published sizes, planned without code: parameters as published, within the plan's own bound."""
        published = {("gpt2", "124m"): 124_439_808, ("gpt2", "350m"): 354_823_168, ("gpt2", "774m"): 774_030_080,
                     ("gpt2", "xl"): 1_557_611_200, ("bert_base", None): None, ("vit_b16", None): 86_567_656,
                     ("mlp", None): 203_530}
        if e2e.SCALE > 1:
            published = {("gpt2", "124m"): 124_439_808}
        for (model, config), parameters in published.items():
            flags = ("--config", config) if config else ()
            self.good(e2e.PLIMC, e2e.SOURCE / "models" / f"{model}.plim", *flags, "-D", "batch=4", "--emit", "plan",
                      "-o", "big.plan")
            info = json.loads(self.good(e2e.PLIM_DUMP, "big.plan", "--json").stdout)
            if parameters:
                self.assertEqual(e2e.count_parameters(self.folder / "big.plan"), parameters, (model, config))
            self.assertGreaterEqual(info["spaces"]["device"]["bytes"], info["spaces"]["device"]["load"])


if __name__ == "__main__":
    e2e.unittest.main()
