"""The classical answer to configs/train/mesh-topics.toml: TF-IDF and logistic regression (scikit-learn).

    python benches/peers/mesh_topics.py pubmed20n0014.xml.gz

The same records as Firebox takes: those with an abstract, a year, and exactly one of the ten topics; trained on the
years before 1979, scored on 1979. The best of several settings is printed, chosen on the scored year itself, in the
peer's favour.
"""

import gzip
import re
import sys
import time
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

CONFIG = Path(__file__).resolve().parents[2] / "configs/train/mesh-topics.toml"
TOPICS = tomllib.loads(CONFIG.read_text())["head"]["labels"]


def year_of(citation):
    date = citation.find(".//Article//PubDate")
    text = date.findtext("Year") or date.findtext("MedlineDate") or ""
    found = re.search(r"\d{4}", text)
    return int(found.group()) if found else None


def records(path):
    with gzip.open(path) as file:
        for _, citation in ET.iterparse(file):
            if citation.tag != "MedlineCitation":
                continue
            parts = ["".join(part.itertext()) for part in citation.findall(".//Article/Abstract/AbstractText")]
            text = " ".join(parts).strip()
            terms = {term.text for term in citation.findall(".//MeshHeadingList/MeshHeading/DescriptorName")}
            topics = [topic for topic in TOPICS if topic in terms]
            title = "".join(citation.find(".//ArticleTitle").itertext())
            year = year_of(citation)
            if text and year and len(topics) == 1:
                yield year, f"{title}\n{text}", TOPICS.index(topics[0])
            citation.clear()


def main():
    rows = list(records(sys.argv[1]))
    training = [row for row in rows if row[0] <= 1978]
    scored = [row for row in rows if row[0] == 1979]
    print(f"{len(training)} training records, {len(scored)} scored")
    expected = [topic for _, _, topic in scored]
    best = None
    for ngrams in [(1, 1), (1, 2)]:
        for c in [1, 10, 100, 1000]:
            start = time.perf_counter()
            tfidf = TfidfVectorizer(sublinear_tf=True, ngram_range=ngrams, min_df=2)
            x = tfidf.fit_transform([text for _, text, _ in training])
            model = LogisticRegression(C=c, max_iter=2000).fit(x, [topic for _, _, topic in training])
            found = model.predict(tfidf.transform([text for _, text, _ in scored]))
            accuracy, f1 = accuracy_score(expected, found), f1_score(expected, found, average="macro")
            print(f"words {ngrams}, C {c}: accuracy {accuracy:.4f}, macro F1 {f1:.4f}, {time.perf_counter() - start:.1f} s")
            best = max(best or (0, 0), (accuracy, f1))
    print(f"best: accuracy {best[0]:.4f}, macro F1 {best[1]:.4f}")


main()
