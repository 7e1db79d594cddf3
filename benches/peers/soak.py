"""Hours of a bad day for the server, in minutes: random requests, clients that leave, bodies that are no JSON,
readers that do not read, at twice what it can compute at once; adapters are replaced, unloaded and loaded all the
while.

    python soak.py FIREBOX MODEL [MINUTES]

30 minutes unless told otherwise. Fails where a request is neither answered nor refused, the server ends, an
engine restarts, an adapter that is only replaced is not found, blocks are held or requests run when all is over, memory grows after the first third, or 1,000
idle connections cost 50 MB.
"""

import asyncio
import json
import random
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

from random_adapter import write_adapter
from serving import firebox_serves

N_CLIENTS, N_AT_ONCE = 64, 32
N_IDLE, MAX_IDLE_BYTES = 1000, 50e6
# Of the peak of the first third: the allocator's slack, and texts of unread answers.
MAX_GROWTH = 1.10
# Adapters: one is replaced again and again, the other is unloaded and loaded.
REPLACED, UNLOADED = "replaced", "unloaded"
WORDS = "the patient was given insulin and blood glucose fell over two days while doctors watched".split()


def metrics(url):
    lines = urllib.request.urlopen(f"{url}/metrics").read().decode().splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name.split("{")[0]: float(value) for name, value in samples}


def rss(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.split("VmRSS:")[1].split()[0])


def body(rng):
    words = rng.choices(WORDS, k=rng.choice((5, 50, 400)))
    if rng.random() < 0.3:
        words = WORDS * 8 + words[:10]
    fields = {"max_tokens": rng.choice((1, 16, 64, 200)), "temperature": rng.choice((0, 1)), "seed": rng.randrange(99)}
    if rng.random() < 0.2:
        fields["structured_outputs"] = {"regex": "[a-z ]{5,40}"}
    if rng.random() < 0.2:
        fields["n"] = 3
    if rng.random() < 0.5:
        fields["model"] = rng.choice((REPLACED, UNLOADED))
    if rng.random() < 0.5:
        return "/v1/completions", fields | {"prompt": " ".join(words), "logprobs": rng.choice((None, 3))}
    return "/v1/chat/completions", fields | {"messages": [{"role": "user", "content": " ".join(words)}]}


def request(path, data, length=None):
    head = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return f"{head}content-length: {length or len(data)}\r\n\r\n".encode() + data


async def one(address, rng, seen):
    path, fields = body(rng)
    kind = rng.choices(("whole", "stream", "leave", "malformed", "cut", "slow"), (5, 5, 3, 2, 1, 1))[0]
    fields["stream"] = kind != "whole"
    data = json.dumps(fields).encode()
    if kind == "malformed":
        data = bytes(rng.choice((b"{", b'{"prompt": }', b"\xff\xfe", b"[" * 5000, b'{"nonsense": 1}')))
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request(path, data, len(data) + 50 if kind == "cut" else None))
        await writer.drain()
        if kind == "cut":
            return seen.update(["cut"])
        if kind == "leave":
            await asyncio.wait_for(reader.read(1), 120)
            return seen.update(["left"])
        if kind == "slow":
            await asyncio.sleep(rng.uniform(1, 10))
        answer = await asyncio.wait_for(reader.read(), 300)
        status = int(answer.split(b" ", 2)[1])
        is_whole = status != 200 or (b"[DONE]" in answer if fields["stream"] else b'"usage"' in answer)
        is_told = b'"error"' in answer
        if status == 404 and fields.get("model") != UNLOADED:
            return seen.update(["NOT FOUND, THOUGH NEVER UNLOADED"])
        seen.update([f"{kind} {status}" if is_whole or is_told else "NEITHER ANSWERED NOR TOLD"])
    finally:
        writer.close()


async def client(address, until, seed, seen):
    rng = random.Random(seed)
    while time.monotonic() < until:
        try:
            await one(address, rng, seen)
        except (ConnectionError, IndexError, asyncio.TimeoutError) as error:
            seen.update([f"FAILED: {type(error).__name__} {error}"])


