"""Starts a server for the scripts beside it, and asks it over plain HTTP."""

import contextlib
import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request

READY_S = 120


@contextlib.contextmanager
def firebox_serves(firebox, model, *args):
    """The URL of `firebox serve`, which is stopped at the end."""
    command = [firebox, "serve", "--model", model, "--address", "127.0.0.1:0", *args, "--json"]
    process = subprocess.Popen(
        [str(arg) for arg in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with stopped(process):
        line = process.stdout.readline()
        assert line, f"firebox serve ended with {process.wait()}"
        url = json.loads(line)["url"]
        wait_until_ready(process, f"{url}/ready")
        yield url


@contextlib.contextmanager
def llama_serves(llama_server, model, *args):
    """The URL of llama.cpp's server, whose libraries lie beside it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [llama_server, "-m", model, "--host", "127.0.0.1", "--port", port, *args]
    process = subprocess.Popen(
        [str(arg) for arg in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"LD_LIBRARY_PATH": str(llama_server.parent)})
    with stopped(process):
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(process, f"{url}/health")
        yield url


@contextlib.contextmanager
def stopped(process):
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process, url):
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            with urllib.request.urlopen(url):
                return
        time.sleep(0.05)
    raise TimeoutError(f"no answer from {url} within {READY_S} s")


def post(url, **body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return urllib.request.urlopen(request)


def metric(url, name):
    """A number of `/metrics` that has no labels but the model's."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        text = answer.read().decode()
    return float(re.search(rf"^{name}\{{[^}}]*\}} (\S+)$", text, re.MULTILINE).group(1))
