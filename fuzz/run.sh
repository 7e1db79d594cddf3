#!/bin/sh
# Fuzzes each parser for a bounded time, from the saved corpus: fuzz/run.sh [SECONDS] [TARGET...]
#
# Needs no tool but cargo and a C++ compiler (libFuzzer comes with the crate libfuzzer-sys): the
# coverage instrumentation that cargo-fuzz would ask for is asked for here, with stable options.
# New inputs go to fuzz/artifacts/corpus, a failing one to fuzz/artifacts. Exit code 0: none failed.
set -eu
cd "$(dirname "$0")"
seconds=${1:-20}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- safetensors gguf packed adapter medline jsonl token_shard keys requests
# The server's targets bring burn, which takes long to build.
features=
case " $* " in *" keys "* | *" requests "*) features=server ;; esac

host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-target}/fuzz
# With --target, build scripts and macros are not instrumented.
CARGO_TARGET_DIR=$target_dir RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares" \
  cargo build --release --target "$host" --features "$features"

for target in "$@"; do
  mkdir -p "artifacts/corpus/$target"
  echo "fuzz $target for $seconds s"
  # One thread: decoding such small files on many only costs time.
  RAYON_NUM_THREADS=1 "$target_dir/$host/release/$target" -max_total_time="$seconds" -timeout=10 \
    -rss_limit_mb=1024 -max_len=8192 -use_value_profile=1 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="artifacts/$target-" "artifacts/corpus/$target" "corpus/$target"
done
