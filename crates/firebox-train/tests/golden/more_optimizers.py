"""Trajectories of more optimizers and schedules, written to more_optimizers.json.

Run: python more_optimizers.py   (made with torch 2.15.0 and bitsandbytes 0.50.2, CPU, one thread)

Adafactor and the schedules are torch's. Lion is written out here from algorithm 2 of its paper, 8-bit
AdamW from section 2 of its own: bitsandbytes has no CPU kernel of it. Its code table is bitsandbytes'.
"""

import json
import math
import pathlib

import bitsandbytes.functional as bnb
import torch

torch.set_num_threads(1)
torch.manual_seed(4321)
N_STEPS = 8


def numbers(tensor):
    return tensor.detach().flatten().tolist()


def adafactor(start, gradients, **settings):
    params = [torch.nn.Parameter(p.clone()) for p in start]
    optimizer = torch.optim.Adafactor(params, **settings)
    for step in gradients:
        for p, g in zip(params, step):
            p.grad = g.clone()
        optimizer.step()
    return [numbers(p) for p in params]


def lion(start, gradients, lr, beta_1, beta_2, weight_decay):
    ends = []
    for index, p in enumerate(start):
        p, m = p.clone(), torch.zeros_like(p)
        for step in gradients:
            g = step[index]
            p = p * (1 - lr * weight_decay) - lr * torch.sign(beta_1 * m + (1 - beta_1) * g)
            m = beta_2 * m + (1 - beta_2) * g
        ends.append(numbers(p))
    return ends


BLOCK = 256


def pack(x, code):
    middles = (code[1:] + code[:-1]) / 2
    blocks = x.split(BLOCK)
    absmax = torch.stack([b.abs().max() for b in blocks])
    codes = [torch.bucketize(b / m if m > 0 else b * 0, middles) for b, m in zip(blocks, absmax)]
    return codes, absmax


def unpack(packed, code):
    codes, absmax = packed
    return torch.cat([code[c] * m for c, m in zip(codes, absmax)])


def adamw_8bit(start, gradients, lr, beta_1, beta_2, eps, weight_decay):
    signed, unsigned = bnb.create_dynamic_map(True), bnb.create_dynamic_map(False)
    p = start.clone()
    first, second = pack(torch.zeros_like(p), signed), pack(torch.zeros_like(p), unsigned)
    for t, g in enumerate(gradients, 1):
        m = unpack(first, signed) * beta_1 + (1 - beta_1) * g
        v = unpack(second, unsigned) * beta_2 + (1 - beta_2) * g * g
        c1, c2 = 1 - beta_1**t, math.sqrt(1 - beta_2**t)
        p = (p - lr * c2 / c1 * (m / (v.sqrt() + eps * c2))) * (1 - lr * weight_decay)
        first, second = pack(m, signed), pack(v, unsigned)
    return p


def schedule(make, n):
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([p], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(n):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


shapes = [(4, 3), (3,)]
start = [torch.randn(s) for s in shapes]
gradients = [[torch.randn(s) * 0.1 for s in shapes] for _ in range(N_STEPS)]
settings = dict(lr=1e-2, beta_1=0.9, beta_2=0.999, eps=1e-8, weight_decay=0.1)
out = {
    "start": [numbers(p) for p in start],
    "gradients": [[numbers(g) for g in step] for step in gradients],
    "adafactor": adafactor(start, gradients, lr=0.05, weight_decay=0.1),
    "lion": lion(start, gradients, lr=1e-2, beta_1=0.9, beta_2=0.99, weight_decay=0.1),
    # Every twentieth element; start and gradients are computed again from a formula by the test.
    "codes_signed": numbers(bnb.create_dynamic_map(True)),
    "codes_unsigned": numbers(bnb.create_dynamic_map(False)),
    "one_cycle": schedule(lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=40, pct_start=0.3), 40),
    "linear": schedule(lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.1, total_iters=40), 40),
}


def formula(i, k):
    return torch.tensor([math.sin(0.37 * j + 1.7 * k) * (1 + (j % 97)) for j in range(i)], dtype=torch.float32)


start_8, grads_8 = formula(5000, 0) * 0.01, [formula(5000, 1 + k) * 1e-3 for k in range(N_STEPS)]
out["adamw_8bit"] = numbers(adamw_8bit(start_8, grads_8, **settings)[::20])
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
