"""`firebox serve` beside llama.cpp's server on one GGUF, by turns on one machine.

    python serve_speed.py FIREBOX LLAMA_SERVER MODEL.gguf [ROUNDS]

Each client sends its next request when it has the answer to the last: 128 tokens in (about), 128 out, greedy,
streamed, none of the prompts known from before. Then a prompt of about 2,000 tokens, and the same with 32
other tokens at its end. Then, one client: answers in words, and answers that a JSON schema shapes. Firebox alone: the
same 16 clients over four adapters. 2 threads; one server at a time is up. A Markdown table of medians over ROUNDS
(3 unless given), with the smallest and the largest. The machine must do nothing else.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from random_adapter import SHAPES, write_adapter
from serving import firebox_serves, llama_serves, post

NAME, THREADS, N_NEW = "served", 2, 128
# Clients and requests of a load.
LOADS = {16: 48, 1: 8}
# With a number before it 119 tokens, and no two prompts begin alike.
TEXT = (
    "The lighthouse stands on a narrow strip of rock that is cut off from the mainland twice a day. Its keeper used to "
    "walk across at low tide to fetch bread, letters and oil for the lamp, and he wrote down the weather every evening "
    "in a book that is still kept in the village. Since the light was made to work by itself, nobody has lived there, "
    "but the door is painted each spring, and the windows are cleaned of salt. Visitors may climb the ninety steps to "
    "the gallery, from which the islands can be seen when the air is clear, and count the")
LONG_PARTS, N_OTHER = 17, 32
# As many tokens each.
# Answers of so many tokens, free and shaped, by turns.
N_SHAPED, SHAPED_PAIRS = 200, 4
SCHEMA = {
    "type": "array", "minItems": 60, "items": {
        "type": "object", "required": ["name", "age", "kind"], "additionalProperties": False, "properties": {
            "name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"},
            "kind": {"enum": ["keeper", "sailor", "visitor"]}}}}
N_ADAPTERS, ADAPTER_RANK = 4, 16
ENDS = ["one two three four five six seven eight", "red blue green white black brown gray pink"]


def stream(url, prompt, n_new, cached, **fields):
    """Seconds to the first token, the number of tokens in, and seconds a token after the first."""
    begin, first, last = time.perf_counter(), None, None
    fields = {"model": NAME} | fields
    with post(f"{url}/v1/completions", prompt=prompt, max_tokens=n_new, temperature=0, stream=True,
              stream_options={"include_usage": True}, ignore_eos=True, cache_prompt=cached, **fields) as answer:
        for line in answer:
            if line.startswith(b"data: {"):
                first = first or time.perf_counter() - begin
                last = json.loads(line[6:])
    usage = last["usage"]
    assert usage["completion_tokens"] == n_new, usage
    return first, usage["prompt_tokens"], (time.perf_counter() - begin - first) / max(1, n_new - 1)


def load(url, n_clients, n_requests, models=(NAME,)):
    """Tokens a second of all clients together, and the times to the first token."""
    todo, firsts, errors = list(range(n_requests)), [], []

    def client():
        try:
            while True:
                try:
                    k = todo.pop()
                except IndexError:
                    return
                firsts.append(stream(url, f"{k}. {TEXT}", N_NEW, cached=False, model=models[k % len(models)])[0])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=client) for _ in range(n_clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begin
    if errors:
        raise errors[0]
    return {"tok/s": n_requests * N_NEW / seconds, "p50": at(firsts, 0.5), "p95": at(firsts, 0.95)}


def at(values, part):
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def known_prompt(url):
    """Times to the first token of a long prompt, and of the same with another end."""
    text = " ".join(f"Part {k}. {TEXT}" for k in range(LONG_PARTS))
    (new, n_new, _), (known, n_known, _) = (
        stream(url, f"{text} {' '.join([end] * (N_OTHER // 8))}", 4, cached=True) for end in ENDS)
    assert n_new == n_known, (n_new, n_known)
    return {"new": new, "known": known, "n": n_new}


def shaped(url, field):
    """What a schema costs a token: medians of the time a token takes, free and shaped."""
    times = {"free": [], "shaped": []}
    # The first has the schema compiled.
    stream(url, TEXT, 8, cached=True, **{field: wrapped(field)})
    for k in range(SHAPED_PAIRS):
        for kind, fields in (("free", {}), ("shaped", {field: wrapped(field)})):
            times[kind].append(stream(url, f"{k}. {TEXT}", N_SHAPED, cached=False, **fields)[2])
    free, with_schema = (statistics.median(found) for found in times.values())
    return {"free": free * 1e3, "shaped": with_schema * 1e3, "cost": 100 * (with_schema / free - 1)}


def wrapped(field):
    return {"json": SCHEMA} if field == "structured_outputs" else SCHEMA


def measure(serves, for_load, for_prompt, schema_field, adapters=()):
    found = {}
    with serves(*for_load) as url:
        stream(url, "Hello", 8, cached=False)
        for n_clients, n_requests in LOADS.items():
            found |= {(n_clients, what): value for what, value in load(url, n_clients, n_requests).items()}
        found |= {("schema", what): value for what, value in shaped(url, schema_field).items()}
        if adapters:
            n_clients, n_requests = max(LOADS.items())
            loaded = load(url, n_clients, n_requests, adapters)
            found |= {("adapters", what): value for what, value in loaded.items()}
    with serves(*for_prompt) as url:
        stream(url, "Hello", 8, cached=False)
        found |= {("prompt", what): value for what, value in known_prompt(url).items()}
    return found


def cell(rounds, key, digits):
    values = sorted(found[key] for found in rounds)
    return f"{statistics.median(values):.{digits}f} ({values[0]:.{digits}f} to {values[-1]:.{digits}f})"


def main(firebox, llama_server, model, n_rounds):
    def ours(*args):
        return firebox_serves(firebox, model, "--threads", THREADS, "--weights", "blocks", "--name", NAME, *args)

    def theirs(*args):
        return llama_serves(llama_server, model, "-t", THREADS, "-c", 16384, "--no-warmup", *args)

    adapters = [f"adapter-{k}" for k in range(N_ADAPTERS)]

    def firebox_with(form, folder):
        args = ["--kv-cache", form, "--adapters", folder]
        return measure(ours, args, args, "structured_outputs", adapters)

    folder = tempfile.TemporaryDirectory()
    for k, name in enumerate(adapters):
        targets = [module.split(".")[1] for module in SHAPES]
        write_adapter(Path(folder.name) / name, k, ADAPTER_RANK, targets)
    servers = {
        "llama.cpp": lambda: measure(theirs, ["-np", 16], ["-np", 4], "json_schema"),
        "Firebox, KV f16": lambda: firebox_with("f16", folder.name),
        "Firebox, KV int8": lambda: firebox_with("int8", folder.name),
    }
    found = {name: [] for name in servers}
    names = list(servers)
    for r in range(n_rounds):
        for i in range(len(names)):
            name = names[(r + i) % len(names)]
            found[name].append(servers[name]())
            print(f"round {r + 1}: {name}", file=sys.stderr, flush=True)

    cpu = subprocess.run(["sh", "-c", "lscpu | grep Model.name"], check=True, capture_output=True, text=True).stdout
    print(f"{os.cpu_count()} CPUs, {cpu.split(':')[1].strip()}, {THREADS} threads, {n_rounds} rounds; {model.name}. "
          f"Tokens a second of all clients together; seconds to the first token.\n")
    print("| server | clients | tokens/s | first token, p50 | p95 |\n|---|--:|--:|--:|--:|")
    for n_clients in LOADS:
        for name, rounds in found.items():
            cells = [cell(rounds, (n_clients, what), digits) for what, digits in (("tok/s", 1), ("p50", 3), ("p95", 3))]
            print(f"| {name} | {n_clients} | {' | '.join(cells)} |")
    print(f"\n| ms a token of {N_SHAPED}, one client | free | JSON schema | cost, % |\n|---|--:|--:|--:|")
    for name, rounds in found.items():
        cells = [cell(rounds, ("schema", what), digits) for what, digits in (("free", 2), ("shaped", 2), ("cost", 1))]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\n| 16 clients, {N_ADAPTERS} adapters of rank {ADAPTER_RANK} in all projections | tokens/s | first token, p50 "
          "| p95 |\n|---|--:|--:|--:|")
    for name, rounds in found.items():
        if ("adapters", "p50") in rounds[0]:
            cells = [cell(rounds, ("adapters", what), 1 if what == "tok/s" else 3) for what in ("tok/s", "p50", "p95")]
            print(f"| {name} | {' | '.join(cells)} |")
    n_tokens = {run["prompt", "n"] for rounds in found.values() for run in rounds}
    assert len(n_tokens) == 1, n_tokens
    print(f"\n| {n_tokens.pop()} tokens in, first token | new | all but the last {N_OTHER} known |\n|---|--:|--:|")
    for name, rounds in found.items():
        print(f"| {name} | {cell(rounds, ('prompt', 'new'), 3)} | {cell(rounds, ('prompt', 'known'), 3)} |")


if __name__ == "__main__":
    main(*(Path(arg).resolve() for arg in sys.argv[1:4]), int(sys.argv[4]) if len(sys.argv) > 4 else 3)
