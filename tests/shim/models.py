"""Whole models on a fake GPU: programs for cuda: targets, their printed kernels run by the shim and everything else as on a
GPU, beside the programs for the CPU from the same seed. Every command, watching, saving, going on, and failures.
"""
import json
import os
import re
import shutil

from devices import LIBRARIES, MODELS, Devices, e2e
from moves import with_moves

TINY = ("-D", "layers=1", "-D", "heads=2", "-D", "width=32", "-D", "context=16")


class Perceptrons(Devices):
    words = (e2e.GRAPHS / "resume.plim",)

    def setUp(self):
        super().setUp()
        e2e.write_classes(self.folder / "data", 64)

    def test_training(self):
        cpu, gpu = self.cpu, self.gpu
        self.train(cpu, 6, "cpu.log", "--save", "cpu.out")
        self.train(gpu, 6, "gpu.log", "--save", "gpu.out", gpu=True)
        self.close(self.losses("cpu.log"), self.losses("gpu.log"), 1e-5)
        self.close_files(self.folder / "cpu.out/step-6/model.safetensors", self.folder / "gpu.out/step-6/model.safetensors", 1e-4)
        # The order of streams, and what saving reads while steps wait, change nothing.
        for seed in (0, 1, 7):
            self.train(gpu, 6, f"{seed}.log", "--save", f"{seed}.out", "--save-every", 1, gpu=True, PLIM_FAKE_SEED=str(seed))
            self.assertEqual(self.losses(f"{seed}.log"), self.losses("gpu.log"))
        # A training that ends half-way goes on to the same bits.
        self.train(gpu, 6, "half.log", "--save", "half.out", "--save-every", 3, gpu=True)
        shutil.rmtree(self.folder / "half.out" / "step-6")
        self.on_gpu(gpu, "train", "--data", "data", "--steps", 6, "--save", "half.out", "--resume", "auto")
        for file in ("model.safetensors", "optimizer.safetensors"):
            self.assertEqual((self.folder / "half.out/step-6" / file).read_bytes(),
                             (self.folder / "gpu.out/step-6" / file).read_bytes())

    def moved_program(self):
        """The same training with its optimizer states, a weight and an activation in pinned memory; what runs its kernels."""
        self.good(e2e.PLIMC, *self.words, "--emit", "graph", "-o", "model.graph", "--quiet")
        text = self.good(e2e.BUILD / "tools" / "plim-opt", "--passes", "simplify,autodiff,optimize", "model.graph", "-o", "-").stdout
        (self.folder / "far.graph").write_text(with_moves(text, ("fc1.weight", ".m", ".v"), lambda name, operator: name == "h"))
        return self.compile_for_gpu("far", "far.graph", "--target", "cuda:sm_80")

    def test_far_memory_changes_no_bit(self):
        far, kernels = self.moved_program()
        self.train(self.gpu, 6, "near.log", "--save", "near.out", gpu=True)
        spaces = json.loads(self.good(far, "info", "--json").stdout)["spaces"]
        self.assertEqual(spaces.keys(), {"device", "host"})
        self.assertGreater(spaces["host"]["bytes"], 8 * 16 * 16 + 4 * 16 * 16)
        for seed in (0, 1, 7):
            self.train(far, 6, "far.log", "--save", f"far{seed}.out", "--save-every", 1, gpu=True, **kernels, PLIM_FAKE_SEED=str(seed))
            self.assertEqual(self.losses("far.log"), self.losses("near.log"))
        log = [json.loads(line) for line in (self.folder / "far.log").read_text().splitlines()]
        self.assertEqual({line["arena_peak_bytes"] for line in log}, {spaces["device"]["bytes"]})
        # It goes on from what it saved half-way, and from what was saved without far memory.
        for folder, half in (("far7.out", "step-6"), ("near.out", None)):
            if half:
                shutil.rmtree(self.folder / folder / half)
            else:
                self.train(self.gpu, 6, "half.log", "--save", "half.out", "--save-every", 3, gpu=True)
                shutil.rmtree(self.folder / "half.out" / "step-6")
                folder = "half.out"
            self.on_gpu(far, "train", "--data", "data", "--steps", 6, "--save", folder, "--resume", "auto", **kernels)
            for file in ("model.safetensors", "optimizer.safetensors"):
                self.assertEqual((self.folder / folder / "step-6" / file).read_bytes(),
                                 (self.folder / "near.out/step-6" / file).read_bytes())
        # Watched instruction by instruction, and timed.
        said = self.train(far, 4, "watched.log", "--digest", "--check-finite", "--quiet", gpu=True, **kernels).stdout
        self.assertIn("fetch", said)
        self.train(far, 4, "timed.log", "--profile", "--trace", "trace.json", gpu=True, **kernels)
        self.assertIn("offload", (self.folder / "trace.json").read_text())
        for log in ("watched.log", "timed.log"):
            self.assertEqual(self.losses(log), self.losses("near.log")[:4])
        self.on_gpu(far, "export", "--weights", "near.out/step-6", "-o", "far.safetensors", **kernels)
        self.on_gpu(self.gpu, "export", "--weights", "near.out/step-6", "-o", "near.safetensors")
        self.assertEqual((self.folder / "far.safetensors").read_bytes(), (self.folder / "near.safetensors").read_bytes())
        self.refused_in_one_sentence(far, "train", "--data", "data", says="GiB of pinned host memory, which the driver does not give",
                                     env=self.environment(**kernels, PLIM_FAKE_PINNED="1024"))

    def test_watching(self):
        gpu = self.gpu
        self.train(gpu, 4, "plain.log", gpu=True)
        said = self.train(gpu, 4, "watched.log", "--digest", "--check-finite", "--quiet", gpu=True).stdout
        again = self.train(gpu, 4, "watched.log", "--digest", "--quiet", gpu=True, PLIM_FAKE_SEED="0").stdout
        self.assertEqual(said, again)
        self.assertGreater(len(said.splitlines()), 40)
        said = self.train(gpu, 4, "timed.log", "--profile", "--trace", "trace.json", gpu=True).stdout
        self.assertIn("one step takes", said)
        self.assertNotIn("workers", said)
        slices = [e for e in json.loads((self.folder / "trace.json").read_text())["traceEvents"] if e["ph"] == "X"]
        self.assertGreater(len(slices), 30)
        for log in ("watched.log", "timed.log"):
            self.assertEqual(self.losses(log), self.losses("plain.log"))

    def test_products_are_measured(self):
        gpu = self.gpu
        if "cublaslt" not in self.good(e2e.PLIMC, e2e.GRAPHS / "resume.plim", "--target", "cuda:sm_80", "--emit", "plan",
                                       "-o", "-", "--quiet").stdout:
            self.fail("no product goes to the library")
        self.train(gpu, 2, "before.log", gpu=True)
        self.on_gpu(gpu, "tune")
        self.assertTrue((self.folder / "gpu.tune").read_text().startswith("plimsoll tune 1\nlibrary "))
        self.train(gpu, 2, "after.log", gpu=True)
        self.assertEqual(self.losses("before.log"), self.losses("after.log"))
        # A library that proposes what its GPU then refuses: nothing was measured, so nothing is written.
        measured = (self.folder / "gpu.tune").read_bytes()
        self.refused_in_one_sentence(gpu, "tune", says=r"none of cuBLASLt's algorithms for the product .* status 15",
                                     env=self.environment(PLIM_FAKE_FAIL="cublasLtMatmul:*:15"))
        self.assertEqual((self.folder / "gpu.tune").read_bytes(), measured)
        (self.folder / "gpu.tune").write_text("nonsense\n")
        self.refused_in_one_sentence(gpu, "train", "--data", "data", "--steps", 1, says="no file that tune has written",
                                     env=self.environment())

    def test_what_a_machine_lacks(self):
        gpu = self.gpu
        missing = self.folder / "none"  # though a CUDA toolkit's library of products may be the system's
        missing.mkdir()
        self.refused_in_one_sentence(gpu, "train", "--data", "nowhere", says=r"no NVIDIA driver was found \(libcuda.so.1\)",
                                     env=self.environment(LD_LIBRARY_PATH=str(missing)))
        self.assertIn("cuda:sm_80", self.good(gpu, "info").stdout)
        os.symlink(LIBRARIES / "libcuda.so.1", missing / "libcuda.so.1")
        self.refused_in_one_sentence(gpu, "train", "--data", "nowhere", says="neither libcublasLt.so.13|cuBLASLt does not start",
                                     env=self.environment(LD_LIBRARY_PATH=str(missing)))
        self.refused_in_one_sentence(gpu, "train", "--data", "nowhere", says="--target cuda:sm_90",
                                     env=self.environment(PLIM_FAKE_DEVICE="9.0"))
        self.refused_in_one_sentence(gpu, "train", "--data", "nowhere", says="can't open nowhere", env=self.environment())

    def test_failures_leave_nothing_half_written(self):
        gpu = self.gpu
        self.train(gpu, 2, "log", "--save", "whole", gpu=True, PLIM_FAKE_CALLS=str(self.folder / "calls"))
        calls = dict(line.split() for line in (self.folder / "calls").read_text().splitlines())
        for i, (name, count) in enumerate(calls.items()):
            done = e2e.run(gpu, "train", "--data", "data", "--steps", 2, "--save", f"out{i}", "--quiet", cwd=self.folder,
                           env=self.environment(PLIM_FAKE_FAIL=f"{name}:{(int(count) + 1) // 2}:700!"))
            self.assertIn(done.returncode, (0, 1), (name, done.stderr))
            self.assertEqual(len(re.findall("error: ", done.stderr)), done.returncode, (name, done.stderr))
            left = sorted(p.name for p in (self.folder / f"out{i}").glob("*") if p.name != ".lock")
            self.assertIn(left, ([], ["step-2"]), (name, left))


