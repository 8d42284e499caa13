#!/usr/bin/env python3
"""What PyTorch itself says a training step in eager mode holds at most: to hold the bench's model of it against.

  peer_memory.py [--batch N] MODEL      gpt2 or bert of transformers, or vgg16 as torchvision has it, at the bench's sizes

Runs on fake tensors, so it needs neither a GPU nor the memory: torch's own tracker counts storages as they come and go.
Prints bytes above parameters (AdamW's state is made after the first step's peak). Needs torch and transformers.
"""
import argparse

import torch
import torch.nn.functional as F
import transformers as hf
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

QUIET = dict(_attn_implementation="sdpa")


def gpt2(batch):
    # F.gelu in one kernel, as nanoGPT and we have it; transformers' default is composed of eight.
    model = hf.GPT2LMHeadModel(hf.GPT2Config(attn_pdrop=0, embd_pdrop=0, resid_pdrop=0, use_cache=False,
                                             activation_function="gelu_pytorch_tanh", **QUIET))
    text = torch.zeros(batch, 1025, dtype=torch.int64)
    return model, text, lambda: (model(text[:, :-1]).logits, text[:, 1:])


def bert(batch):
    model = hf.BertForMaskedLM(hf.BertConfig(hidden_dropout_prob=0, attention_probs_dropout_prob=0, **QUIET))
    text = torch.zeros(batch, 512, dtype=torch.int64)
    return model, text, lambda: (model(text).logits, text)


def vgg16(batch):
    layers, channels = [], 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU(inplace=True)]
            channels = width
        layers.append(torch.nn.MaxPool2d(2))
    layers.append(torch.nn.Flatten())
    for inputs in (512 * 49, 4096):
        layers += [torch.nn.Linear(inputs, 4096), torch.nn.ReLU(inplace=True), torch.nn.Dropout()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(4096, 1000))
    images, labels = torch.zeros(batch, 3, 224, 224), torch.zeros(batch, dtype=torch.int64)
    return model, images, lambda: (model(images), labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("model", choices=("gpt2", "bert", "vgg16"))
    options = parser.parse_args()
    with FakeTensorMode():
        model, data, forward = globals()[options.model](options.batch)
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        tracker = MemTracker()
        tracker.track_external(model, optimizer, data)

        def loss_of():
            logits, labels = forward()
            return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))

        with tracker:
            loss_of().backward()
        peak = tracker.get_tracker_snapshot("peak")
        for device in peak.values():
            parameters = sum(b for kind, b in device.items() if str(kind).endswith(("PARAM", "BUFFER")))
            print(f"{options.model}, batch {options.batch}: {(device['Total'] - parameters) / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
