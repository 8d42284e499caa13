#!/usr/bin/env python3
"""Our models beside transformers', with one set of weights passed through safetensors in both directions.

  tests/compare/models.py --build build/release [--only NAME] [--small]

For each of GPT-2 124M, a two-layer slice of Llama 3.2 1B, BERT base and ViT-B/16 (with --small: their tiny configurations)
transformers draws weights and saves them; our program loads them by their published names. Compared in f32:
  - logits, the loss and the gradient of every parameter, all against transformers in f64 (relative, by norm: at most 1e-5;
    what transformers itself has in f32 stands beside it);
  - the losses of 50 AdamW steps against PyTorch in f32, with decay, clipping and a new batch each (relative: at most 1e-4), and
    the weights after them.
  - our weights, exported, in transformers: no key missing or left over, and the same logits;
  - 200 tokens of greedy generation, token for token (GPT-2 and Llama).
Gradients are read off one step of plain gradient descent with the rate 2^20: w - rate g has g in its leading bits.
Not run by CI: it needs torch and transformers, and takes minutes. Exit status 1 where anything differs by more.
"""
import argparse
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from closeness import check, failed, relative

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
RATE = 2.0**20
STEPS = 50
SEED = 1


class Case:
    """One model: how each side builds it, and what a batch of it is."""

    def __init__(self, name, text, net, config, small, batch, sizes, no_decay, generates=False):
        self.name, self.text, self.net, self.config, self.small = name, text, net, config, small
        self.batch, self.sizes, self.no_decay, self.generates = batch, sizes, no_decay, generates


def of_rank_one(name, p):
    return p.dim() <= 1


CASES = [
    Case("gpt2", "gpt2.plim", "GPT2LMHeadModel", dict(model_type="gpt2", n_positions=256),
         dict(n_layer=2, n_head=4, n_embd=64, n_positions=256, vocab_size=512), 2, {}, of_rank_one, True),
    Case("llama", "llama.plim", "LlamaForCausalLM",
         dict(model_type="llama", num_hidden_layers=2, hidden_size=2048, num_attention_heads=32, num_key_value_heads=8,
              intermediate_size=8192, vocab_size=128256, tie_word_embeddings=True, rms_norm_eps=1e-5, rope_theta=500000.0,
              max_position_embeddings=131072,
              rope_scaling=dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                original_max_position_embeddings=8192)),
         dict(hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=176, vocab_size=512), 1,
         dict(context=128), of_rank_one, True),
    Case("bert", "bert_base.plim", "BertForMaskedLM", dict(model_type="bert"),
         dict(num_hidden_layers=2, num_attention_heads=2, hidden_size=64, intermediate_size=128, vocab_size=256,
              max_position_embeddings=64), 2, dict(context=64), of_rank_one),
    Case("vit", "vit_b16.plim", "ViTForImageClassification", dict(model_type="vit", num_labels=1000),
         dict(num_hidden_layers=2, num_attention_heads=2, hidden_size=64, intermediate_size=128, image_size=32, patch_size=8), 2,
         {}, lambda name, p: p.dim() <= 1 or name.startswith("vit.embeddings.")),
]