# A model as a library: in memory of its own and in the caller's, trained and evaluated from one seed.
LIBRARY = r"""
#include "mlp.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef ON_GPU
static void *memory(size_t bytes) { /* in the GPU's own context, which a caller makes current itself */
    unsigned long long at = 0;
    void *driver = dlopen("libcuda.so.1", RTLD_NOW), *context = NULL;
    int device, (*get)(int *, int), (*retain)(void **, int), (*push)(void *);
    *(void **)&get = dlsym(driver, "cuDeviceGet");
    *(void **)&retain = dlsym(driver, "cuDevicePrimaryCtxRetain");
    *(void **)&push = dlsym(driver, "cuCtxPushCurrent_v2");
    if (!get || get(&device, 0) || !retain || retain(&context, device) || !push || push(context)) return NULL;
    int (*take)(unsigned long long *, size_t);
    *(void **)&take = dlsym(dlopen("libcuda.so.1", RTLD_NOW), "cuMemAlloc_v2");
    return take && take(&at, bytes) == 0 ? (void *)(size_t)at : NULL;
}
static void give_back(void *at) {
    int (*give)(unsigned long long);
    *(void **)&give = dlsym(dlopen("libcuda.so.1", RTLD_NOW), "cuMemFree_v2");
    if (give) give((unsigned long long)(size_t)at);
}
#else
static void *memory(size_t bytes) { return aligned_alloc(MLP_ARENA_ALIGNMENT, bytes); }
static void give_back(void *at) { free(at); }
#endif

static int run(Mlp *model, PlimError *error) {
    float x[32 * 16], loss;
    int32_t y[32];
    for (int i = 0; i < 32 * 16; i++) x[i] = (float)(i * 37 % 101) / 50 - 1;
    for (int i = 0; i < 32; i++) y[i] = i % 4;
    if (mlp_init(model, 3, error)) return 1;
    for (int step = 0; step < 3; step++) {
        if (mlp_train(model, x, y, 0.5f, step ? NULL : &loss, error) || mlp_eval(model, x, y, &loss, error)) return 1;
        printf("%.9g\n", loss);
    }
    y[3] = 4;
    return mlp_eval(model, x, y, &loss, error) != PLIM_BAD_INPUT;
}

int main(void) {
    PlimError error = {"?"};
    Mlp *own = NULL, *lent = NULL;
    size_t bytes = 0;
    const PlimStatus opened = mlp_open(NULL, 0, 0, &own, &error);
#ifdef ON_GPU
    if (opened || run(own, &error)) return puts(error.text), 1;
    if (!mlp_state(own, "w1", &bytes) || bytes != 16 * 24 * 4 || mlp_state(own, "w3", NULL)) return 2;
#else
    if (!opened) return 2;
#endif
    char *arena = memory(MLP_ARENA_BYTES + 2 * MLP_ARENA_ALIGNMENT);
    if (!arena || mlp_open(arena, MLP_ARENA_BYTES, 0, &lent, &error) || run(lent, &error)) return puts(error.text), 3;
    if (mlp_state(lent, "w1", &bytes) < (void *)arena || mlp_state(lent, "w1", &bytes) > (void *)(arena + MLP_ARENA_BYTES)) return 4;
    mlp_close(lent);
    if (mlp_open(arena, 64, 0, &lent, &error) != PLIM_BAD_INPUT || mlp_open(arena + 32, MLP_ARENA_BYTES, 0, &lent, &error) != PLIM_BAD_INPUT)
        return 5;
    puts(error.text);
    give_back(arena);
    mlp_close(own);
    return 0;
}
"""