async def change_adapters(url, folder, until, seen):
    """Every second: new factors for one, the other away and back."""
    def change(seed):
        write_adapter(folder / REPLACED, seed)
        for method, path, fields in (("POST", "", {"name": REPLACED}), ("DELETE", f"/{UNLOADED}", None)):
            call(url, method, path, fields)
        time.sleep(0.2)
        call(url, "POST", "", {"name": UNLOADED})

    seed = 0
    while time.monotonic() < until:
        seed += 1
        await asyncio.to_thread(change, seed)
        seen.update(["adapters changed"])
        await asyncio.sleep(1)


def call(url, method, path, fields):
    data = json.dumps(fields).encode() if fields else None
    headers = {"content-type": "application/json"} if fields else {}
    asked = urllib.request.Request(f"{url}/v1/adapters{path}", data, headers, method=method)
    urllib.request.urlopen(asked).read()


async def run(url, pid, minutes, folder):
    address = url.removeprefix("http://").rsplit(":", 1)
    seen, peaks = Counter(), []
    start = time.monotonic()
    until = start + 60 * minutes
    clients = [asyncio.create_task(client(address, until, seed, seen)) for seed in range(N_CLIENTS)]
    clients.append(asyncio.create_task(change_adapters(url, folder, until, seen)))
    while time.monotonic() < until:
        await asyncio.sleep(min(5, until - time.monotonic() + 0.1))
        peaks.append((time.monotonic() - start, rss(pid)))
    await asyncio.gather(*clients)
    await asyncio.sleep(3)
    before = rss(pid)
    idle = [await asyncio.open_connection(*address) for _ in range(N_IDLE)]
    await asyncio.sleep(1)
    cost = rss(pid) - before
    for _, writer in idle:
        writer.close()
    return seen, peaks, cost


def main(firebox, model, minutes=30.0):
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate((REPLACED, UNLOADED)):
            write_adapter(Path(folder) / name, seed)
        found = soak(firebox, model, float(minutes), Path(folder))
    report(*found)


def soak(firebox, model, minutes, folder):
    with firebox_serves(firebox, model, "--weights", "blocks", "--max-concurrent", N_AT_ONCE, "--cache-tokens", 8192,
                        "--speculate", 4, "--adapters", folder) as url:
        pid = server_pid(url)
        seen, peaks, idle_bytes = asyncio.run(run(url, pid, minutes, folder))
        return seen, peaks, idle_bytes, metrics(url)


def report(seen, peaks, idle_bytes, found):
    step = max(1, len(peaks) // 12)
    print("memory, MB:", " ".join(f"{size / 1e6:.0f}" for _, size in peaks[::step]))
    third = len(peaks) // 3
    first, last = (max(size for _, size in part) for part in (peaks[:third + 1], peaks[third:]))
    for kind, n in sorted(seen.items()):
        print(f"{n:7} {kind}")
    print(f"memory at most {first / 1e6:.0f} MB in the first third, {last / 1e6:.0f} MB after it; "
          f"{N_IDLE} idle connections {idle_bytes / 1e6:.1f} MB")
    print(f"{found['vllm:generation_tokens_total']:.0f} tokens, {found['vllm:num_preemptions_total']:.0f} preemptions, "
          f"{found['vllm:prefix_cache_hits_total']:.0f} prompt tokens found again")
    wrong = [kind for kind in seen if kind.isupper() or kind.startswith(("FAILED", "NEITHER"))]
    wrong += [kind for kind in seen if kind.endswith(" 500")]
    wrong += [name for name in ("firebox:engine_restarts_total", "vllm:num_requests_running",
                                "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc") if found[name] != 0]
    if last > first * MAX_GROWTH:
        wrong.append("memory grows")
    if idle_bytes > MAX_IDLE_BYTES:
        wrong.append("idle connections")
    if wrong:
        sys.exit(f"not as it should be: {', '.join(wrong)}")


def server_pid(url):
    """Who listens on the port."""
    port = f"{int(url.rsplit(':', 1)[1]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inode = next(row[9] for row in rows if row[1].endswith(f":{port}") and row[3] == "0A")
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if link.readlink().name == f"socket:[{inode}]":
                return int(link.parts[2])
        except OSError:
            continue
    raise SystemExit(f"nobody listens on {url}")


if __name__ == "__main__":
    main(*sys.argv[1:])
