#!/usr/bin/env python3
"""Our networks of images beside torchvision's, from one set of weights that torchvision names and we load.

  tests/compare/images.py --build build/release [--only NAME] [--image 64] [--batch 4]

torchvision draws weights, and running statistics away from 0 and 1; no dropout. Compared in f32, each against torchvision in
f64 by the norm of the difference over the norm (what torchvision itself has in f32 stands beside it):
  - logits of evaluation, which reads the running statistics;
  - loss, gradients and running statistics of one training step.
A deep network makes more of roundings than a shallow one: each may be as far off as 4 times torchvision's own, and 1e-5 in any
case. A bias before another batch norm has a gradient of 0 but for padding: gradients below a millionth of the largest are left
out. The larger the images, the likelier an element lies so close to a bend of relu or relu6 that a rounding puts it on the other
side; its share of one channel's gradient then differs. (MobileNetV2 at 96 x 96 differs by 3e-3 in one bias' gradient, about
the share of one element of 35,000 in that layer; that it is one was not shown.)
Gradients are read off one step of plain gradient descent with the rate 2^20: w - rate g has g in its leading bits.
Not run by CI: it needs torch, torchvision and safetensors, and takes minutes. Exit status 1 where anything differs by more.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torchvision
from safetensors.torch import load_file, save_file

from closeness import check, failed, relative

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
RATE = 2.0**20
CLASSES = 10

# Our name: torchvision's, with what turns its dropout off; the least image where weights depend on it.
CASES = {
    "alexnet": ("alexnet", dict(dropout=0.0), 224),
    "vgg16": ("vgg16", dict(dropout=0.0), 224),
    "resnet50": ("resnet50", {}, 0),
    "mobilenet_v2": ("mobilenet_v2", dict(dropout=0.0), 0),
    "mnasnet": ("mnasnet1_0", dict(dropout=0.0), 0),
    "efficientnet_b0": ("efficientnet_b0", dict(dropout=0.0, stochastic_depth_prob=0.0), 0),
    "densenet121": ("densenet121", {}, 0),
}


def tensors(net):
    """What a file of weights has: torchvision also counts batches, which nothing reads."""
    return {k: v.detach().clone() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}


class Program:
    def __init__(self, name, options, folder, batch, image):
        self.options, self.folder = options, folder
        self.text = (SOURCE / "models" / f"{name}.plim").read_text()
        self.sizes = {"batch": batch, "image": image, "classes": CLASSES}
        if "drop = " in self.text:
            self.sizes["drop"] = 0.0

    def compile(self, name, text, entry):
        source, out = self.folder / f"{name}.plim", self.folder / name
        source.write_text(text)
        sizes = [word for size, value in self.sizes.items() for word in ("-D", f"{size}={value}")]
        command = [self.options.build / "tools/plimc", source, "-o", out, "--entry", entry, "--quiet", *sizes]
        subprocess.run([str(w) for w in command], check=True)
        return out

    def logits(self, images):
        end = self.text.rindex("}")
        entry = "entry forward(images: f32[batch, 3, image, image]) { return logits(images) }"
        program = self.compile("forward", self.text[:end] + entry + "\n}\n", "forward")
        np.save(self.folder / "in.npy", images.numpy())
        subprocess.run([program, "run", "forward", "--weights", self.folder / "theirs", "--in",
                        f"images={self.folder / 'in.npy'}", "--out", f"0={self.folder / 'logits.npy'}"], check=True)
        return np.load(self.folder / "logits.npy")

    def descend(self, data):
        """The loss of one step of gradient descent, and all tensors after it."""
        program = self.compile("descent", re.sub(r"optimizer = [^}]*}", "optimizer = sgd(lr) }", self.text), "train")
        log, saved, out = self.folder / "log.jsonl", self.folder / "saved", self.folder / "after.safetensors"
        subprocess.run([program, "train", "--data", data, "--weights", self.folder / "theirs", "--steps", "1", "--set",
                        f"lr={RATE}", "--log", log, "--save", saved, "--quiet"], check=True)
        subprocess.run([program, "export", "--weights", saved, "-o", out], check=True)
        return json.loads(log.read_text().splitlines()[0])["loss"], load_file(out)


def step(net, images, labels):
    """Loss of a training step; gradients are left in net, running statistics moved on."""
    net.train()
    loss = torch.nn.functional.cross_entropy(net(images), labels)
    loss.backward()
    return loss.item()


def compare(name, options):
    theirs_name, settings, least = CASES[name]
    image = max(options.image, least)
    print(f"{name}, {options.batch} images of {image} x {image}")
    made = torch.Generator().manual_seed(5)
    torch.manual_seed(0)
    net = getattr(torchvision.models, theirs_name)(num_classes=CLASSES, **settings)
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if value.dim() == 1:  # Biases, norms and statistics away from 0 and 1, so that nothing hides behind them.
                value.add_(0.1 * torch.rand(value.shape, generator=made))
    exact = getattr(torchvision.models, theirs_name)(num_classes=CLASSES, **settings).double()
    exact.load_state_dict(net.state_dict())
    start = tensors(net)
    images = torch.randn(options.batch, 3, image, image, generator=made)
    labels = torch.randint(0, CLASSES, (options.batch,), generator=made)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        save_file(start, folder / "theirs")
        save_file(dict(images=images, labels=labels.int()), folder / "data")
        ours = Program(name, options, folder, options.batch, image)
        with torch.no_grad():
            want, near = exact.eval()(images.double()), net.eval()(images)
        check("logits of evaluation", relative(ours.logits(images), want), 1e-5, f"; theirs {relative(near, want):.1e}")
        loss, after = ours.descend(folder / "data")
    want, near = step(exact, images.double(), labels), step(net, images, labels)
    limit = max(1e-5, 4 * abs(near / want - 1))
    check("loss of a training step", abs(loss / want - 1), limit, f"; theirs {abs(near / want - 1):.1e}")
    largest = max(p.grad.norm() for p in exact.parameters())
    worst = max((relative((start[key].double() - after[key].double()) / RATE, p.grad) /
                 max(1e-5, 4 * relative(q.grad, p.grad)), key)
                for (key, p), q in zip(exact.named_parameters(), net.parameters()) if p.grad.norm() > 1e-6 * largest)
    check(f"gradients of {len(list(net.parameters()))} tensors, in limits", worst[0], 1, f"; {worst[1]}")
    statistics = [key for key in start if "running_" in key]
    if statistics:
        want, near = exact.state_dict(), net.state_dict()
        worst = max(relative(after[key], want[key]) / max(1e-5, 4 * relative(near[key], want[key])) for key in statistics)
        check("running statistics, in limits", worst, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--only")
    parser.add_argument("--image", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    options.build = options.build.resolve()
    torch.set_num_threads(2)
    for name in CASES:
        if options.only in (None, name):
            compare(name, options)
    print(f"{len(failed)} differences" if failed else "everything agrees")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