class Graphs(Devices):
    words = (e2e.GRAPHS / "mlp.graph",)

    def test_libraries_agree(self):
        (self.folder / "main.c").write_text(LIBRARY)
        said = []
        for target, flags, run in (("cpu", (), self.good), ("cuda:sm_80", ("-DON_GPU",), self.on_gpu)):
            self.good(e2e.PLIMC, *self.words, "--target", target, "--emit", "lib", "-o", "libmlp.a", "--quiet")
            self.good("cc", "-Wall", "-Wextra", "-Werror", *flags, "main.c", "libmlp.a", "-lm", "-lpthread", "-ldl", "-o", "main")
            *losses, crooked = run(self.folder / "main").stdout.splitlines()
            self.assertIn("does not begin at a multiple of", crooked)
            said.append([float(loss) for loss in losses])
        # On the GPU twice: in memory of the model's own, and in the caller's.
        self.assertEqual(said[1][:3], said[1][3:])
        self.close(said[0], said[1][:3], 1e-5)
        missing = self.folder / "none"
        missing.mkdir()
        done = e2e.run(self.folder / "main", cwd=self.folder, env=self.environment(LD_LIBRARY_PATH=str(missing)))
        self.assertEqual(done.returncode, 1)
        self.assertIn("no NVIDIA driver was found", done.stdout)

    def test_commands_agree(self):
        cpu, gpu = self.cpu, self.gpu
        e2e.write_classes(self.folder / "data", 64)
        for program, run, name in ((cpu, self.good, "cpu"), (gpu, self.on_gpu, "gpu")):
            run(program, "export", "--seed", 3, "-o", f"{name}.safetensors")
            run(program, "export", "--seed", 3, "--dtype", "bf16", "-o", f"{name}.half.safetensors")
        self.assertEqual((self.folder / "cpu.safetensors").read_bytes(), (self.folder / "gpu.safetensors").read_bytes())
        self.assertEqual((self.folder / "cpu.half.safetensors").read_bytes(), (self.folder / "gpu.half.safetensors").read_bytes())
        losses = []
        for program, run in ((cpu, self.good), (gpu, self.on_gpu)):
            said = run(program, "eval", "--data", "data", "--weights", "cpu.safetensors").stdout
            losses.append(float(re.match(r"loss ([0-9.]+)", said)[1]))
        self.close(losses[:1], losses[1:], 1e-5)


