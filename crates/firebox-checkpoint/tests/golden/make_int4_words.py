#!/usr/bin/env python3
"""Golden files for weights in the layouts of GPTQ and AWQ. Made with numpy 2.4.6 and safetensors 0.8.0:

    python make_int4_words.py      (writes beside itself)

It packs and unpacks by the definitions of the formats alone, one code at a time. Of each module `M`,
`M.values` is what its parts stand for, in float32 and `[out, in]`: scale (code - zero).

gptq.safetensors      The first version: zero points less 1, in 4 bits, so that 0 becomes 15. Modules
                      `g32`, `g64` and `g128` with zero points of their own, `s32`, `s64` and `s128`
                      with 8 in every group, and `scattered`, whose groups are of inputs at random.
gptq_v2.safetensors   The second: zero points as they are. `g32`, `g64` and `g128`.
awq.safetensors       `g32`, `g64`, `g128`, `s32`, `s64` and `s128`.
"""

import pathlib

import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
RNG = np.random.default_rng(20251130)
META = {"made_by": "make_int4_words.py, numpy 2.4.6, seed 20251130"}
# Where an output of eight stands in a word of AWQ, the lowest nibble first.
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
# Groups along the input: an odd number, so that the last of two is alone.
N_GROUPS, N_OUT = 3, 16


def word(codes):
    """Eight codes as a signed word, the first in the lowest four bits."""
    total = sum(int(code) << (4 * i) for i, code in enumerate(codes))
    return total - (1 << 32) if total >= 1 << 31 else total


def across(matrix, order=range(8)):
    """Words of eight neighbours along the last axis."""
    rows = [[word([row[at + i] for i in order]) for at in range(0, len(row), 8)] for row in matrix]
    return np.array(rows, np.int32)


def along(matrix):
    """Words of eight neighbours along the first axis."""
    n_in, n_out = matrix.shape
    rows = [[word(matrix[at:at + 8, out]) for out in range(n_out)] for at in range(0, n_in, 8)]
    return np.array(rows, np.int32)


def weight(group_size, symmetric, scattered=False):
    """Codes `[in, out]`, zero points and scales `[n_groups, out]`, and the group of each input."""
    n_in = N_GROUPS * group_size
    codes = RNG.integers(0, 16, (n_in, N_OUT))
    zeros = RNG.integers(0, 16, (N_GROUPS, N_OUT))
    zeros[0, :4] = [0, 1, 15, 0]
    zeros[-1, -2:] = [15, 0]
    if symmetric:
        zeros[:] = 8
    scales = (RNG.standard_normal((N_GROUPS, N_OUT)) * 0.02).astype(np.float16)
    # Of all kinds: zero, the smallest, negative, large.
    scales[1, :4] = [0.0, 6e-8, -0.5, 1000.0]
    groups = np.arange(n_in) // group_size
    return codes, zeros, scales, RNG.permutation(groups) if scattered else groups


def values(codes, zeros, scales, groups):
    levels = codes.astype(np.float32) - zeros[groups].astype(np.float32)
    return np.ascontiguousarray((scales[groups].astype(np.float32) * levels).T)


def gptq(module, parts, less):
    codes, zeros, scales, groups = parts
    return {
        f"{module}.qweight": along(codes),
        f"{module}.qzeros": across((zeros - less) % 16),
        f"{module}.scales": scales,
        f"{module}.g_idx": groups.astype(np.int32),
        f"{module}.values": values(*parts),
    }


def awq(module, parts):
    codes, zeros, scales, _ = parts
    return {
        f"{module}.qweight": across(codes, AWQ_ORDER),
        f"{module}.qzeros": across(zeros, AWQ_ORDER),
        f"{module}.scales": scales,
        f"{module}.values": values(*parts),
    }


def main():
    sizes, files = (32, 64, 128), {"gptq": {}, "gptq_v2": {}, "awq": {}}
    for size in sizes:
        files["gptq"] |= gptq(f"g{size}", weight(size, False), 1)
        files["gptq"] |= gptq(f"s{size}", weight(size, True), 1)
        files["gptq_v2"] |= gptq(f"g{size}", weight(size, False), 0)
        files["awq"] |= awq(f"g{size}", weight(size, False))
        files["awq"] |= awq(f"s{size}", weight(size, True))
    files["gptq"] |= gptq("scattered", weight(32, False, scattered=True), 1)
    for name, tensors in files.items():
        save_file(tensors, HERE / f"{name}.safetensors", META)


if __name__ == "__main__":
    main()
