#!/usr/bin/env python3
"""Small models of transformers through our programs and back: config.json in, weights in, weights out.

    PLIM_BUILD=build/release tests/compare/weights_round_trip.py

Needs torch and transformers. Each model is saved by transformers, compiled from its config.json, loaded, exported as
one file and as shards, and loaded by transformers again: no key may be missing or unexpected, and every tensor must be
equal to the bit. Exit status 1 where that is not so.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers as hf

BUILD = pathlib.Path(os.environ["PLIM_BUILD"]).resolve()
MODELS = pathlib.Path(__file__).resolve().parents[2] / "models"
ROPE = {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 32,
        "rope_type": "llama3"}
CASES = [
    ("gpt2", hf.GPT2LMHeadModel, hf.GPT2Config(n_layer=2, n_head=2, n_embd=64, n_positions=64, vocab_size=128, n_inner=96,
                                               activation_function="relu"), {"batch": 4, "accumulate": 1}),
    ("llama", hf.LlamaForCausalLM,
     hf.LlamaConfig(vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=2, head_dim=32, rms_norm_eps=1e-5, tie_word_embeddings=False,
                    max_position_embeddings=64, rope_scaling=ROPE), {"context": 32}),
    ("bert_base", hf.BertForMaskedLM,
     hf.BertConfig(vocab_size=128, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96,
                   max_position_embeddings=64), {"context": 32}),
    ("vit_b16", hf.ViTForImageClassification,
     hf.ViTConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96, image_size=32,
                  patch_size=8, num_labels=10), {"classes": 10}),
]


def differences(kind, net, folder):
    """What transformers says of the folder's weights beside the net they came from."""
    back, info = kind.from_pretrained(folder, output_loading_info=True)
    found = [f"{what}: {sorted(map(str, keys))[:3]}" for what, keys in info.items() if keys]
    other = back.state_dict()
    return found + [f"{name} differs" for name, x in net.state_dict().items() if not torch.equal(x, other[name])]


def main():
    hf.logging.set_verbosity_error()
    failed = False
    for name, kind, config, sizes in CASES:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            torch.manual_seed(1)
            net = kind(config)
            net.save_pretrained(folder / "theirs")
            flags = [x for size, value in sizes.items() for x in ("-D", f"{size}={value}")]
            subprocess.run([BUILD / "tools/plimc", MODELS / f"{name}.plim", "--config", folder / "theirs/config.json",
                            "--entry", "eval", "--quiet", "-o", folder / "program", *flags], check=True)
            for out, more in (("one", []), ("shards", ["--shard-size", "100KiB"])):
                subprocess.run([folder / "program", "export", "--weights", folder / "theirs", "-o", folder / out, *more],
                               check=True)
                (folder / out / "config.json").write_bytes((folder / "theirs/config.json").read_bytes())
                found = differences(kind, net, folder / out)
                failed = failed or bool(found)
                print(f"{name} {out}: {'equal to the bit, all keys' if not found else found}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