class Transformers(Devices):
    words = (MODELS / "gpt2.plim", "--config", "tiny", *TINY)

    def setUp(self):
        super().setUp()
        (self.folder / "data").write_text(e2e.grammar_text(200))

    def test_training_and_generating(self):
        self.train(self.cpu, 3, "cpu.log", "--save", "cpu.out")
        self.train(self.gpu, 3, "gpu.log", gpu=True)
        self.close(self.losses("cpu.log"), self.losses("gpu.log"), 1e-4)
        text = [run(program, "generate", "--weights", "cpu.out/step-3", "--prompt", "the ", "--tokens", "8", "--temperature", "0",
                    "--quiet").stdout for program, run in ((self.cpu, self.good), (self.gpu, self.on_gpu))]
        self.assertEqual(*text)


class HostUpdates(Devices):
    """States that live in pinned memory: the CPU computes every so many slices of their updates, in the same bits."""
    words = (MODELS / "gpt2.plim", "--config", "tiny", "--precision", "f32", "--entry", "train",
             *(x for size in ("layers=1", "heads=2", "width=64", "context=8", "batch=2", "accumulate=1") for x in ("-D", size)))
    far = (*words, "--target", "cuda:sm_80", "--far", "host", "--budget", "500000", "--quiet")

    def setUp(self):
        super().setUp()
        (self.folder / "data").write_text(e2e.grammar_text(200))

    def test_the_host_computes_the_same_bits(self):
        far, kernels = self.compile_for_gpu("far", *self.far)
        calls = self.folder / "calls"
        self.train(self.gpu, 3, "near.log", "--save", "near.out", gpu=True)
        for seed in (0, 1, 7):
            self.train(far, 3, "far.log", "--save", f"{seed}.out", gpu=True, **kernels, PLIM_FAKE_SEED=str(seed), PLIM_FAKE_CALLS=str(calls))
            self.assertIn("cuLaunchHostFunc 1\n", calls.read_text())  # captured once, replayed each step
            self.assertEqual(self.losses("far.log"), self.losses("near.log"))
            for file in ("model.safetensors", "optimizer.safetensors"):
                self.assertEqual((self.folder / f"{seed}.out/step-3" / file).read_bytes(), (self.folder / "near.out/step-3" / file).read_bytes())
        # Instruction by instruction, and timed.
        self.train(far, 2, "watched.log", "--digest", "--check-finite", "--quiet", gpu=True, **kernels)
        self.train(far, 2, "timed.log", "--trace", "trace.json", gpu=True, **kernels)
        for log in ("watched.log", "timed.log"):
            self.assertEqual(self.losses(log), self.losses("near.log")[:2])
        self.on_gpu(far, "tune", "--steps", "1", **kernels)
        self.assertRegex((self.folder / "far.rates").read_text(), r"(?m)^bytes host \d{4,} ")
        self.refused_in_one_sentence(far, "train", "--data", "data", "--steps", 1, says="the GPU failed at adamw h.0.mlp.c_fc",
                                     env=self.environment(**kernels, PLIM_FAKE_FAIL="cuLaunchHostFunc:1:700!"))

    def test_plans_say_what_the_host_computes_and_are_proved(self):
        plan = self.good(e2e.PLIMC, *self.far, "--emit", "plan", "-o", "-").stdout
        host = re.findall(r"kernel (k\d+) rows \[\d+\] host \{", plan)
        calls = re.findall(r"kernel (k\d+) \(.* stream (\d) .*name \"adamw", plan)
        self.assertEqual([stream for kernel, stream in calls if kernel in host], ["3"])
        self.assertIn("0", [stream for kernel, stream in calls if kernel not in host])
        self.assertEqual(re.search(r'isa "(.*)"', plan)[1], "avx2,fma,f16c,bmi,bmi2,lzcnt,movbe")
        near = re.search(r"kernel k\d+ \(read (b\d+)\+0:49152, .*name \"adamw", plan)[1]
        broken = {r"unsafe plan: rule 14": re.sub(r"stream 3 wait \[[^]]*\]", "stream 3", plan),
                  r"rule 20: .*touches far memory": re.sub(rf"(kernel {host[0]} \(.* read )b\d+\+0:4,", rf"\g<1>{near}+0:4,", plan),
                  r"rule 19: kernel \d+ has 0 launches": re.sub(r"(?m)^launch .*k0 .*\n", "", plan),
                  r"rule 20: .*is not on the stream of the host's other kernels":
                      re.sub(r"(?m)^( +\d+:)(.*) stream 3(.*\n)( +\d+:).*\n", r"\1\2 stream 3\3\4\2 stream 2\3", plan, count=1),
                  r"unsafe plan: rule 15": plan.replace("] host {", "] {")}
        for says, text in broken.items():
            self.assertNotEqual(text, plan)
            (self.folder / "broken.plan").write_text(text)
            done = e2e.run(e2e.PLIMC, "broken.plan", "-o", "broken", cwd=self.folder)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, says)


