"""Writes datatrove_filters.jsonl: what datatrove's filters make of texts that this script composes.

Run with: python datatrove_filters.py > datatrove_filters.jsonl
Needs: pip install datatrove==0.10.1 spacy==3.8.*
The sentences are written for this file; which text gets which of them follows from the seed.
"""

import json
import random
import sys

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.filters.gopher_repetition_filter import (
    find_all_duplicate,
    find_duplicates,
    find_top_duplicate,
    get_n_grams,
)
from datatrove.utils.text import split_into_words

SENTENCES = """
The stove in the corner had gone out before anyone woke.
Water was carried from the well in two wooden buckets.
A fire needs fuel, heat and air; without any of them it dies.
We measured the temperature every ten minutes for three hours.
It isn't clear who had opened the window that night.
The well-known method didn't work as well as we'd hoped.
In 1987, the old bridge was replaced by one of steel and concrete.
About 35% of the samples (n = 120) were lost during transport.
"Don't touch the handle," she said, "it's still hot."
The results are shown in Table 2 and in Figure 3.
Costs rose from $12 to $15 per unit within a year.
Patients in group A received 5 mg of the drug; those in group B received none.
Nobody knew whether the letter would arrive in time...
Is there a better way to do this? Perhaps not!
The committee met on Monday, but no decision was made.
Oak burns slowly and with little smoke, which is why bakers like it.
They've written to the author, who hasn't answered yet.
A dry summer followed a wet spring, and the harvest was poor.
The mean age was 54.3 years (range 21-79).
See the chapter on bread-making for a longer explanation.
Some people prefer tea; others wouldn't drink anything but coffee.
The sensor's reading was wrong: it showed 3.2 instead of 4.1.
On the left side of the road stood a mill with a broken wheel.
All of this has been said before, and better.
He wrote the whole program in one night and tested it the next day.
""".strip().splitlines()
JUNK = """
Home | About | Contact
Click here
READ MORE...
Please enable JavaScript to view the comments.
This site uses cookies to give you a better experience.
By using this page you agree to our terms of use.
# # # # #
Share this page
Menu
- first point
- second point of the list
• a round bullet
Lorem ipsum dolor sit amet, consectetur adipiscing elit.
function f(x) { return x; }
The mill was built in 1802.[3] It burned down later.[citation needed]
Next page …
Copyright 2019 by the authors
Subscribe to our newsletter
The set {a, b} has two members.
12345 67890 24680 13579 11223 44556
""".strip().splitlines()


def paragraph(rng, n):
    return " ".join(rng.choice(SENTENCES) for _ in range(n))


def compose(rng, kind):
    if kind == 0:  # running text
        return "\n\n".join(paragraph(rng, rng.randint(3, 6)) for _ in range(rng.randint(1, 3)))
    if kind == 1:  # text with lines of a page around it
        lines = [paragraph(rng, rng.randint(1, 4)) for _ in range(rng.randint(2, 5))]
        for _ in range(rng.randint(1, 5)):
            lines.insert(rng.randint(0, len(lines)), rng.choice(JUNK))
        return "\n".join(lines)
    if kind == 2:  # a list
        return "\n".join("- " + " ".join(rng.choice(SENTENCES).split()[: rng.randint(2, 6)]) for _ in range(12))
    if kind == 3:  # repeated lines
        line = rng.choice(SENTENCES)
        lines = [line] * rng.randint(2, 8) + rng.sample(SENTENCES, rng.randint(3, 8))
        rng.shuffle(lines)
        return "\n".join(lines)
    if kind == 4:  # repeated paragraphs
        first = paragraph(rng, 2)
        parts = [first] * rng.randint(2, 4) + [paragraph(rng, 2) for _ in range(rng.randint(1, 3))]
        rng.shuffle(parts)
        return "\n\n".join(parts)
    if kind == 5:  # repeated phrases within a line
        phrase = " ".join(rng.choice(SENTENCES).split()[: rng.randint(2, 9)])
        return paragraph(rng, 2) + " " + " ".join([phrase] * rng.randint(2, 9)) + ". " + paragraph(rng, 2)
    if kind == 6:  # short
        return rng.choice(SENTENCES + JUNK)
    lines = rng.sample(JUNK, 8) + rng.sample(SENTENCES, rng.randint(1, 3))
    rng.shuffle(lines)
    return "\n".join(lines)


def verdict(quality_filter, text):
    document = Document(text=text, id="0")
    result = quality_filter.filter(document)
    return (None if result is True else result[1]), document.text


def repetition(text, words):
    paragraphs = GopherRepetitionFilter().paragraph_exp.split(text.strip())
    n_paragraphs, n_paragraph_characters = find_duplicates(paragraphs)
    lines = GopherRepetitionFilter()._line_splitter.split(text)
    n_lines, n_line_characters = find_duplicates(lines)
    values = {
        "dup_para_frac": n_paragraphs / len(paragraphs),
        "dup_para_char_frac": n_paragraph_characters / len(text),
        "dup_line_frac": n_lines / len(lines),
        "dup_line_char_frac": n_line_characters / len(text),
    }
    for n in (2, 3, 4):
        if grams := get_n_grams(words, n):
            values[f"top_{n}_gram"] = find_top_duplicate(grams) / len(text)
    for n in range(5, 11):
        values[f"duplicated_{n}_n_grams"] = find_all_duplicate(words, n) / len(text)
    return values


def filters():
    return {
        "gopher-quality": GopherQualityFilter(),
        "gopher-repetition": GopherRepetitionFilter(),
        "c4-quality": C4QualityFilter(),
        "fineweb-quality": FineWebQualityFilter(),
    }


def main():
    rng = random.Random(5)
    for case in range(104):
        text = compose(rng, case % 8)
        words = split_into_words(text)
        row = {"text": text, "words": len(words), "repetition": repetition(text, words)}
        for name, quality_filter in filters().items():
            row[name], changed = verdict(quality_filter, text)
            if name == "c4-quality" and row[name] is None and changed != text:
                row["c4_text"] = changed
        row["repetition"] = {name: round(value, 12) for name, value in row["repetition"].items()}
        json.dump(row, sys.stdout, ensure_ascii=False)
        print()


if __name__ == "__main__":
    main()
