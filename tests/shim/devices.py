"""What the tests of whole models on a fake GPU share: a model's programs for the CPU and for a GPU, with its printed kernels
compiled for the shim."""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import e2e  # noqa: E402

SHIM = pathlib.Path(__file__).resolve().parent
LIBRARIES = e2e.BUILD / "tests" / "shim" / "lib"
MODELS = e2e.SOURCE / "models"


def numbers(path):
    """Every f32 of a safetensors file, by tensor."""
    return {name: struct.unpack(f"<{len(data) // 4}f", data) for name, (_, _, data) in e2e.read_safetensors(path).items()}


class Devices(e2e.TestCase):
    """Programs of one model, made once: for the CPU, and for a GPU with what runs its kernels here."""
    words = ()
    target, device = "cuda:sm_80", "8.0"

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="plim-gpu-")
        cls.addClassCleanup(folder.cleanup)
        cls.made = pathlib.Path(folder.name)
        gpu = (*cls.words, "--target", cls.target)
        for words in ((*cls.words, "-o", "cpu"), (*gpu, "-o", "gpu"), (*gpu, "--emit", "cuda", "-o", "kernels.cu")):
            done = e2e.run(e2e.PLIMC, *words, "--quiet", cwd=cls.made)
            assert done.returncode == 0, done.stderr
        subprocess.run([SHIM / "compile", cls.made / "kernels.cu", cls.made / "kernels.so"], check=True)

    def setUp(self):
        super().setUp()
        for name in ("cpu", "gpu"):
            shutil.copy(self.made / name, self.folder)
        self.cpu, self.gpu = self.folder / "cpu", self.folder / "gpu"

    def compile_for_gpu(self, name, *words):
        """Another program of this test: it, and the environment that names what runs its kernels."""
        self.good(e2e.PLIMC, *words, "--quiet", "-o", name)
        self.good(e2e.PLIMC, *words, "--quiet", "--emit", "cuda", "-o", f"{name}.cu")
        subprocess.run([SHIM / "compile", self.folder / f"{name}.cu", self.folder / f"{name}.so"], check=True)
        return self.folder / name, {"PLIM_FAKE_KERNELS": str(self.folder / f"{name}.so")}

    def environment(self, **more):
        return {**os.environ, "LD_LIBRARY_PATH": str(LIBRARIES), "PLIM_FAKE_KERNELS": str(self.made / "kernels.so"),
                "PLIM_FAKE_DEVICE": self.device, **more}

    def on_gpu(self, *words, **more):
        return self.good(*words, env=self.environment(**more))

    def losses(self, log):
        return [json.loads(line)["loss"] for line in (self.folder / log).read_text().splitlines()]

    def close(self, one, other, bound):
        self.assertEqual(len(one), len(other))
        for a, b in zip(one, other):
            self.assertLessEqual(abs(a - b), bound * max(1, abs(a)), (one, other))

    def close_files(self, one, other, bound):
        a, b = numbers(one), numbers(other)
        self.assertEqual(a.keys(), b.keys())
        for name, values in a.items():
            self.close(values, b[name], bound)

    def train(self, program, steps, log, *flags, gpu=False, **more):
        words = [program, "train", "--data", "data", "--steps", steps, "--log", log, "--seed", 5, *flags]
        return self.on_gpu(*words, **more) if gpu else self.good(*words)