class HalfTransformers(Devices):
    """Tensor cores, as the shim has them; bf16 has 8 bits, and both sides round at other places."""
    words = (*Transformers.words, "--precision", "bf16", "--entry", "train")

    def test_training(self):
        (self.folder / "data").write_text(e2e.grammar_text(200))
        self.train(self.cpu, 2, "cpu.log")
        self.train(self.gpu, 2, "gpu.log", gpu=True)
        self.close(self.losses("cpu.log"), self.losses("gpu.log"), 1e-2)


class HopperTransformers(Devices):
    """Attention by groups of warps, whose tensor maps the runtime makes."""
    words = (MODELS / "gpt2.plim", "--config", "tiny", "--precision", "bf16", "--entry", "train",
             *(x for size in ("layers=1", "heads=1", "width=40", "context=64", "batch=2", "accumulate=2") for x in ("-D", size)))
    target, device = "cuda:sm_90a", "9.0"

    def test_training(self):
        (self.folder / "data").write_text(e2e.grammar_text(200))
        calls = self.folder / "calls"
        self.train(self.cpu, 2, "cpu.log")
        self.train(self.gpu, 2, "gpu.log", gpu=True, PLIM_FAKE_CALLS=str(calls))
        self.close(self.losses("cpu.log"), self.losses("gpu.log"), 1e-2)
        # q, k, v; and with dout for the launch of gradients; twice a step, captured once.
        self.assertIn(f"cuTensorMapEncodeTiled {2 * (3 + 4)}\n", calls.read_text())
        self.refused_in_one_sentence(self.gpu, "train", "--data", "data", "--steps", 1, says="the GPU failed at attention",
                                     env=self.environment(PLIM_FAKE_FAIL="cuTensorMapEncodeTiled:1:1"))


