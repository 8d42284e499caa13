#!/usr/bin/env python3
"""Token ids and decoded text: ours against the `tokenizers` package, which must be equal.

Trains small tokenizers of every kind that is understood on English text and a few other scripts, writes each
as tokenizer.json, and compares ids and decoded text over real and random strings. Not in CI: needs
pip install tokenizers, and the driver: ninja -C BUILD tokenize_texts

    tests/compare/tokenizers_ids.py BUILD TEXT [FILE.json...]

TEXT is any English text of a few MB. Further files are published tokenizers, compared the same way.
"""
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
OTHER = ["Der schnelle braune Fuchs springt über den faulen Hund.", "Ça va très bien, n'est-ce pas ? Voilà l'été…",
         "Съешь ещё этих мягких французских булок, да выпей чаю", "素早い茶色の狐が怠け者の犬を飛び越える。", "빠른 갈색 여우가",
         "الثعلب البني السريع يقفز فوق الكلب الكسول", "नमस्ते दुनिया, कैसे हैं आप?", "ภาษาไทยไม่มีช่องว่าง", "Ω≈ç√∫˜µ≤≥÷ ½ ² ⅷ ٣٤",
         "👩‍👩‍👧‍👦 🇩🇪 👍🏽 e\u0301 ﬁ Å", "def f(x):\n\treturn x ** 2  # noqa\n\n\n    if  x:\r\n\r\n  pass", "It's WE'LL i'D 'ſ ''s'S they'Re",
         "\u00a0\u2003a \u3000 b\u0085c\u200bd \ufeff", "1234567890 3.14159 1,000,000 0x1F", "<s> </s> <|endoftext|> <unk> <0x0A> ▁▁a ▁"]
COUNT = 10000


def byte_level(pre, texts, **options):
    t = Tokenizer(models.BPE(**options))
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    t.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=4000, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    return t


def gpt2(texts):
    t = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), texts)
    # Runs of spaces as some published code tokenizers have them, and one that takes spaces around it.
    t.add_tokens([AddedToken("  ", normalized=False), AddedToken("    ", normalized=True)])
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True)])
    return t


def gpt2_prefix(texts):
    return byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True), texts)


def llama3(texts):
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t = byte_level(pre, texts, ignore_merges=True)
    t.add_special_tokens(["<|begin_of_text|>", "<|eot_id|>"])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))])])
    return t


def qwen2(texts):
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3.replace("{1,3}", "")), "removed", invert=True),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return byte_level(pre, texts)


def digits(texts):
    pre = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                   pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return byte_level(pre, texts)


def llama2(texts):
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    # Trained word by word, as a whole text is one word otherwise.
    words = [w for text in texts for w in text.split(" ")]
    t.train_from_iterator(words, trainers.BpeTrainer(vocab_size=3000, special_tokens=special, show_progress=False,
                                                     limit_alphabet=200))
    fresh = Tokenizer.from_str(t.to_str())
    return framed(strip_special(fresh, {f"<0x{b:02X}>" for b in range(256)}))


def strip_special(t, names):
    """The trainer adds special tokens as added ones; pieces for bytes are none."""
    data = json.loads(t.to_str())
    data["added_tokens"] = [a for a in data["added_tokens"] if a["content"] not in names]
    t = Tokenizer.from_str(json.dumps(data))
    # Found after normalisation, in the form it then has.
    t.add_tokens([AddedToken("<tool>", normalized=True)])
    return t


def framed(t):
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", t.token_to_id("<s>"))])
    return t


def fused_unknown(texts):
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    t.decoder = decoders.Metaspace(prepend_scheme="first")
    t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=2000, special_tokens=["<unk>"], show_progress=False,
                                                     limit_alphabet=60))
    return t


def unigram(scheme, byte_fallback):
    def make(texts):
        t = Tokenizer(models.Unigram())
        t.normalizer = normalizers.Sequence([normalizers.Replace(Regex(" {2,}"), " ")])
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        t.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)])
        t.train_from_iterator(texts, trainers.UnigramTrainer(vocab_size=3000, special_tokens=["<unk>", "</s>"],
                                                             unk_token="<unk>", show_progress=False))
        if not byte_fallback:
            return t
        data = json.loads(t.to_str())
        data["model"]["byte_fallback"] = True
        data["model"]["vocab"] += [[f"<0x{b:02X}>", -20.0] for b in range(256)]
        return Tokenizer.from_str(json.dumps(data, ensure_ascii=False))
    return make


