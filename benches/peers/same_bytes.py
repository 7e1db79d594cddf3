"""Quantizes every projection of a model with bitsandbytes on the CPU and with firebox, and compares the
folder that firebox writes tensor by tensor: the same names, types, shapes and bytes.

    python same_bytes.py FIREBOX MODEL

One number is not bitsandbytes': the mean of a weight's scales, which double quantization takes off. torch sums
it in f32 in an order that depends on the CPU and the number of threads; here it is summed in f64, as firebox
does. It is said how often both are the same.

FIREBOX is the binary, MODEL a Hugging Face folder. Needs torch and bitsandbytes (see setup.sh). Ends with an
error at the first difference.
"""

import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import bitsandbytes.functional as bnb
import torch
from safetensors import safe_open

# bitsandbytes' name, and whether the scales are quantized as well.
FOUR_BITS = {"nf4": ("nf4", False), "nf4-dq": ("nf4", True), "fp4": ("fp4", False), "fp4-dq": ("fp4", True)}


class Folder:
    """The tensors of a folder's safetensors files."""

    def __init__(self, path, stack):
        files = [stack.enter_context(safe_open(file, "pt")) for file in sorted(Path(path).glob("*.safetensors"))]
        self.files = {name: file for file in files for name in file.keys()}

    def names(self):
        return sorted(self.files)

    def tensor(self, name):
        return self.files[name].get_tensor(name)


def four_bits(weight, kind, nested):
    """Codes and state, as `bnb.quantize_4bit` has them but for the mean; and whether torch's mean is the same."""
    codes, state = bnb.quantize_4bit(weight, blocksize=64, compress_statistics=False, quant_type=kind)
    if not nested:
        return codes, state, True
    scales = state.absmax
    offset = scales.double().mean().float()
    absmax, state2 = bnb.quantize_blockwise(scales - offset, blocksize=256)
    state.absmax, state.offset, state.state2, state.nested = absmax, offset, state2, True
    return codes, state, bool(offset == scales.mean())


def quantized(name, weight, form):
    """What bitsandbytes saves of a weight, and whether nothing in it was summed in another order."""
    if form == "int8":
        module = name.removesuffix(".weight")
        # In f32: the layer of 8 bits rounds its weight to f16 first.
        codes, absmax, _ = bnb.int8_vectorwise_quant(weight)
        in_order = torch.tensor(0, dtype=torch.uint8)
        return {name: codes, f"{module}.SCB": absmax, f"{module}.weight_format": in_order}, True
    codes, state, same_mean = four_bits(weight, *FOUR_BITS[form])
    parts = {f"{name}.{key}": value for key, value in state.as_dict(packed=True).items()}
    return {name: codes} | parts, same_mean


def content(name, tensor):
    """The bytes; of a state, which is JSON with spaces that do not count, what it says."""
    data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return json.loads(data) if ".quant_state." in name else data


def difference(name, expected, found):
    """Says where two tensors differ; `None` where they do not."""
    is_state = ".quant_state." in name  # as long as its text
    expected_kind, found_kind = [(t.dtype, None if is_state else tuple(t.shape)) for t in (expected, found)]
    if expected_kind != found_kind:
        return f"expected {expected_kind}, found {found_kind}"
    expected, found = content(name, expected), content(name, found)
    if expected == found:
        return None
    if is_state:
        return f"expected {expected}, found {found}"
    places = [i for i, (a, b) in enumerate(zip(expected, found)) if a != b]
    first = places[0]
    return (f"{len(places)} of {len(expected)} bytes, the first at {first}: "
            f"expected {expected[first]:#04x}, found {found[first]:#04x}")


def check(form, firebox, model):
    """Compares a folder of one format; returns how many weights and bytes were the same, and in how many of how
    many tensors torch's mean was."""
    with tempfile.TemporaryDirectory() as work, ExitStack() as stack:
        out = Path(work) / form
        subprocess.run([firebox, "quantize", "--model", model, "--format", form, "--layout", "bitsandbytes",
                        "--out", str(out), "--json"], check=True, capture_output=True)
        source, found = Folder(model, stack), Folder(out, stack)
        expected_names, same_means, n_weights, n_bytes = set(), [], 0, 0
        for name in source.names():
            tensor = source.tensor(name)
            parts = {name: tensor}
            if name.endswith("_proj.weight"):
                parts, same_mean = quantized(name, tensor.float(), form)
                same_means.append(same_mean)
                n_weights += tensor.numel()
            for part, expected in parts.items():
                if part not in found.files:
                    sys.exit(f"{form}: {part}: missing")
                here = found.tensor(part)
                if wrong := difference(part, expected, here):
                    sys.exit(f"{form}: {part}: {wrong}")
                n_bytes += here.numel() * here.element_size()
            expected_names.update(parts)
        if more := sorted(set(found.names()) - expected_names):
            sys.exit(f"{form}: {more[0]}: not what bitsandbytes saves")
    return n_weights, n_bytes, sum(same_means), len(same_means)


def main(firebox, model):
    for form in (*FOUR_BITS, "int8"):
        n_weights, n_bytes, n_means, n_tensors = check(form, firebox, model)
        means = f", torch's mean in {n_means} of {n_tensors}" if form.endswith("-dq") else ""
        print(f"{form:7} {n_weights:12,} weights {n_bytes:12,} bytes the same{means}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
