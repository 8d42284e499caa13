#!/usr/bin/env python3
"""Writes tests/unit/tokenizers: small tokenizer.json files with what the `tokenizers` package makes of texts.

    tests/compare/tokenizers_fixtures.py TEXT
"""
import json
import pathlib
import sys

import tokenizers_ids
from tokenizers import Tokenizer, models, trainers

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "unit" / "tokenizers"
CASES = tokenizers_ids.OTHER + ["", " ", "In the beginning God created the heaven and the earth.", "  two  spaces ",
                                "don't DON'T", "a\n\nb \n c", "x<|endoftext|>y", "end</s>", "\t\ttabs", "12345",
                                " <mask> ", "a <tool>b", "naïve", "日本語", "\u2581x"]


def main():
    text = pathlib.Path(sys.argv[1]).read_text(errors="replace")
    lines = text[:60000].splitlines()
    # Smaller than those of the comparison.
    for trainer in ("BpeTrainer", "UnigramTrainer"):
        make = getattr(trainers, trainer)
        setattr(trainers, trainer, lambda make=make, **options: make(**{**options, "vocab_size": 420}))
    tokenizers_ids.models = models
    for name in ("gpt2", "llama3", "llama2", "unigram bytes", "unknown fused"):
        path = FOLDER / (name.replace(" ", "_") + ".json")
        tokenizers_ids.KINDS[name](lines).save(str(path))
        data = json.loads(path.read_text())
        path.write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n")
        t = Tokenizer.from_file(str(path))
        with open(path.with_suffix(".cases"), "w") as out:
            for case in CASES:
                ids = t.encode(case).ids
                out.write(json.dumps({"text": case, "ids": ids, "decoded": t.decode(ids)}) + "\n")


main()