KINDS = {"gpt2": gpt2, "gpt2 with a prefix space": gpt2_prefix, "llama3": llama3, "qwen2": qwen2, "digits": digits,
         "llama2": llama2, "unknown fused": fused_unknown, "unigram": unigram("always", False),
         "unigram first": unigram("first", False), "unigram bytes": unigram("always", True),
         "unigram never": unigram("never", False)}


def strings(text, seed):
    """Real passages, passages cut and glued anywhere, and random characters of all kinds."""
    r = random.Random(seed)
    scripts = "".join(OTHER) + " \n\t'\"'s"
    out = list(OTHER) + ["", " ", "\n", "a", "  a  ", "▁"]
    while len(out) < COUNT:
        kind = r.randrange(5)
        at = r.randrange(len(text))
        if kind == 0:
            out.append(text[at:at + r.randrange(400)])
        elif kind == 1:
            out.append("".join(r.choice(scripts) for _ in range(r.randrange(60))))
        elif kind == 2:
            out.append("".join(chr(r.choice((r.randrange(128), r.randrange(0x3000), r.randrange(0x20000)))) for _ in
                               range(r.randrange(40))).encode("utf-8", "ignore").decode())
        elif kind == 3:
            out.append(text[at:at + r.randrange(40)] + r.choice(OTHER)[r.randrange(10):] + r.choice(
                ["", " ", "  ", "\n\n ", " \r\n", "<|endoftext|>", "</s>", " <mask> ", " <tool>", "<tool> ", "<0x41>", "'LL"]) + r.choice(OTHER))
        else:
            out.append(r.choice(" \n\r\t'aZ1é▁.") * r.randrange(30) + r.choice(OTHER)[:r.randrange(20)])
    return out


def ours(driver, path, texts):
    data = b"".join(struct.pack("=I", len(b)) + b for b in (t.encode() for t in texts))
    done = subprocess.run([driver, path], input=data, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{path}: {done.stderr.decode()}")
    at, out = 0, []
    while at < len(done.stdout):
        count, = struct.unpack_from("=I", done.stdout, at)
        ids = list(struct.unpack_from(f"={count}i", done.stdout, at + 4))
        at += 4 + 4 * count
        size, = struct.unpack_from("=I", done.stdout, at)
        out.append((ids, done.stdout[at + 4:at + 4 + size]))
        at += 4 + size
    return out


def compare(name, tokenizer, driver, path, texts):
    wrong = 0
    for text, (ids, back), theirs in zip(texts, ours(driver, path, texts), tokenizer.encode_batch(texts)):
        # Theirs prints U+FFFD where bytes are no character.
        good = ids == theirs.ids
        same = back.decode("utf-8", "replace").replace("\ufffd", "") == tokenizer.decode(theirs.ids).replace("\ufffd", "")
        if good and same:
            continue
        wrong += 1
        if wrong <= 3:
            print(f"  {text!r}\n    ours   {ids} {back!r}\n    theirs {theirs.ids} {tokenizer.decode(theirs.ids)!r}")
    print(f"{name}: {len(texts) - wrong} of {len(texts)} equal", flush=True)
    return wrong


def main():
    driver = pathlib.Path(sys.argv[1]) / "tests" / "compare" / "tokenize_texts"
    text = pathlib.Path(sys.argv[2]).read_text(errors="replace")
    lines = text[:400000].splitlines() + OTHER * 3
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, make) in enumerate(KINDS.items()):
            path = f"{folder}/{i}.json"
            make(lines).save(path)
            wrong += compare(name, Tokenizer.from_file(path), driver, path, strings(text, i))
        for path in sys.argv[3:]:
            wrong += compare(path, Tokenizer.from_file(path), driver, path, strings(text, 99))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
