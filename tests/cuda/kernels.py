"""Every kernel of every shipped model compiles for a GPU of each generation, and does not spill registers.

Models are planned at tiny sizes, and GPT-2 and Llama at published ones; attention is also compiled on its own with
the head dims of published models. No GPU is needed; NVRTC is, and nothing is skipped without it.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import e2e  # noqa: E402

TARGET = "cuda:sm_90a,sm_80,sm_100"
PUBLISHED = [("gpt2", ("--config", "124m")), ("llama", ("--config", "1b"))]
LONG_ROWS = [(50257, 50264, "bf16"), (50304, 50304, "bf16"), (128256, 128256, "bf16"), (50257, 50257, "f32")]
HEAD_DIMS = (64, 96, 128, 192, 256)


BIAS = "[0, 65536, 256, 1]"  # of 256 queries and keys, the same in all rows of the batch


def attention(grad, dim, heads, groups, causal, window, table="", score="", queries=256, keys=256, batch=2):
    """The text of a kernel as the planner makes it: heads side by side in [batch, position, head, dim]. grad: of operands, or "bias"."""

    def strides(count, positions):
        return f"[{count * dim * positions}, {dim}, {count * dim}]"

    q, k = strides(heads, queries), strides(groups, keys)
    mask = f"  window {window} causal {int(causal)}" + table
    kind = "attention_grad_bias" if grad == "bias" else "attention_grad" if grad else "attention"
    lines = [f"kernel a {kind} {{", "  dtype bf16",
             f"  batch {batch} heads {heads} groups {groups} queries {queries} keys {keys} dim_qk {dim} dim_v {dim}",
             f"{mask} scale 0.125{score}", f"  q {q} k {k} v {k} out {q}"]
    if grad == "bias":
        lines.append(f"  dout {q} dbias {BIAS}")
    elif grad:
        lines.append(f"  dout {q} dq {q} dk {k} dv {k}")
    return "\n".join(lines + ["}"]) + "\n"


def cross_entropy(columns, pitch, dtype, grad):
    """The text of a loss over rows of logits, which lie `pitch` elements apart; with the gradient, in the logits' place."""
    lines = [f"kernel r rows [4096, {columns}] {{", f"  operand 0: {dtype} read [{pitch}, 1]", "  operand 1: i32 read [1, 0]",
             "  operand 2: f32 write [1, 0]"] + [f"  operand 3: {dtype} write [{pitch}, 1]"] * grad
    lines += ["  %0 = load 0", "  %1 = load 1", "  %2 = maximum %0", "  %3 = sub %0 %2", "  %4 = exp %3", "  %5 = sum %4",
              "  %6 = log %5", "  %7 = const 0", "  %8 = index 1", "  %9 = eq %8 %1", "  %10 = select %9 %3 %7",
              "  %11 = sum %10", "  %12 = sub %6 %11"]
    if grad:
        lines += ["  %13 = add %2 %6", "  %14 = sub %0 %13", "  %15 = exp %14", "  %16 = const 1", "  %17 = select %9 %16 %7",
                  "  %18 = sub %15 %17", "  store 3 %18"]
    return "\n".join(lines + ["  store 2 %12", "}"]) + "\n"


class Kernels(e2e.TestCase):
    def plan(self, model, *flags):
        out = self.folder / f"{model}-{len(list(self.folder.iterdir()))}.plan"
        self.good(e2e.PLIMC, e2e.SOURCE / "models" / f"{model}.plim", *flags, "--target", TARGET, "--emit", "plan",
                  "--quiet", "-o", out)
        return out

    def compile_all(self, files, *flags, target=TARGET):
        # No cache: /dev/null holds no folder.
        done = e2e.run(e2e.BUILD / "tests" / "cuda" / "compile_kernels", "--target", target, "--threads",
                       os.cpu_count() or 1, *flags, *files, timeout=2400,
                       env={**os.environ, "XDG_CACHE_HOME": "/dev/null"})
        print(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_models(self):
        models = sorted(path.stem for path in (e2e.SOURCE / "models").glob("*.plim"))
        self.assertGreater(len(models), 10)
        files = [self.plan(model, "--config", "tiny") for model in models]
        files += [self.plan(model, *flags) for model, flags in PUBLISHED]
        self.compile_all(files)

    def test_attention(self):
        texts = []
        for dim in HEAD_DIMS:
            for grad in (False, True):
                texts.append(attention(grad, dim, 8, 8, causal=True, window=0))
                if dim in (64, 128):
                    texts.append(attention(grad, dim, 8, 8, causal=True, window=0, table=" slopes 1", score=" cap 50"))
                    texts.append(attention(grad, dim, 8, 8, causal=True, window=0, score=" cap 50"))
                    texts.append(attention(grad, dim, 8, 8, causal=True, window=0, table=" slopes 1"))
                texts.append(attention(grad, dim, 8, 8, causal=False, window=0, score=f" bias f32 {BIAS}"))
                if dim == 128:
                    texts.append(attention(grad, dim, 8, 8, causal=True, window=0, table=" interval 1 slopes 1",
                                           score=f" cap 50 bias bf16 {BIAS} mask [256, 0, 0, 1]"))
                    texts.append(attention(grad, dim, 8, 2, causal=True, window=100))
                    texts.append(attention(grad, dim, 8, 8, causal=False, window=0))
                    texts.append(attention(grad, dim, 8, 8, causal=True, window=0, table=" documents 1"))
                    texts.append(attention(grad, dim, 8, 8, causal=False, window=0, table=" interval 1 documents 1"))
            texts.append(attention("bias", dim, 8, 8, causal=False, window=0, score=f" bias f32 {BIAS}"))
            texts.append(attention("bias", dim, 8, 8, causal=True, window=100, table=" interval 1 documents 1 slopes 1",
                                   score=f" cap 50 bias f32 {BIAS} mask [0, 0, 256, 1]"))
        path = self.folder / "attention.kernel"
        path.write_text("".join(texts))
        self.compile_all([path])

    def test_long_rows(self):
        """Registers last for the blocks that share a multiprocessor's shared memory."""
        path = self.folder / "rows.kernel"
        path.write_text("".join(cross_entropy(columns, pitch, dtype, grad) for columns, pitch, dtype in LONG_ROWS for grad in (False, True)))
        for target in ("cuda:sm_80", "cuda:sm_90a", "cuda:sm_100a"):
            self.assertNotRegex(self.compile_all([path], target=target), "(?m)^spills")

    def test_same_bytes(self):
        self.compile_all([self.plan("mlp", "--config", "tiny")], "--again", 1)


if __name__ == "__main__":
    e2e.unittest.main()
