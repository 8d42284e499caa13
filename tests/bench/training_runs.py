"""One training run of ours or of a peer, for the benchmarks that set them side by side.

A peer is a script that takes --model, --layers, ... --threads, --steps and options of its own, and prints one JSON line with at least
tokens_per_s, step_ms and peak_rss. Ours is the shipped model with the same sizes, batch, sequence length, AdamW, clipping and no
accumulation, compiled for this machine. `options` is what the benchmark's command line says: build, runner, python, threads, steps.
"""
import json
import os
import random
import statistics
import struct
import subprocess

# What the peers' own models fix: GPT-2's head is tied, Llama's is not.
FIXED = {"gpt2": [], "llama": ["tied=false", "base=10000", "stretch=1"]}
OURS = {"kv_heads": "groups", "seq": "context"}


def write_tokens(path, vocab, count):
    made = random.Random(1)
    wide = vocab > 65536
    with open(path, "wb") as out:
        out.write(struct.pack("<256i", 20240801 if wide else 20240520, 7 if wide else 1, count, *([0] * 253)))
        out.write(struct.pack("<%d%s" % (count, "I" if wide else "H"), *(made.randrange(vocab) for _ in range(count))))


def compile_ours(options, size, dtype, program, extra=()):
    """Returns what plimc left: returncode and stderr."""
    command = [os.path.join(options.build, "tools/plimc"), f"models/{size['model']}.plim", "-o", program, "--target", "cpu:native",
               "--entry", "train", "--quiet", "--precision", dtype, "-D", "accumulate=1", *extra]
    for name, value in size.items():
        if name != "model":
            command += ["-D", f"{OURS.get(name, name)}={value}"]
    for text in FIXED[size["model"]]:
        command += ["-D", text]
    return subprocess.run(command, capture_output=True, text=True)


def train_ours(options, size, program, extra=()):
    folder = os.path.dirname(program)
    tokens = os.path.join(folder, "tokens.bin")
    if not os.path.exists(tokens):
        write_tokens(tokens, size["vocab"], 300000)
    log = program + ".jsonl"
    subprocess.run([*options.runner.split(), program, "train", "--data", tokens, "--steps", str(options.steps + 2), "--threads",
                    str(options.threads), "--log", log, "--quiet", *extra], check=True)
    steps = [json.loads(line) for line in open(log)][2:]
    os.remove(log)
    return dict(steps[-1], tokens_per_s=statistics.median(s["tokens_per_s"] for s in steps),
                step_ms=statistics.median(s["step_ms"] for s in steps), peak_rss=steps[-1]["rss_bytes"],
                losses=[s["loss"] for s in steps])


def train_peer(options, script, size, dtype, extra):
    command = [*options.runner.split(), options.python, script, "--dtype", dtype, "--threads", str(options.threads), "--steps", str(options.steps),
               "--context", str(size["seq"]), *extra]
    for name, value in size.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        return dict(error=(done.stderr.strip().splitlines()[-1:] or ["failed"])[0])
    return json.loads(done.stdout.strip().splitlines()[-1])
