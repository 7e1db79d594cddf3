"""The table of docs/quantization.md: Firebox and llama.cpp quantize one rotated model, and the 40 PubMed
abstracts say what each lost. Fails when Firebox loses more than it claims to.

    python quantized_quality.py FIREBOX WORK

FIREBOX is the binary, WORK what setup.sh prepared (models, data, llama.cpp). About half an hour on 2 cores.
The abstracts are those of tests/golden (every 700th or so of MEDLINE's file); calibration reads 160 others
that are longer than 900 characters, evenly spaced.
"""

import gzip
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parents[1] / "tests/golden/smollm2/quantized_nll.json"
N_CALIBRATION, MIN_CHARS = 160, 900
KINDS = ("Q4_0", "Q4_K_M")


def run(*args, **options):
    return subprocess.run([str(arg) for arg in args], check=True, capture_output=True, text=True, **options)


def abstracts(path):
    for citation in ET.fromstring(gzip.open(path).read()).iter("MedlineCitation"):
        article = citation.find("Article")
        abstract = article.find("Abstract")
        if abstract is not None:
            title = "".join(article.find("ArticleTitle").itertext())
            text = " ".join("".join(part.itertext()) for part in abstract.findall("AbstractText"))
            yield citation.findtext("PMID"), f"{title}\n{text}"


def write_texts(work, out):
    pmids = json.loads(GOLDEN.read_text())["pmids"]
    texts = dict(abstracts(work / "data/pubmed20n0014.xml.gz"))
    others = [text for pmid, text in texts.items() if pmid not in set(pmids) and len(text) > MIN_CHARS]
    step = len(others) // N_CALIBRATION
    calibration = [others[i * step] for i in range(N_CALIBRATION)]
    for name, chosen in (("scored", [texts[pmid] for pmid in pmids]), ("calibration", calibration)):
        (out / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in chosen))
    (out / "calibration.txt").write_text("\n\n".join(calibration))


def tensor_bytes(path):
    """Of a GGUF file, without its head."""
    from gguf import GGUFReader

    return sum(tensor.n_bytes for tensor in GGUFReader(path).tensors)


def main(firebox, work):
    out = work / "quantized"
    out.mkdir(exist_ok=True)
    write_texts(work, out)
    rotated, scored = out / "rotated", out / "scored.jsonl"
    if not rotated.exists():
        run(firebox, "convert", "--model", work / "models/smollm2-f32", "--rotate", "7", "--out", rotated)
    whole = out / "rotated.gguf"
    run(firebox, "convert", "--model", rotated, "--dtype", "f32", "--out", whole)
    llama = {"env": os.environ | {"LD_LIBRARY_PATH": str(work / "llama/bin")}}
    tool = lambda name: work / "llama/bin" / name
    run(tool("llama-imatrix"), "-m", whole, "-f", out / "calibration.txt", "-o", out / "imatrix.gguf", "-t", "2", "-c",
        "512", **llama)
    for kind in KINDS:
        run(tool("llama-quantize"), "--imatrix", out / "imatrix.gguf", whole, out / f"llama-{kind}.gguf", kind, "2",
            **llama)
    text = ["--calibration", out / "calibration.jsonl"]
    gptq = ["--method", "gptq", *text]
    awq = ["--method", "importance", "--scaling", "awq", *text]
    ends = lambda embedding: ["--tensor", f"model.embed_tokens.weight={embedding}", "--tensor", "lm_head.weight=q8_0"]
    within = lambda kind: ["--budget", str(tensor_bytes(out / f"llama-{kind}.gguf")), *gptq]
    ours = {
        "nf4": (out / "nf4", ["--format", "nf4"]),
        "int4-64": (out / "int4-64-rtn", ["--format", "int4-64"]),
        "int4-64 awq": (out / "int4-64-awq", ["--format", "int4-64", *awq]),
        "int4-64 gptq": (out / "int4-64", ["--format", "int4-64", *gptq]),
        "q4_1": (out / "q4_1", ["--format", "q4_1"]),
        "q4_1 hqq": (out / "q4_1-hqq", ["--format", "q4_1", "--method", "hqq"]),
        "q4_0 gptq": (out / "q4_0.gguf", ["--format", "q4_0", *ends("q4_0"), *gptq]),
        "within Q4_0": (out / "within-Q4_0.gguf", within("Q4_0")),
        "q5_0 gptq": (out / "q5_0.gguf", ["--format", "q5_0", *ends("q5_0"), *gptq]),
        "within Q4_K_M": (out / "within-Q4_K_M.gguf", within("Q4_K_M")),
    }
    for path, options in ours.values():
        if not path.exists():
            run(firebox, "quantize", "--model", rotated, "--out", path, *options)
    files = {name: path for name, (path, _) in ours.items()}
    files |= {f"llama.cpp {kind}": out / f"llama-{kind}.gguf" for kind in KINDS}
    found = {}
    for name, path in files.items():
        report = json.loads(run(firebox, "eval", "divergence", "--model", path, "--reference", rotated, "--data",
                                scored, "--json").stdout)
        size = (path / "model.safetensors" if path.is_dir() else path).stat().st_size
        found[name] = (size, report["nll"] - report["reference_nll"], report["kl"])
        print(f"{name:18} {size / 1e6:7.2f} MB  NLL {report['nll']:.4f} against {report['reference_nll']:.4f}  "
              f"KL {report['kl']:.4f}  {100 * report['top1_agreement']:.1f} %", flush=True)
    wrong = [name for name in ("int4-64 gptq",) if found[name][0] > found["nf4"][0]
             or found[name][1] > found["nf4"][1] / 2]
    for kind, ours in (("Q4_0", ["q4_0 gptq", "within Q4_0"]), ("Q4_K_M", ["q5_0 gptq", "within Q4_K_M"])):
        # In everything: size, NLL, KL divergence.
        wrong += [name for name in ours if any(a > b for a, b in zip(found[name], found[f"llama.cpp {kind}"]))]
    if wrong:
        sys.exit(f"not as good as claimed: {', '.join(wrong)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
