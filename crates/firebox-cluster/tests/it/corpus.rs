//! Generated texts with planted duplicates, short texts and broken lines.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde_json::json;

/// Files of the corpus, of each way to store lines.
pub(crate) const FILES: [&str; 7] = [
    "a.jsonl",
    "b.jsonl.gz",
    "c.jsonl.zst",
    "d.csv",
    "e.jsonl",
    "f.xml",
    "sub/g.jsonl",
];

/// Documents of a file.
const N_DOCUMENTS: usize = 120;

const WORDS: &[&str] = &[
    "the",
    "patients",
    "were",
    "treated",
    "with",
    "aspirin",
    "and",
    "placebo",
    "for",
    "six",
    "weeks",
    "of",
    "pain",
    "in",
    "knee",
    "results",
    "show",
    "that",
    "dose",
    "was",
    "lower",
    "than",
    "expected",
    "when",
    "groups",
    "are",
    "compared",
    "by",
    "age",
    "sex",
    "weight",
    "blood",
    "pressure",
    "trial",
    "study",
    "this",
    "is",
    "a",
    "randomised",
    "controlled",
    "on",
    "hospital",
    "risk",
    "heart",
    "outcome",
];

/// Numbers from a seed: the generator of Numerical Recipes, upper half.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn sentence(&mut self, n_words: usize) -> String {
        let words: Vec<&str> = (0..n_words)
            .map(|_| WORDS[self.below(WORDS.len())])
            .collect();
        words.join(" ")
    }

    /// A text of some lines, of 60 words or more.
    fn text(&mut self) -> String {
        let n_lines = 4 + self.below(5);
        let lines: Vec<String> = (0..n_lines)
            .map(|_| {
                let n_words = 15 + self.below(10);
                format!("{}.", self.sentence(n_words))
            })
            .collect();
        lines.join("\n")
    }
}

/// Writes the corpus: new texts, copies of earlier ones (of any file) with and without changes, chains of
/// copies of copies, and texts that the rules drop. `n_broken` lines of the first file do not parse.
pub(crate) fn write(folder: &Path, seed: u64, n_broken: usize) {
    let mut random = Random(seed);
    let mut earlier: Vec<String> = Vec::new();
    for name in FILES {
        let texts: Vec<String> = (0..N_DOCUMENTS)
            .map(|_| next_text(&mut random, &mut earlier))
            .collect();
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_file(&path, &texts, &mut random);
    }
    let first = folder.join(FILES[0]);
    let mut lines: Vec<String> = fs::read_to_string(&first)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    for i in 0..n_broken {
        lines.insert(7 * i + 3, format!("{{\"text\": \"broken {i}"));
    }
    fs::write(first, lines.join("\n")).unwrap();
}

fn next_text(random: &mut Random, earlier: &mut Vec<String>) -> String {
    let text = match random.below(10) {
        0 => random.sentence(8),
        1 if !earlier.is_empty() => earlier[random.below(earlier.len())].clone(),
        2 if !earlier.is_empty() => earlier[random.below(earlier.len())].to_uppercase(),
        3 | 4 if !earlier.is_empty() => {
            let text = earlier[random.below(earlier.len())].clone();
            change_words(random, &text)
        }
        5 => format!("  {}\u{a0}\u{fb01}ne  \n\n\n", random.text()),
        _ => random.text(),
    };
    earlier.push(text.clone());
    text
}

/// Changes two words: about one 5-gram in ten.
fn change_words(random: &mut Random, text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for _ in 0..2 {
        let at = random.below(words.len());
        words[at] = WORDS[random.below(WORDS.len())].to_owned();
    }
    words.join(" ")
}

fn write_file(path: &Path, texts: &[String], random: &mut Random) {
    let name = path.file_name().unwrap().to_str().unwrap();
    match name.split_once('.').unwrap().1 {
        "csv" => fs::write(path, csv(texts)).unwrap(),
        "xml" => fs::write(path, medline(texts)).unwrap(),
        "jsonl.gz" => {
            let file = fs::File::create(path).unwrap();
            let mut out = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            out.write_all(lines(texts, random).as_bytes()).unwrap();
            out.finish().unwrap();
        }
        "jsonl.zst" => {
            let bytes = zstd::encode_all(lines(texts, random).as_bytes(), 3).unwrap();
            fs::write(path, bytes).unwrap();
        }
        _ => fs::write(path, lines(texts, random)).unwrap(),
    }
}

fn lines(texts: &[String], random: &mut Random) -> String {
    let mut out = String::new();
    for (i, text) in texts.iter().enumerate() {
        let year = 1990 + random.below(30);
        let record =
            json!({"id": format!("d{i}"), "text": text, "year": year, "other": {"kept": i}});
        writeln!(out, "{record}").unwrap();
    }
    out
}

fn csv(texts: &[String]) -> String {
    let mut out = "id,text,year\n".to_owned();
    for (i, text) in texts.iter().enumerate() {
        writeln!(out, "c{i},\"{text}\",{}", 1990 + i % 30).unwrap();
    }
    out
}

fn medline(texts: &[String]) -> String {
    let mut out = "<?xml version=\"1.0\"?>\n<PubmedArticleSet>\n".to_owned();
    for (i, text) in texts.iter().enumerate() {
        // Every tenth has no abstract, and so nothing to read.
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let body = match i % 10 {
            9 => String::new(),
            _ => format!("<Abstract><AbstractText>{text}</AbstractText></Abstract>"),
        };
        writeln!(
            out,
            "<PubmedArticle><MedlineCitation><PMID>{i}</PMID><Article><Journal><JournalIssue><PubDate>\
             <Year>{}</Year></PubDate></JournalIssue></Journal><ArticleTitle>On pain {i}</ArticleTitle>\
             {body}</Article><MeshHeadingList><MeshHeading><DescriptorName>Pain</DescriptorName>\
             </MeshHeading></MeshHeadingList></MedlineCitation></PubmedArticle>",
            1990 + i % 30
        )
        .unwrap();
    }
    out.push_str("</PubmedArticleSet>\n");
    out
}