def make_data(case, net, sizes):
    """STEPS batches as PyTorch takes them, the first one first, and the file that our program trains on.

    Labels and tokens are drawn unevenly, as words are: there is something to learn at once.
    """
    made = torch.Generator().manual_seed(7)
    config, rows = net.config, STEPS * case.batch

    def draw(below, *shape, first=0):
        weights = 1 / (torch.arange(first, below) + 10.0)
        return first + torch.multinomial(weights, int(np.prod(shape)), True, generator=made).reshape(shape)

    if case.name == "vit":
        images = torch.randn(rows, 3, config.image_size, config.image_size, generator=made)
        labels = draw(config.num_labels, rows)
        data = dict(images=images, labels=labels.int())
        inputs = dict(pixel_values=images, labels=labels)
    else:
        context = sizes.get("context", getattr(config, "n_positions", 0))
        if case.name == "bert":
            # Not 0: transformers gives the padding token's row no gradient.
            tokens = draw(config.vocab_size, rows, context, first=1)
            hidden = torch.rand(rows, context, generator=made) < 0.15
            labels = torch.where(hidden, draw(config.vocab_size, rows, context), -100)
            data = dict(tokens=tokens.int(), labels=labels.int())
            inputs = dict(input_ids=tokens, labels=labels)
        else:
            # Windows of context + 1 tokens that overlap by one.
            data = draw(config.vocab_size, rows * context + 1)
            windows = data.unfold(0, context + 1, context)
            inputs = dict(input_ids=windows[:, :-1], targets=windows[:, 1:])
    order = torch.tensor([data_order(n, rows, SEED) for n in range(rows)]).reshape(STEPS, case.batch)
    return [{name: value[take] for name, value in inputs.items()} for take in order], data


def data_order(number, count, seed):
    """The row that training reads as its example of that number in the first pass: runtime/data_order.c."""
    def mix(x):
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        return x ^ x >> 31

    half, key = 1, mix(seed ^ mix(0))
    while 1 << 2 * half < count:
        half += 1
    while True:
        left, right = number >> half, number % (1 << half)
        for turn in range(4):
            left, right = right, left ^ mix(right ^ mix((key + turn) % 2**64)) % (1 << half)
        number = left << half | right
        if number < count:
            return number


def write_data(path, data):
    if isinstance(data, dict):
        save_file({k: v.contiguous() for k, v in data.items()}, path)
        return
    tokens = data.numpy().astype(np.uint32)
    with open(path, "wb") as out:
        out.write(struct.pack("<256i", 20240801, 7, len(tokens), *([0] * 253)))
        out.write(tokens.tobytes())


def forward(net, batch):
    """(loss, logits) as our models define them."""
    inputs = {k: v for k, v in batch.items() if k not in ("labels", "targets")}
    kind = next(net.parameters()).dtype
    inputs = {k: v.to(kind) if v.is_floating_point() else v for k, v in inputs.items()}
    logits = net(**inputs).logits
    target = batch["targets"] if "targets" in batch else batch["labels"]
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), target.reshape(-1)), logits


class Program:
    """Our side: variants of a shipped model, compiled for this machine."""

    def __init__(self, case, options, folder, config):
        self.case, self.options, self.folder, self.config = case, options, folder, config
        self.text = (SOURCE / "models" / case.text).read_text()

    def compile(self, name, text, entries, **sizes):
        source, out = self.folder / f"{name}.plim", self.folder / name
        source.write_text(text)
        command = [self.options.build / "tools/plimc", source, "-o", out, "--entry", entries, "--quiet", "--precision", "f32",
                   "--config", self.config, "-D", f"batch={self.case.batch}", "-I", SOURCE / "models"]
        if "accumulate =" in self.text:
            command += ["-D", "accumulate=1"]
        for size, value in {**self.case.sizes, **sizes}.items():
            command += ["-D", f"{size}={value}"]
        subprocess.run([str(w) for w in command], check=True)
        return out

    def with_forward(self):
        if self.case.name == "vit":
            entry = "entry forward(images: f32[batch, channels, image, image]) { return logits(images) }"
        else:
            entry = "entry forward(tokens: i32[batch, context]) { return logits(tokens) }"
        end = self.text.rindex("}")
        return self.text[:end] + entry + "\n}\n"

    def descent(self):
        """Plain gradient descent: no schedule, clipping or decay."""
        text = re.sub(r"optimizer = .*", "optimizer = sgd(lr)", self.text)
        text = re.sub(r"\n *clip = .*", "", text)
        return re.sub(r"\n *at \"[^\n]*decay = 0 }", "", text)

    def constant_rate(self):
        return re.sub(r"lr \* warmup_\w+\([^)]*\)", "lr", self.text)

    def train(self, program, data, steps, rate):
        log, saved = self.folder / "log.jsonl", self.folder / f"saved-{program.name}"
        subprocess.run([program, "train", "--data", data, "--weights", self.folder / "theirs", "--steps", str(steps), "--set",
                        f"lr={rate}", "--seed", str(SEED), "--log", log, "--save", saved, "--quiet"], check=True)
        exported = self.folder / f"{program.name}.safetensors"
        subprocess.run([program, "export", "--weights", saved, "-o", exported], check=True)
        return [json.loads(line)["loss"] for line in open(log)], exported