class Joints(Devices):
    """Products and the kernels behind them, apart or in one, as the file of measurements says."""
    words = (*HalfTransformers.words, "-D", "batch=16", "-D", "accumulate=1")

    def written(self, ways):
        """The measured file with all pairs one way."""
        text = re.sub(r"(us [0-9a-f ]{135})( apart)?(: .* gelu)", rf"\1{ways and ' apart'}\3", (self.folder / "gpu.measured").read_text())
        (self.folder / f"{ways}.tune").write_text(text)
        return f"{ways}.tune"

    def test_either_way(self):
        (self.folder / "data").write_text(e2e.grammar_text(400))
        plan = self.good(e2e.PLIMC, *self.words, "--target", "cuda:sm_80", "--emit", "plan", "-o", "-", "--quiet").stdout
        # gelu's gradient shares a kernel with gelu computed again, which is no epilogue.
        self.assertEqual(re.findall(r"^joint .* apply (\w+) from \d to \d( bias \d)?( aux \d)?$", plan, re.M),
                         [("gelu", " bias 1", " aux 2")])
        self.train(self.cpu, 1, "cpu.log")
        self.on_gpu(self.gpu, "tune", "--steps", 1, "-o", "gpu.measured")
        measured = (self.folder / "gpu.measured").read_text()
        self.assertEqual(len(re.findall(r" (?:gelu|gelu_grad) ", measured)), 1, measured)
        losses, weights = {}, {}
        for out, words in {"unmeasured": (), "apart": ("--tune", self.written("apart")), "one": ("--tune", self.written("")),
                           "again": ("--tune", ".tune"), "watched": ("--tune", ".tune", "--check-finite")}.items():
            self.train(self.gpu, 1, "log", *words, "--save", f"{out}.out", gpu=True, PLIM_FAKE_SEED="3" if out == "again" else "0")
            losses[out] = self.losses("log")
            weights[out] = (self.folder / f"{out}.out/step-1/model.safetensors").read_bytes()
            self.close(self.losses("cpu.log"), losses[out], 1e-2)
        # In one they round otherwise, alike in every order of streams; who looks at every result sees the two apart.
        self.assertEqual(weights["unmeasured"], weights["apart"])
        self.assertEqual(weights["one"], weights["again"])
        self.assertNotEqual(weights["one"], weights["apart"])
        self.assertEqual(weights["watched"], weights["apart"])
        self.train(self.gpu, 1, "traced.log", "--tune", ".tune", "--trace", "trace.json", gpu=True)
        self.assertEqual(self.losses("traced.log"), losses["one"])
        for words, says in ((("--tune", ".tune"), r"on its own succeeds; some products were .*: try without the \.tune file$"),
                            (("--tune", self.written("apart")), r"on its own succeeds$")):
            self.refused_in_one_sentence(self.gpu, "train", "--data", "data", "--steps", 1, *words, says=says,
                                         env=self.environment(PLIM_FAKE_FAIL="cuGraphLaunch:2:700"))


class OddRows(Devices):
    """Rows of 4102 bytes lie 4112 apart, so that threads load 16 bytes; what lies between them is nobody's."""
    words = (*HalfTransformers.words, "-D", "vocab=2051")

    def test_training(self):
        (self.folder / "data").write_text(e2e.grammar_text(200))
        self.assertIn(" c bf16 [0, 0, 2056, 1] ", self.good(e2e.PLIMC, *self.words, "--target", "cuda:sm_80", "--emit", "plan",
                                                           "-o", "-", "--quiet").stdout)
        self.train(self.cpu, 2, "cpu.log", "--check-finite")
        said = self.train(self.gpu, 2, "gpu.log", "--check-finite", "--digest", "--quiet", gpu=True).stdout
        self.close(self.losses("cpu.log"), self.losses("gpu.log"), 1e-2)
        again = self.train(self.gpu, 2, "gpu.log", "--digest", "--quiet", gpu=True, PLIM_FAKE_SEED="3").stdout
        self.assertEqual(said, again)


if __name__ == "__main__":
    e2e.unittest.main()
