use super::*;
use crate::dedup::planted;
use crate::deduplicate;

/// A text, an equal one, a similar one and a stranger, with a chain from the first to the last.
fn report_of(texts: &[String], config: &DedupConfig) -> DedupReport {
    let clusters = deduplicate(texts, config).unwrap();
    let mut report = DedupReport::new(&clusters);
    let text_of = |i: u64| {
        texts
            .get(i as usize)
            .map(|text| Cow::Borrowed(text.as_str()))
    };
    report
        .check(config, &clusters.sample(&config.check), text_of)
        .unwrap();
    report
}

fn texts() -> Vec<String> {
    let words = planted::text(5);
    let mut texts = vec![
        words.join(" "),
        words.join("  "),
        planted::text(6).join(" "),
    ];
    let mut chained = words;
    for link in 0..6 {
        for i in 0..6 {
            chained[4 + 5 * (6 * link + i)] = planted::word(20_000 + 6 * link as u64 + i as u64);
        }
        texts.push(chained.join(" "));
    }
    texts
}

#[test]
fn counts_add_up_and_false_merges_are_shown_first() {
    let report = report_of(&texts(), &DedupConfig::default());
    assert_eq!((report.n_documents, report.n_kept), (9, 2));
    assert_eq!(
        (report.n_exact, report.n_near, report.n_clusters),
        (1, 6, 1)
    );
    assert_eq!(report.cluster_sizes, BTreeMap::from([(8, 1)]));
    let checked = report.checked.unwrap();
    assert_eq!(checked.n_pairs, 7);
    assert_eq!(checked.jaccard_tenths.iter().sum::<u64>(), 7);
    // 36 changed words: (400 - 180) / (400 + 180) = 0.38; 30: 0.45; 24: 0.54.
    assert_eq!(checked.n_false_merges, 2);
    assert_eq!((checked.shown[0].document, checked.shown[0].kept), (8, 0));
    assert_eq!(checked.shown[0].jaccard, 220.0 / 580.0);
}

#[test]
fn reports_survive_json() {
    let report = report_of(&texts(), &DedupConfig::default());
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<DedupReport>(&json).unwrap(), report);
}

#[test]
fn pairs_without_texts_are_left_out() {
    let texts = texts();
    let config = DedupConfig::default();
    let clusters = deduplicate(&texts, &config).unwrap();
    let mut report = DedupReport::new(&clusters);
    report
        .check(&config, &clusters.sample(&config.check), |_| None)
        .unwrap();
    let checked = report.checked.unwrap();
    assert_eq!((checked.n_pairs, checked.mean_jaccard), (0, 0.0));
}