def file_names(net, file):
    """Each parameter's name in the file that transformers saved: the tensor that is equal to it."""
    saved = {(tuple(t.shape), t.numpy().tobytes()): name for name, t in load_file(file).items()}
    return {name: saved[tuple(p.shape), p.detach().numpy().tobytes()] for name, p in net.named_parameters()}


def by_their_names(ours, names):
    """Our tensors by transformers' names of its parameters: those of its files, or less one prefix."""
    out = {}
    for name, in_file in names.items():
        for shorter in (in_file, in_file.split(".", 1)[-1]):
            if shorter in ours:
                out[name] = ours[shorter]
                break
    return out


def compare_gradients(ours, net, names, batch, data, start):
    exact = type(net)(net.config).double().eval()
    exact.load_state_dict({k: v.double() for k, v in net.state_dict().items()})
    loss, logits = forward(exact, batch)
    loss.backward()
    theirs_loss, theirs_logits = forward(net, batch)
    theirs_loss.backward()
    program = ours.compile("descent", ours.descent(), "train")
    losses, exported = ours.train(program, data, 1, RATE)
    check("loss", abs(losses[0] - loss.item()) / loss.item(), 1e-5, f"; theirs {abs(theirs_loss.item() / loss.item() - 1):.1e}")
    after = by_their_names(load_file(exported), names)
    reference = dict(exact.named_parameters())
    worst, worst_name, their_worst = 0.0, "", 0.0
    for name, p in net.named_parameters():
        if reference[name].grad is None:
            continue
        if name not in after:
            failed.append(f"gradient of {name}")
            print(f"  gradient of {name}: our program has no such parameter   DIFFERS")
            continue
        gradient = (start[name].double() - after[name].reshape(p.shape).double()) / RATE
        scale = reference[name].grad.norm()
        if scale < 1e-12:  # BERT's key bias, in exact arithmetic: zero
            continue
        error = relative(gradient, reference[name].grad)
        their_worst = max(their_worst, relative(p.grad, reference[name].grad))
        if error > worst:
            worst, worst_name = error, name
    check(f"gradients, {len(after)} tensors", worst, 1e-5, f"; theirs {their_worst:.1e}; {worst_name}")
    net.zero_grad(set_to_none=True)
    return logits.detach()  # without the graph, which holds the model in f64


def compare_logits(case, ours, batch, logits, weights, what):
    program = ours.compile("forward", ours.with_forward(), "forward")
    name, tensor = ("images", batch["pixel_values"]) if case.name == "vit" else ("tokens", batch["input_ids"].int())
    np.save(ours.folder / "in.npy", tensor.numpy())
    out = ours.folder / "logits.npy"
    subprocess.run([program, "run", "forward", "--weights", weights, "--in", f"{name}={ours.folder / 'in.npy'}", "--out",
                    f"0={out}"], check=True)
    check(what, relative(np.load(out).reshape(logits.shape), logits), 1e-5)


