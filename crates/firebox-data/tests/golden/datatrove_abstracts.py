"""Writes datatrove_abstracts.jsonl: what datatrove's filters make of MEDLINE abstracts, without their texts.

Run with: python datatrove_abstracts.py abstracts.jsonl > datatrove_abstracts.jsonl
Needs: as datatrove_filters.py, and JSON Lines with `id` (the PMID) and `text`, one abstract a line,
made of pubmed20n0014.xml.gz and pubmed21n1298.xml.gz of the annual baseline and daily updates.
"""

import json
import sys

from datatrove_filters import filters, repetition, verdict

from datatrove.utils.text import split_into_words

N_ABSTRACTS = 200


def main():
    with open(sys.argv[1], encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    records = [record for record in records if record["text"]]
    for record in records[:: len(records) // N_ABSTRACTS][:N_ABSTRACTS]:
        text = record["text"]
        words = split_into_words(text)
        row = {"id": record["id"], "words": len(words)}
        row["repetition"] = {name: round(value, 12) for name, value in repetition(text, words).items()}
        for name, quality_filter in filters().items():
            row[name], _ = verdict(quality_filter, text)
        json.dump(row, sys.stdout)
        print()


if __name__ == "__main__":
    main()
