"""Result dtypes of operations under torch.autocast: python autocast.py > autocast_cpu.json

`python autocast.py cuda > autocast_gpu.json` on a machine with an NVIDIA GPU. Each operation runs with all
inputs f32, all of them half, and the first half and the others f32; "error" where torch refuses.
"""
import json
import sys

import torch
import torch.nn.functional as F

device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
HALVES = {"bf16": torch.bfloat16, "f16": torch.float16}
NAMES = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


def rand(*shape):
    return torch.rand(*shape, device=device) * 0.5 + 0.25


square = lambda: rand(4, 4)
classes = torch.tensor([0, 1, 2, 3], device=device)
ctc = lambda p: F.ctc_loss(p, torch.ones(2, 2, dtype=torch.long), torch.tensor([6, 6]), torch.tensor([2, 2]))
OPS = {
    "matmul": (lambda a, b: a @ b, square, square),
    "linear": (F.linear, square, square),
    "conv1d": (F.conv1d, lambda: rand(1, 2, 8), lambda: rand(2, 2, 3)),
    "conv2d": (F.conv2d, lambda: rand(1, 2, 8, 8), lambda: rand(2, 2, 3, 3)),
    "conv3d": (F.conv3d, lambda: rand(1, 2, 8, 8, 8), lambda: rand(2, 2, 3, 3, 3)),
    "conv_transpose1d": (F.conv_transpose1d, lambda: rand(1, 2, 8), lambda: rand(2, 2, 3)),
    "conv_transpose2d": (F.conv_transpose2d, lambda: rand(1, 2, 8, 8), lambda: rand(2, 2, 3, 3)),
    "conv_transpose3d": (F.conv_transpose3d, lambda: rand(1, 2, 8, 8, 8), lambda: rand(2, 2, 3, 3, 3)),
    "scaled_dot_product_attention": (F.scaled_dot_product_attention, *[lambda: rand(1, 2, 4, 8)] * 3),
    "prelu": (F.prelu, square, lambda: rand(4)),
    "softmax": (lambda x: F.softmax(x, 1), square),
    "log_softmax": (lambda x: F.log_softmax(x, 1), square),
    "softmin": (lambda x: F.softmin(x, 1), square),
    "softplus": (F.softplus, square),
    "layer_norm": (lambda x: F.layer_norm(x, (4,)), square),
    "group_norm": (lambda x: F.group_norm(x, 2), lambda: rand(2, 4, 4)),
    "nll_loss": (lambda x: F.nll_loss(x, classes), square),
    "mse_loss": (F.mse_loss, square, square),
    "l1_loss": (F.l1_loss, square, square),
    "smooth_l1_loss": (F.smooth_l1_loss, square, square),
    "huber_loss": (F.huber_loss, square, square),
    "kl_div": (lambda a, b: F.kl_div(a, b, reduction="batchmean"), square, square),
    "binary_cross_entropy_with_logits": (F.binary_cross_entropy_with_logits, square, square),
    "poisson_nll_loss": (F.poisson_nll_loss, square, square),
    "cosine_embedding_loss": (lambda a, b: F.cosine_embedding_loss(a, b, torch.ones(4, device=device)), square, square),
    "ctc_loss": (ctc, lambda: rand(6, 2, 4)),
    "cosine_similarity": (F.cosine_similarity, square, square),
    "cdist": (torch.cdist, square, square),
    "exp": (torch.exp, square), "expm1": (torch.expm1, square),
    "log": (torch.log, square), "log1p": (torch.log1p, square),
    "log2": (torch.log2, square), "log10": (torch.log10, square),
    "pow": (lambda x: torch.pow(x, 2.0), square),
    "reciprocal": (torch.reciprocal, square), "rsqrt": (torch.rsqrt, square),
    "sinh": (torch.sinh, square), "cosh": (torch.cosh, square), "tan": (torch.tan, square),
    "asin": (torch.asin, square), "acos": (torch.acos, square),
    "sum": (torch.sum, square), "prod": (torch.prod, square),
    "cumsum": (lambda x: torch.cumsum(x, 0), square), "cumprod": (lambda x: torch.cumprod(x, 0), square),
    "norm": (torch.norm, square), "quantile": (lambda x: torch.quantile(x, 0.5), square),
    "trace": (torch.trace, square),
    "grid_sample": (lambda x, g: F.grid_sample(x, g, align_corners=False), lambda: rand(1, 1, 4, 4), lambda: rand(1, 4, 4, 2)),
    "cat": (lambda a, b: torch.cat([a, b]), square, square),
    "stack": (lambda a, b: torch.stack([a, b]), square, square),
    "index_put": (lambda a, v: a.index_put((classes,), v), square, lambda: rand(4)),
    "scatter_add": (lambda a, v: a.scatter_add(0, classes[None], v), square, square),
    "addcmul": (torch.addcmul, square, square, square),
    "addcdiv": (torch.addcdiv, square, square, square),
    "atan2": (torch.atan2, square, square),
    "cross": (lambda a, b: torch.linalg.cross(a, b) if device == "cpu" else torch.cross(a, b, dim=1), lambda: rand(4, 3), lambda: rand(4, 3)),
    "dot": (torch.dot, lambda: rand(4), lambda: rand(4)),
    # On no list.
    "add": (torch.add, square, square), "mul": (torch.mul, square, square),
    "relu": (F.relu, square), "gelu": (F.gelu, square), "silu": (F.silu, square),
    "sigmoid": (torch.sigmoid, square), "sqrt": (torch.sqrt, square), "mean": (torch.mean, square),
}


def outcome(name, half, inputs):
    operation, *shapes = OPS[name]
    first = {"f32": torch.float32, "half": half, "mixed": half}[inputs]
    others = half if inputs == "half" else torch.float32
    tensors = [make().to(first if i == 0 else others) for i, make in enumerate(shapes)]
    try:
        with torch.autocast(device, dtype=half):
            return NAMES[operation(*tensors).dtype]
    except (RuntimeError, NotImplementedError):
        return "error"


table = {
    name: {
        half_name: {inputs: outcome(name, half, inputs) for inputs in ("f32", "half", "mixed")}
        for half_name, half in HALVES.items()
    }
    for name in OPS
}
print(json.dumps({"torch": torch.__version__, "device": device, "operations": table}, indent=1))