def compare_training(case, ours, net, names, batches, data):
    plain = [p for name, p in net.named_parameters() if case.no_decay(name, p)]
    decayed = [p for name, p in net.named_parameters() if not case.no_decay(name, p)]
    settings = re.search(r"adamw\(.*?(betas = \(([^)]*)\))?(, eps = ([\d.e-]+))?(, betas = \(([^)]*)\))?, decay = ([\d.]+)\)", ours.text)
    betas = tuple(float(x) for x in (settings[2] or settings[6] or "0.9, 0.999").split(","))
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": float(settings[7])}, {"params": plain, "weight_decay": 0.0}],
                                  lr=1e-4, betas=betas, eps=float(settings[4] or 1e-8))
    theirs = []
    for batch in batches:
        loss, _ = forward(net, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        theirs.append(loss.item())
    program = ours.compile("adamw", ours.constant_rate(), "train")
    losses, exported = ours.train(program, data, STEPS, 1e-4)
    check(f"losses of {STEPS} AdamW steps", max(abs(a / b - 1) for a, b in zip(losses, theirs)), 1e-4,
          f"; from {theirs[0]:.3f} to {theirs[-1]:.3f}")
    after = by_their_names(load_file(exported), names)
    check("weights after them", max(relative(after[name].reshape(p.shape), p.detach()) for name, p in net.named_parameters() if name in after), 1e-3)
    return exported


def compare_export(case, net, batch, exported):
    folder = exported.parent / "ours"
    folder.mkdir()
    net.config.save_pretrained(folder)
    os.replace(exported, folder / "model.safetensors")
    loaded, report = type(net).from_pretrained(folder, output_loading_info=True)
    missing, extra = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    print(f"  {'keys missing and left over in transformers':44s} {missing} {extra}{'   DIFFERS' if missing or extra else ''}")
    if missing or extra:
        failed.append("keys")
    exact = loaded.double().eval()
    return forward(exact, batch)[1].detach(), folder


def compare_generation(ours, net, folder):
    count, prompt = 200, [3, 141, 59, 26, 5, 358]
    program = ours.compile("generate", ours.text, "prefill,decode", context=256)
    ids = ours.folder / "generated.jsonl"
    subprocess.run([program, "generate", "--weights", folder, "--prompt-tokens", ",".join(map(str, prompt)), "--tokens", str(count),
                    "--temperature", "0", "--log", ids, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in open(ids)]
    mine = [line["token"] for line in lines if "token" in line]
    with torch.no_grad():
        theirs = net.generate(torch.tensor([prompt]), max_new_tokens=count, min_new_tokens=count, do_sample=False, eos_token_id=None,
                              pad_token_id=0)[0, len(prompt):].tolist()
    same = next((i for i, (a, b) in enumerate(zip(mine, theirs)) if a != b), min(len(mine), len(theirs)))
    good = mine == theirs
    print(f"  {'greedy tokens equal from the first on':44s} {same} of {count}{'' if good else '   DIFFERS'}")
    if not good:
        failed.append("generation")


def compare(case, options):
    print(case.name)
    torch.manual_seed(0)
    values = {**case.config, **(case.small if options.small else {})}
    config = transformers.AutoConfig.for_model(**values)
    if options.small and "context" in case.sizes:
        case.sizes = {"context": 32}
    net = getattr(transformers, case.net)(config).eval()
    with torch.no_grad():  # Biases and norms away from 0 and 1, so that nothing hides behind them.
        for name, p in net.named_parameters():
            if p.dim() <= 1:
                p.add_(0.1 * torch.randn_like(p))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        net.save_pretrained(folder / "theirs")
        ours = Program(case, options, folder, folder / "theirs" / "config.json")
        batches, data = make_data(case, net, case.sizes)
        write_data(folder / "data", data)
        names = file_names(net, folder / "theirs" / "model.safetensors")
        start = {name: p.detach().clone() for name, p in net.named_parameters()}
        logits = compare_gradients(ours, net, names, batches[0], folder / "data", start)
        compare_logits(case, ours, batches[0], logits, folder / "theirs", "logits")
        exported = compare_training(case, ours, net, names, batches, folder / "data")
        logits, saved = compare_export(case, net, batches[0], exported)
        compare_logits(case, ours, batches[0], logits, saved, "logits of our weights in transformers")
        if case.generates:
            net = type(net).from_pretrained(saved).eval()
            compare_generation(ours, net, saved)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--only")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    options.build = options.build.resolve()
    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for case in CASES:
        if options.only in (None, case.name):
            compare(case, options)
    print(f"{len(failed)} differences" if failed else "everything agrees")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
