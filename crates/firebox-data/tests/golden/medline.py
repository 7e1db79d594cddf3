"""Golden records of medline.xml, by Python's ElementTree. Run: python medline.py"""
import json
import pathlib
import re
import xml.etree.ElementTree as ElementTree

HERE = pathlib.Path(__file__).parent


def year_of(date):
    """Of `1978 Nov-Dec`, as pubmed_parser has it."""
    found = re.search(r"\d{4}", date or "")
    return found.group() if found else None


def records(path):
    for _, element in ElementTree.iterparse(path):
        if element.tag != "PubmedArticle":
            continue
        sections = element.findall(".//Abstract/AbstractText")
        if sections:
            yield {
                "id": element.findtext(".//PMID"),
                "title": "".join(element.find(".//ArticleTitle").itertext()),
                "text": " ".join("".join(section.itertext()) for section in sections),
                "year": element.findtext(".//PubDate/Year") or year_of(element.findtext(".//PubDate/MedlineDate")),
            }
        element.clear()


golden = {"made_by": "xml.etree.ElementTree of Python 3.11", "records": list(records(HERE / "medline.xml"))}
(HERE / "medline.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")
