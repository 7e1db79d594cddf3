"""Quantizes a model with firebox in the layouts of GPTQ and AWQ and opens the files elsewhere. The mean
negative log-likelihoods of some texts must be those that firebox finds.

    python open_gptq.py FIREBOX MODEL

FIREBOX is the binary, MODEL a Hugging Face folder. Needs torch and transformers. The weights are rebuilt in
torch by the definition of the formats, and where gptqmodel and optimum are installed, transformers also
loads the folder through them:

    pip install --no-build-isolation gptqmodel==7.7.0 optimum==2.3.0
"""

import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import open_quantized as peers
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

# Nibbles of a word, the lowest first: which output of eight each holds.
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
FORMATS = ("int4-32", "int4-64", "int4-32-sym", "int4-64-sym")


def nibbles(words):
    """Eight codes of each word along a new last axis."""
    return torch.stack([(words >> (4 * i)) & 15 for i in range(8)], -1)


def weight(parts, module, quantization):
    """A weight `[out, in]` by the definition of its format."""
    words, zeros = parts[f"{module}.qweight"], nibbles(parts[f"{module}.qzeros"])
    scales = parts[f"{module}.scales"].float()
    if quantization["quant_method"] == "awq":
        place = torch.tensor(AWQ_ORDER).argsort()
        codes = nibbles(words)[..., place].reshape(len(words), -1)
        zeros = zeros[..., place]
        groups = torch.arange(len(codes)) // quantization["group_size"]
    else:
        codes = nibbles(words).permute(0, 2, 1).reshape(-1, words.shape[1])
        if quantization["checkpoint_format"] == "gptq":
            zeros = (zeros + 1) & 15
        groups = parts[f"{module}.g_idx"].long()
    zeros = zeros.reshape(scales.shape)
    return (scales[groups] * (codes - zeros[groups])).T.contiguous()


def rebuilt(path):
    """The model with its weights unpacked."""
    config = AutoConfig.from_pretrained(path)
    quantization = config.quantization_config
    del config.quantization_config
    parts = load_file(path / "model.safetensors")
    packed = [name.removesuffix(".qweight") for name in parts if name.endswith(".qweight")]
    state = {f"{module}.weight": weight(parts, module, quantization) for module in packed}
    suffixes = (".qweight", ".qzeros", ".scales", ".g_idx")
    state |= {name: tensor.float() for name, tensor in parts.items() if not name.endswith(suffixes)}
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return model.eval()


def by_gptqmodel(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, device_map="cpu").eval()


def score(model, texts):
    with torch.no_grad():
        return peers.mean(peers.nll(model(torch.tensor([ids])).logits[0].float().numpy(), ids) for ids in texts)


def main(model):
    ways = {"definition": (rebuilt, peers.CLOSE)}
    if importlib.util.find_spec("gptqmodel") and importlib.util.find_spec("optimum"):
        ways["gptqmodel"] = (by_gptqmodel, peers.ROUNDED)
    texts = []
    for text in peers.TEXTS:
        ids = peers.firebox("tokenizer", "encode", "--model", model, "--prompt", text)["ids"]
        texts.append(ids[: peers.N_TOKENS])
    good = True
    with tempfile.TemporaryDirectory() as work:
        lines = Path(work) / "texts.jsonl"
        lines.write_text("".join(json.dumps({"text": text}) + "\n" for text in peers.TEXTS))
        for layout in ("gptq", "awq"):
            for form in FORMATS:
                out = Path(work) / f"{layout}-{form}"
                peers.firebox("quantize", "--model", model, "--format", form, "--layout", layout, "--out", str(out))
                # Unpacked by firebox: it multiplies packed weights by activations of 8 bits.
                plain = Path(work) / f"{layout}-{form}-f32"
                peers.firebox("convert", "--model", str(out), "--dtype", "f32", "--out", str(plain))
                expected = peers.firebox("eval", "divergence", "--model", str(plain), "--reference", str(model), "--data",
                                         str(lines), "--seq", str(peers.N_TOKENS))["nll"]
                for way, (opened, tolerance) in ways.items():
                    found = score(opened(out), texts)
                    same = abs(found - expected) <= tolerance
                    good &= same
                    verdict = "same" if same else "DIFFERENT"
                    print(f"{layout:5} {form:12} {way:11} {found:.4f} firebox {expected:.4f} {verdict}", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    peers.FIREBOX = sys.argv[1]
    main(sys.argv[2])
