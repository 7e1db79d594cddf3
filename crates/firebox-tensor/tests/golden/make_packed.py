"""Writes packed.safetensors and packed_edges.safetensors: what bitsandbytes and gguf make of real
and of awkward weights.

    python make_packed.py MODEL.safetensors [N_ROWS]

MODEL is SmolLM2-135M-Instruct in bf16; N_ROWS (default 20) rows of one projection are kept.
Needs torch, bitsandbytes, gguf, numpy, safetensors. All on the CPU.
"""

import importlib.metadata as md
import sys

import bitsandbytes.functional as bnb
import gguf
import numpy as np
import torch
from safetensors.torch import safe_open, save_file

NAME = "model.layers.0.mlp.down_proj.weight"
META = {p: md.version(p) for p in ("torch", "bitsandbytes", "gguf", "numpy")} | {"tensor": NAME}


def nf4(weight, double_quant, prefix, kind="nf4"):
    codes, state = bnb.quantize_4bit(
        weight, blocksize=64, compress_statistics=double_quant, quant_type=kind
    )
    out = {f"{prefix}.codes": codes.reshape(-1)}
    if double_quant:
        out[f"{prefix}.absmax_codes"] = state.absmax
        out[f"{prefix}.absmax_offset"] = state.offset.reshape(1)
        out[f"{prefix}.absmax_absmax"] = state.state2.absmax
    else:
        out[f"{prefix}.absmax"] = state.absmax
    out[f"{prefix}.dequantized"] = bnb.dequantize_4bit(codes, state).reshape(weight.shape)
    return out


def int8_rowwise(weight):
    codes, absmax, _ = bnb.int8_vectorwise_quant(weight)
    return codes, absmax, codes.float() * absmax[:, None] / 127


def ggml(weight, kind):
    blocks = gguf.quantize(weight.numpy(), gguf.GGMLQuantizationType[kind])
    values = gguf.dequantize(blocks, gguf.GGMLQuantizationType[kind])
    return torch.from_numpy(blocks.copy()), torch.from_numpy(values.copy())


def real(path, n_rows):
    with safe_open(path, "pt") as file:
        whole = file.get_tensor(NAME)
    weight = whole[:n_rows].float().contiguous()
    out = {"weight": whole[:n_rows].contiguous()}  # bf16 is exact for this checkpoint
    out |= nf4(weight, False, "nf4")
    codes, absmax, values = int8_rowwise(weight)
    out |= {"int8.codes": codes, "int8.absmax": absmax, "int8.dequantized": values}
    for kind in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"):
        out[f"{kind.lower()}.blocks"], out[f"{kind.lower()}.dequantized"] = ggml(weight, kind)
    # The offset is the mean over the whole tensor, so double quantization needs all of it.
    scales = nf4(whole.float().contiguous(), False, "w")["w.absmax"]
    nested = nf4(whole.float().contiguous(), True, "w")
    out["whole.absmax"] = scales
    for part in ("absmax_codes", "absmax_offset", "absmax_absmax"):
        out[f"whole.{part}"] = nested[f"w.{part}"]
    out["whole.dequantized"] = nested["w.dequantized"][:4].contiguous()
    out["dynamic_codebook"] = bnb.create_dynamic_map()
    out["nf4_codebook"] = bnb.get_4bit_type("nf4", device="cpu")
    x = torch.randn(3, weight.shape[1], generator=torch.Generator().manual_seed(7))
    out["x"] = x
    for form in ("nf4", "int8", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1"):
        out[f"{form}.y"] = (x.double() @ out[f"{form}.dequantized"].double().T).float()
        out[f"{form}.dequantized"] = out[f"{form}.dequantized"][:4].contiguous()
    return out


def edges():
    generator = torch.Generator().manual_seed(11)
    randn = lambda *shape: torch.randn(*shape, generator=generator)
    codebook = bnb.get_4bit_type("nf4", device="cpu")
    ties = torch.zeros(2, 64)  # every midpoint, and the floats on both sides of it
    midpoints = (codebook[:-1] + codebook[1:]) / 2
    ties[:, :15], ties[:, 15] = midpoints, 1.0
    ties[0, 16:31] = torch.nextafter(midpoints, torch.tensor(2.0))
    ties[0, 31:46] = torch.nextafter(midpoints, torch.tensor(-2.0))
    ties[1] *= 0.37
    zeros = randn(3, 64)
    zeros[1] = 0
    cases = {
        "ties": ties,
        "zero_block": zeros,
        "partial_block": randn(3, 50),
        "odd_length": randn(3, 37),
        "one_value": torch.tensor([[-0.3]]),
        "zero_tail": torch.cat([randn(1, 64), torch.zeros(1, 5)], 1),
        "all_zero": torch.zeros(2, 64),
        "subnormal": randn(2, 64) * 1e-40,
        "huge": randn(2, 64) * 5e37,
        "equal_scales": torch.ones(5, 64),
        # bf16, so that torch's f32 mean of the scales is exact in any order of summation.
        "many_blocks": (randn(300, 64) * torch.exp(randn(300, 1))).bfloat16().float(),
    }
    out = {}
    for name, weight in cases.items():
        out[f"{name}.weight"] = weight
        for prefix, double_quant in (("nf4", False), ("nf4-dq", True)):
            parts = nf4(weight, double_quant, f"{name}.{prefix}")
            # Rebuilt values of the big case say nothing that the small ones do not.
            out |= {k: v for k, v in parts.items() if name != "many_blocks" or "deq" not in k}
    blocks = torch.cat([
        randn(4, 32),
        torch.zeros(1, 32),
        torch.arange(-16, 16).reshape(1, 32) / 2,
        torch.tensor([[1.0, -1.0] * 16, [-1.0, 1.0] * 16, [3.0] * 32, [-3.0] * 32]),
        randn(1, 32) * 1e-7,
        randn(1, 32) * 1e4,
        torch.round(randn(2, 32) * 127) / 2,
    ])  # fmt: skip
    out["ggml.weight"] = blocks
    for kind in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"):
        name = kind.lower()
        out[f"ggml.{name}.blocks"], out[f"ggml.{name}.dequantized"] = ggml(blocks, kind)
    return out


if __name__ == "__main__":
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    save_file(real(sys.argv[1], rows), "packed.safetensors", META)
    save_file(edges(), "packed_edges.safetensors", META)
