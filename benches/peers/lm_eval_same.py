"""EleutherAI's lm-eval on a served model and on the same checkpoint in transformers: the same choices?

    python lm_eval_same.py FIREBOX MODEL

FIREBOX is the binary, MODEL a Hugging Face folder, computed in f32 on the CPU by both. The task is made here:
200 questions with four answers each, always the same. Its `local-completions` asks the server for prompts as
ids and as texts. Every choice must be the same, by the sum of the log-likelihoods and by their mean over the
bytes; prints how far the log-likelihoods are apart at most. Needs torch, transformers and lm_eval.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from serving import firebox_serves

N_ITEMS, N_CHOICES = 200, 4
NAME, TASK = "served", "four_answers"
# Sums of f32 in another order, over an answer of a few tokens.
CLOSE = 0.002
YAML = """\
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {items}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - metric: acc
  - metric: acc_norm
"""

CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Germany": "Berlin", "Japan": "Tokyo", "Egypt": "Cairo",
    "Greece": "Athens", "Russia": "Moscow", "China": "Beijing", "Canada": "Ottawa", "Norway": "Oslo",
    "Sweden": "Stockholm", "Finland": "Helsinki", "Portugal": "Lisbon", "Poland": "Warsaw", "Austria": "Vienna",
    "Hungary": "Budapest", "Ireland": "Dublin", "Peru": "Lima", "Cuba": "Havana", "Kenya": "Nairobi",
    "Thailand": "Bangkok", "South Korea": "Seoul", "Argentina": "Buenos Aires", "Iraq": "Baghdad",
    "Denmark": "Copenhagen", "Belgium": "Brussels", "Chile": "Santiago", "Vietnam": "Hanoi", "Iran": "Tehran",
}
OPPOSITES = {
    "hot": "cold", "big": "small", "fast": "slow", "light": "dark", "happy": "sad", "early": "late", "rich": "poor",
    "hard": "soft", "high": "low", "wet": "dry", "full": "empty", "old": "young", "open": "closed", "strong": "weak",
    "clean": "dirty", "loud": "quiet", "near": "far", "thick": "thin", "first": "last", "brave": "cowardly",
}
KINDS = {
    "a fruit": ["an apple", "a banana", "a pear", "a cherry", "a peach"],
    "an animal": ["a horse", "a dog", "a rabbit", "an elephant", "a goat"],
    "a tool": ["a hammer", "a saw", "a screwdriver", "a wrench", "a drill"],
    "a musical instrument": ["a violin", "a piano", "a trumpet", "a flute", "a drum"],
    "a piece of clothing": ["a shirt", "a coat", "a hat", "a skirt", "a glove"],
    "a vehicle": ["a truck", "a bicycle", "a train", "a tractor", "a bus"],
}
FOLLOWERS = [
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
     "December"],
]


def capital(draw):
    country = draw.choice(list(CAPITALS))
    return f"The capital of {country} is", CAPITALS[country], list(CAPITALS.values())


def opposite(draw):
    word = draw.choice(list(OPPOSITES))
    return f'The opposite of "{word}" is', f'"{OPPOSITES[word]}"', [f'"{other}"' for other in OPPOSITES.values()]


def category(draw):
    kind = draw.choice(list(KINDS))
    others = [thing for other, things in KINDS.items() if other != kind for thing in things]
    return f"Question: Which of these is {kind}?\nAnswer:", draw.choice(KINDS[kind]), others


def follower(draw):
    names = draw.choice(FOLLOWERS)
    at = draw.randrange(len(names) - 1)
    return f"{names[at]} comes before", names[at + 1], [name for name in names if name != names[at]]


def arithmetic(draw):
    a, b = draw.randint(2, 60), draw.randint(2, 60)
    question, result = draw.choice(
        [(f"{a} + {b} =", a + b), (f"{a + b} - {b} =", a), (f"{a} * {b % 10} =", a * (b % 10))])
    return question, str(result), [str(result + off) for off in (-10, -3, -2, -1, 1, 2, 3, 10, 11)]


def story(draw):
    name = draw.choice(["Anna", "Tom", "Mary", "Peter"])
    n, more = draw.randint(3, 19), draw.randint(2, 9)
    what = draw.choice(["apples", "books", "coins", "marbles"])
    question = (f"{name} had {n} {what} and bought {more} more at the market on the way home.\n"
                f"Question: How many {what} are there now?\nAnswer: There are now")
    return question, f"{n + more} {what}.", [f"{n + more + off} {what}." for off in (-5, -2, -1, 1, 2, 5)]


def items():
    """Always the same, all different."""
    draw, made = random.Random(1), {}
    kinds = [capital, opposite, category, follower, arithmetic, story]
    while len(made) < N_ITEMS:
        question, right, others = kinds[len(made) % len(kinds)](draw)
        wrong = draw.sample([other for other in others if other != right], N_CHOICES - 1)
        answer = draw.randrange(N_CHOICES)
        choices = wrong[:answer] + [right] + wrong[answer:]
        made.setdefault((question, *choices), {"question": question, "choices": choices, "answer": answer})
    return list(made.values())


def evaluate(work, name, *args):
    """The log-likelihoods and whether greedy gives that answer, for every choice of every item."""
    out = work / name
    offline = {"HF_HOME": str(work / "home"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, "-m", "lm_eval", "run", "--tasks", TASK, "--include_path", work, "--log_samples",
               "--output_path", out, *args]
    ended = subprocess.run([str(arg) for arg in command], capture_output=True, text=True, env=os.environ | offline)
    if ended.returncode != 0:
        sys.exit(f"{name}: lm-eval ended with {ended.returncode}\n{ended.stderr[-4000:]}")
    samples = next(out.rglob("samples_*.jsonl")).read_text().splitlines()
    by_item = {}
    for sample in map(json.loads, samples):
        # A line for each metric's filter; all have the same answers.
        by_item[sample["doc_id"]] = [(float(ll), str(greedy) == "True") for ll, greedy in sample["filtered_resps"]]
    assert len(by_item) == N_ITEMS, f"{name}: {len(by_item)} items"
    return [by_item[i] for i in range(N_ITEMS)]


def chosen(lls, lengths):
    return max(range(N_CHOICES), key=lambda i: lls[i][0] / lengths[i])


def compare(name, made, found, expected):
    off, right = 0.0, 0
    different = [0, 0, 0]
    for item, ours, theirs in zip(made, found, expected):
        by_bytes = [len(choice.encode()) for choice in item["choices"]]
        sums = [chosen(lls, [1] * N_CHOICES) for lls in (ours, theirs)]
        means = [chosen(lls, by_bytes) for lls in (ours, theirs)]
        right += sums[0] == item["answer"]
        different[0] += sums[0] != sums[1]
        different[1] += means[0] != means[1]
        different[2] += sum(a[1] != b[1] for a, b in zip(ours, theirs))
        off = max(off, *(abs(a[0] - b[0]) for a, b in zip(ours, theirs)))
    good = not any(different) and off <= CLOSE
    print(f"{name:16} {different[0]} of {N_ITEMS} choices differ, {different[1]} by length, {different[2]} of "
          f"{N_ITEMS * N_CHOICES} whether greedy; log-likelihoods off by {off:.6f} at most; {right} right "
          f"{'same' if good else 'DIFFERENT'}", flush=True)
    return good


def main(firebox, model):
    made = items()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        lines, yaml = work / "items.jsonl", work / f"{TASK}.yaml"
        lines.write_text("".join(json.dumps(item) + "\n" for item in made))
        yaml.write_text(YAML.format(task=TASK, items=lines))
        expected = evaluate(work, "transformers", "--model", "hf", "--device", "cpu", "--batch_size", 8, "--model_args",
                            f"pretrained={model},dtype=float32")
        good = True
        with firebox_serves(firebox, model, "--weights", "f32", "--name", NAME) as url:
            for name, tokenized in (("prompts as ids", True), ("prompts as texts", False)):
                found = evaluate(
                    work, name, "--model", "local-completions", "--batch_size", 4, "--model_args",
                    f"model={NAME},base_url={url}/v1/completions,tokenizer={model},tokenizer_backend=huggingface,"
                    f"tokenized_requests={tokenized},num_concurrent=4,max_length=2048")
                good &= compare(name, made, found, expected)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
