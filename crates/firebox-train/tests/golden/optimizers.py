"""Trajectories of torch's AdamW, SGD and clip_grad_norm_, written to optimizers.json.

Run: python optimizers.py   (made with torch 2.15.0, CPU, one thread)
"""

import json
import pathlib

import torch

torch.set_num_threads(1)
torch.manual_seed(1234)
N_STEPS = 8
SHAPES = {"weight": (4, 3), "bias": (3,)}


def numbers(tensor):
    return tensor.detach().flatten().tolist()


start = {name: torch.randn(shape) for name, shape in SHAPES.items()}
# Gradients over five orders of magnitude; some exactly zero.
gradients = []
for step in range(N_STEPS):
    gradients.append({name: torch.randn(shape) * 10 ** (step % 5 - 3) for name, shape in SHAPES.items()})
gradients[2]["bias"].zero_()
rates = [0.1 / (step + 1) for step in range(N_STEPS)]


def run(make, max_norm=None):
    parameters = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
    optimizer = make(list(parameters.values()))
    steps, norms = [], []
    for gradient, rate in zip(gradients, rates):
        for name, parameter in parameters.items():
            parameter.grad = gradient[name].clone()
        if max_norm is not None:
            norms.append(torch.nn.utils.clip_grad_norm_(parameters.values(), max_norm).item())
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        steps.append({name: numbers(parameter) for name, parameter in parameters.items()})
    return {"steps": steps, "norms": norms}


adamw, sgd = torch.optim.AdamW, torch.optim.SGD
cases = {
    "adamw_defaults": run(lambda p: adamw(p)),
    "adamw_other_settings": run(lambda p: adamw(p, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
    "adamw_without_decay_clipped": run(lambda p: adamw(p, weight_decay=0.0), max_norm=0.5),
    "sgd_plain": run(lambda p: sgd(p)),
    "sgd_momentum_and_decay": run(lambda p: sgd(p, momentum=0.9, weight_decay=0.05)),
    "sgd_clipped": run(lambda p: sgd(p, momentum=0.9), max_norm=0.5),
}

# A multi-layer perceptron on fixed data: every loss and gradient norm of 20 steps.
mlp = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
inputs = torch.randn(16, 3)
targets = torch.stack([inputs.prod(1), inputs.sum(1).sin()], 1)
mlp_start = {name: numbers(parameter) for name, parameter in mlp.named_parameters()}
optimizer = adamw(mlp.parameters(), lr=0.02)
losses, norms = [], []
for step in range(20):
    loss = torch.nn.functional.mse_loss(mlp(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    norms.append(torch.nn.utils.clip_grad_norm_(mlp.parameters(), 0.5).item())
    optimizer.step()
    losses.append(loss.item())

json.dump(
    {
        "made_with": f"torch {torch.__version__.split('+')[0]}, seed 1234, f32 on the CPU",
        "start": {name: numbers(value) for name, value in start.items()},
        "gradients": [{name: numbers(value) for name, value in step.items()} for step in gradients],
        "learning_rates": rates,
        "cases": cases,
        "mlp": {
            "start": mlp_start,
            "inputs": numbers(inputs),
            "targets": numbers(targets),
            "losses": losses,
            "norms": norms,
            "end": {name: numbers(parameter) for name, parameter in mlp.named_parameters()},
        },
    },
    open(pathlib.Path(__file__).with_suffix(".json"), "w"),
    separators=(",", ":"),
)
