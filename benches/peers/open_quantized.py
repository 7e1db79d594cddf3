"""Quantizes a model with firebox and opens the files elsewhere: bitsandbytes' layout in transformers,
GGUF in llama.cpp. The mean negative log-likelihoods of some texts must be those that firebox finds.
For the K formats, which want rows of whole blocks of 256, the model is a small one, trained here, and
llama.cpp's logits must also be those of the weights that firebox reads from the file.

    python open_quantized.py FIREBOX MODEL

FIREBOX is the binary, MODEL a Hugging Face folder. Needs torch, transformers and bitsandbytes, and
llama_cpp for GGUF (see setup.sh).
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from small_llama import write_small_llama

TEXTS = [
    "The patients were treated with insulin, and their blood glucose was measured every hour for two days. "
    "Those who had eaten before the first measurement were left out, because their values could not be compared.",
    "A recipe for bread: mix flour, water, salt and yeast, let the dough rest until it is twice as large, fold it "
    "three times, and bake it for forty minutes. It should sound hollow when you knock on its lower side.",
    "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n    return total / len(values)\n",
]
N_TOKENS = 128
# Sums in another order; llama.cpp, and bitsandbytes in 8 bits, multiply by activations of 8 bits.
CLOSE, ROUNDED = 0.001, 0.02
# The same for logits, as parts of their standard deviation: on average and at most. With F32 in the file they
# are off by 0.0001 and 0.003; a K format's activations have one scale for 256.
LOGITS_MEAN, LOGITS_MAX = 0.02, 0.15


def firebox(*args):
    out = subprocess.run([FIREBOX, *args, "--json"], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def nll(rows, ids):
    rows = np.asarray(rows, dtype=np.float64)[: len(ids) - 1]
    top = rows.max(1, keepdims=True)
    logp = rows - top - np.log(np.exp(rows - top).sum(1, keepdims=True))
    return -logp[np.arange(len(ids) - 1), ids[1:]].sum(), len(ids) - 1


def mean(scores):
    total, n = np.sum(list(scores), axis=0)
    return total / n


def in_transformers(path, texts):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, device_map="cpu")
    with torch.no_grad():
        return [model(torch.tensor([ids])).logits[0].float().numpy() for ids in texts]


def in_llama_cpp(path, texts):
    from llama_cpp import Llama

    model = Llama(str(path), n_ctx=N_TOKENS, n_batch=N_TOKENS, logits_all=True, verbose=False)

    def logits(ids):
        model.reset()
        model.eval(ids)
        return np.array(model.scores[: len(ids)])

    return [logits(ids) for ids in texts]


def check(where, form, model, path, lines, texts):
    logits = {"transformers": in_transformers, "llama.cpp": in_llama_cpp}[where](path, texts)
    found = mean(map(nll, logits, texts))
    # bitsandbytes multiplies by activations in 8 bits.
    weights = "int8-dot" if form == "int8" else "stored"
    expected = firebox("eval", "divergence", "--model", str(path), "--reference", str(model), "--data",
                       str(lines), "--seq", str(N_TOKENS), "--weights", weights)["nll"]
    tolerance = CLOSE if form.startswith(("nf4", "fp4")) else ROUNDED
    return verdict(f"{form:15} {where:12} {found:.4f} firebox {expected:.4f}", abs(found - expected) <= tolerance)


def check_logits(form, path, texts):
    """llama.cpp's logits beside those of the same file that firebox wrote as an f32 folder."""
    read = path.with_suffix(".read")
    firebox("convert", "--model", str(path), "--dtype", "f32", "--out", str(read))
    found, expected = (np.concatenate(logits) for logits in (in_llama_cpp(path, texts), in_transformers(read, texts)))
    error = np.abs(found - expected) / expected.std()
    line = f"{form:15} logits       off by {error.mean():.5f} of their deviation, {error.max():.5f} at most"
    return verdict(line, error.mean() <= LOGITS_MEAN and error.max() <= LOGITS_MAX)


def verdict(line, good):
    print(line, "same" if good else "DIFFERENT", flush=True)
    return good


def check_k_formats(model, work, lines, texts):
    small, calibration = work / "small", work / "calibration.jsonl"
    write_small_llama(model, small, texts)
    calibration.write_text(lines.read_text() * 2)
    good = True
    for form in ("q4_k", "q5_k", "q6_k"):
        for method in ("rtn", "importance", "gptq"):
            out = work / f"{form}-{method}.gguf"
            more = [] if method == "rtn" else ["--calibration", str(calibration)]
            firebox("quantize", "--model", str(small), "--format", form, "--tensor", f"model.embed_tokens.weight={form}",
                    "--method", method, *more, "--out", str(out))
            good &= check("llama.cpp", f"{form} {method}", small, out, lines, texts)
            good &= check_logits(f"{form} {method}", out, texts)
    return good


def main(model):
    texts = []
    for text in TEXTS:
        ids = firebox("tokenizer", "encode", "--model", model, "--prompt", text)["ids"]
        texts.append(ids[:N_TOKENS])
    good = True
    with tempfile.TemporaryDirectory() as work:
        lines = Path(work) / "texts.jsonl"
        lines.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
        for form in ("nf4", "nf4-dq", "fp4", "fp4-dq", "int8"):
            out = Path(work) / form
            firebox("quantize", "--model", model, "--format", form, "--layout", "bitsandbytes", "--out", str(out))
            good &= check("transformers", form, model, out, lines, texts)
        for form in ("q8_0", "q4_0", "q4_1", "q5_0", "q5_1"):
            out = Path(work) / f"{form}.gguf"
            firebox("quantize", "--model", model, "--format", form, "--out", str(out))
            good &= check("llama.cpp", form, model, out, lines, texts)
        for form in ("f32", "f16", "bf16"):
            out = Path(work) / f"{form}.gguf"
            firebox("convert", "--model", model, "--dtype", form, "--out", str(out))
            good &= check("llama.cpp", form, model, out, lines, texts)
        good &= check_k_formats(model, Path(work), lines, texts)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    FIREBOX = sys.argv[1]
    main(sys.argv[2])
