#!/usr/bin/env python3
"""Times transformers and PEFT on one checkpoint, one JSON object on stdout.

    python bench_torch.py MODEL_DIR infer      --dtype fp32 --prompt-tokens 512 --new-tokens 128
    python bench_torch.py MODEL_DIR train-full --batch 4 --seq 128 --steps 7
    python bench_torch.py MODEL_DIR train-lora --batch 4 --seq 128 --steps 7

`infer` does one warm-up and one timed run; training leaves its first step out and gives the median.
bf16 computes in bf16 (inference) or under autocast with f32 master weights (training); fp16 is for training, also
under autocast, its loss not scaled.
"""

import argparse
import json
import resource
import statistics
import time

import torch
import transformers
from transformers import AutoModelForCausalLM

LEARNING_RATE = 1e-5
N_WARM_UP_TOKENS = 16


def random_ids(vocab_size: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocab_size, shape, generator=generator)


def peak_rss_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def infer(arguments: argparse.Namespace) -> dict:
    dtype = torch.float32 if arguments.dtype == "fp32" else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=dtype).eval()
    prompt = random_ids(model.config.vocab_size, 1, arguments.prompt_tokens)

    @torch.inference_mode()
    def run(n_new: int) -> tuple[float, float]:
        start = time.perf_counter()
        output = model(prompt, use_cache=True, logits_to_keep=1)
        prefilled = time.perf_counter()
        for _ in range(n_new):
            token = output.logits[0, -1].argmax().view(1, 1)
            output = model(token, past_key_values=output.past_key_values, use_cache=True)
        return prefilled - start, time.perf_counter() - prefilled

    run(min(N_WARM_UP_TOKENS, arguments.new_tokens))
    prefill_s, decode_s = run(arguments.new_tokens)
    return {
        "prefill_tokens_per_s": arguments.prompt_tokens / prefill_s,
        "decode_tokens_per_s": arguments.new_tokens / decode_s,
    }


def train(arguments: argparse.Namespace) -> dict:
    torch.manual_seed(0)
    # What is imported counts as the program's start.
    from transformers.models.llama.modeling_llama import LlamaForCausalLM  # noqa: F401
    if arguments.what == "train-lora":
        from peft import LoraConfig, get_peft_model
    start_rss_bytes = peak_rss_bytes()
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    if arguments.what == "train-lora":
        config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"],
                            lora_dropout=0.0, task_type="CAUSAL_LM")
        model = get_peft_model(model, config)
    model.to(arguments.device).train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE)
    ids = random_ids(model.config.vocab_size, arguments.batch, arguments.seq)
    ids = ids.to(arguments.device)
    half = torch.float16 if arguments.dtype == "fp16" else torch.bfloat16
    synchronize = torch.cuda.synchronize if arguments.device == "cuda" else lambda: None

    seconds = []
    for _ in range(arguments.steps + 1):
        start = time.perf_counter()
        with torch.autocast(arguments.device, dtype=half, enabled=arguments.dtype != "fp32"):
            loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        synchronize()
        seconds.append(time.perf_counter() - start)
    return {
        "tokens_per_s": ids.numel() / statistics.median(seconds[1:]),
        "trainable_params": sum(weight.numel() for weight in weights),
        "start_rss_bytes": start_rss_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("what", choices=["infer", "train-full", "train-lora"])
    parser.add_argument("--dtype", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq", type=int, default=128)
    parser.add_argument("--steps", type=int, default=6)
    arguments = parser.parse_args()

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(arguments.threads)
    result = infer(arguments) if arguments.what == "infer" else train(arguments)
    print(json.dumps({**result, "peak_rss_bytes": peak_rss_bytes(), "torch": torch.__version__,
                      "transformers": transformers.__version__}))


if __name__ == "__main__":
    main()
