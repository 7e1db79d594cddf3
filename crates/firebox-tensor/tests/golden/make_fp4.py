"""Writes packed_fp4.safetensors: what bitsandbytes' FP4 makes of awkward weights, on the CPU.

    python make_fp4.py

Needs torch, bitsandbytes, gguf, numpy, safetensors.
"""

import bitsandbytes.functional as bnb
import torch
from make_packed import META, nf4
from safetensors.torch import save_file

CODEBOOK = bnb.get_4bit_type("fp4", device="cpu")


def ties():
    """Every midpoint and the floats on both sides of it; and the same times a factor."""
    levels = CODEBOOK.sort().values
    midpoints = (levels[:-1] + levels[1:]) / 2
    ties = torch.zeros(2, 64)
    ties[:, :15], ties[:, 15] = midpoints, 1.0
    ties[0, 16:31] = torch.nextafter(midpoints, torch.tensor(2.0))
    ties[0, 31:46] = torch.nextafter(midpoints, torch.tensor(-2.0))
    ties[1] *= 0.37
    return ties


def zeros():
    """Zeros of both signs, and values of both signs that are too small for any code but a zero's."""
    zeros = torch.zeros(1, 64 + 6)  # the same in a block that is not whole
    values = torch.tensor([1.0, -0.0, 0.0, 1e-10, -1e-10, 1e-45])
    zeros[0, :6], zeros[0, 64:] = values, values
    return zeros


def outlier(n):
    weight = torch.ones(1, n)
    weight[0, 1::2], weight[0, 2::4], weight[0, 5] = -1, 0, 1e30
    return weight


def cases():
    generator = torch.Generator().manual_seed(13)
    # bf16, so that torch's f32 mean of the scales is exact in any order of summation.
    randn = lambda *shape: torch.randn(*shape, generator=generator).bfloat16().float()
    zero_block = randn(3, 64)
    zero_block[1] = 0
    return {
        "ties": ties(),
        "zeros": zeros(),
        "zero_block": zero_block,
        "partial_block": randn(3, 50),
        "odd_length": randn(3, 37),
        "one_value": torch.tensor([[-0.3]]),
        "zero_tail": torch.cat([randn(1, 64), torch.zeros(1, 5)], 1),
        "all_zero": torch.zeros(2, 64),
        "subnormal": randn(2, 72) * 2.0**-133,
        "huge": randn(2, 64) * 2.0**125,
        "outlier": outlier(64),
        "outlier_in_part": outlier(64 + 14),
        "equal_scales": torch.ones(5, 64),
        "many_blocks": (randn(300, 64) * torch.exp(randn(300, 1))).bfloat16(),
    }


if __name__ == "__main__":
    out = {"codebook": CODEBOOK}
    for name, weight in cases().items():
        out[f"{name}.weight"] = weight
        for double_quant in (False, True):
            form = "fp4-dq" if double_quant else "fp4"
            parts = nf4(weight.float(), double_quant, f"{name}.{form}", "fp4")
            # Rebuilt values of the big case say nothing that the small ones do not.
            out |= {k: v for k, v in parts.items() if name != "many_blocks" or "deq" not in k}
    save_file(out, "packed_fp4.safetensors", {k: v for k, v in META.items() if k in ("torch", "bitsandbytes")})
