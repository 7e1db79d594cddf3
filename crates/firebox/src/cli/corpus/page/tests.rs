use std::ops::ControlFlow;

use firebox_data::{BrokenLimit, CleanJob, Recipe, SourceOptions, Sources, clean};

use super::render;

#[test]
fn the_page_is_well_formed_and_shows_what_was_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (
        folder.path().join("a.jsonl"),
        folder.path().join("<out>.jsonl"),
    );
    let text = "<b>one</b> two three four five & six seven";
    let lines = [
        text,
        text,
        "short",
        "another text of some more words than the one before it has",
    ];
    let lines: String = lines
        .iter()
        .map(|text| serde_json::json!({ "text": text }).to_string() + "\n")
        .collect();
    std::fs::write(&input, lines + "{\n").unwrap();
    let recipe = "version = 1\n[[rule]]\nkind = \"min-words\"\nmin = 3\n[dedup]\n";
    let job = CleanJob {
        recipe: &Recipe::from_toml(recipe).unwrap(),
        sources: &Sources::list([&input], SourceOptions::default()).unwrap(),
        broken: BrokenLimit {
            max_share: 1.0,
            ..BrokenLimit::default()
        },
        output: &output,
        n_threads: 1,
    };
    let report = clean(&job, |_| ControlFlow::Continue(())).unwrap();
    let page = render(&report);
    let mut reader = quick_xml::Reader::from_str(&page);
    loop {
        match reader.read_event() {
            Ok(quick_xml::events::Event::Eof) => break,
            Ok(_) => {}
            Err(error) => panic!("{error}: {page}"),
        }
    }
    for expected in [
        "min-words",
        "equal texts",
        "Broken records",
        "&lt;out&gt;",
        "2 documents written of 4 read",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    assert!(!page.contains("<b>one"), "{page}");
}
