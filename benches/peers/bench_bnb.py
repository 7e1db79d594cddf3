"""Times bitsandbytes' NF4 linear layer on the CPU and prints rows per second as one JSON object."""

import argparse
import json
import statistics
import time
import warnings

import bitsandbytes as bnb
import torch

warnings.filterwarnings("ignore")


def layer(n_in: int, n_out: int) -> torch.nn.Module:
    linear = torch.nn.Linear(n_in, n_out, bias=False)
    packed = bnb.nn.Linear4bit(
        n_in, n_out, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4", compress_statistics=False
    )
    packed.load_state_dict(linear.state_dict())
    return packed.to("cpu").eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--in", dest="n_in", type=int, default=2048)
    parser.add_argument("--out", dest="n_out", type=int, default=8192)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--rotate-mb", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    weight_bytes = arguments.n_in * arguments.n_out * (0.5 + 4 / 64)
    layers = [
        layer(arguments.n_in, arguments.n_out)
        for _ in range(max(1, round(arguments.rotate_mb * 1e6 / weight_bytes)))
    ]
    x = torch.randn(arguments.rows, arguments.n_in).bfloat16()
    seconds = []
    with torch.inference_mode():
        for packed in layers:
            packed(x)
        begin = time.perf_counter()
        while time.perf_counter() - begin < arguments.seconds or len(seconds) < 2:
            start = time.perf_counter()
            layers[len(seconds) % len(layers)](x)
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"rows_per_s": arguments.rows / statistics.median(seconds), "layers": len(layers)}))


main()
