use super::*;
use crate::loop_report::*;
use quick_xml::{Reader, events::Event};
use serde_json::Value;

/// Tries to leave an attribute, a style, a script and an element.
const POISON: &str = "</style></script><img src=x onerror='alert(1)'> & \"quotes\" \u{0}";

/// A report in which every text tries to break the page.
fn hostile_report() -> LoopReport {
    let mut report = small_report();
    report.stages[0].note = Some(String::new());
    report.artifacts.adapter = Some(String::new());
    report.artifacts.quantized = Some(String::new());
    report.environment.versions = vec![(String::new(), String::new())];
    let mut json = serde_json::to_value(report).unwrap();
    poison(&mut json);
    serde_json::from_value(json).unwrap()
}

fn poison(json: &mut Value) {
    match json {
        Value::String(text) => text.push_str(POISON),
        Value::Array(items) => items.iter_mut().for_each(poison),
        Value::Object(fields) => {
            // A kind is one of a few names, not a text.
            let texts = fields.iter_mut().filter(|(name, _)| *name != "kind");
            texts.for_each(|(_, value)| poison(value));
        }
        _ => {}
    }
}

fn small_report() -> LoopReport {
    let losses: Vec<f64> = (0..40)
        .map(|step| 3.0 + 2.0 / f64::from(step + 1))
        .collect();
    LoopReport {
        version: LOOP_REPORT_VERSION,
        run_id: "loop-1".to_owned(),
        title: "A small run".to_owned(),
        started_at: "2026-11-25 04:05 UTC".to_owned(),
        model: "a decoder of 2 layers".to_owned(),
        data: "40 paragraphs".to_owned(),
        stages: vec![
            Stage {
                seconds: 61.0,
                tokens_per_s: Some(1234.4),
                peak_rss_bytes: 310_000_000,
                loss: Some(Change::new(5.0, 3.05)),
                size_bytes: Some(Change::only(4_210_000)),
                ..Stage::new(StageKind::Pretrain, "Train from scratch")
            },
            Stage {
                seconds: 0.25,
                size_bytes: Some(Change::new(4_210_000, 900_000)),
                ..Stage::new(StageKind::Quantize, "Quantize to NF4")
            },
        ],
        curves: vec![Curve::train_loss("Training from scratch", &losses)],
        quality: vec![
            Quality {
                name: "f32".to_owned(),
                nll: 3.1,
                made_from: None,
                size_bytes: Some(4_210_000),
            },
            Quality {
                name: "NF4".to_owned(),
                nll: 3.12,
                made_from: Some("f32".to_owned()),
                size_bytes: Some(900_000),
            },
        ],
        samples: vec![Sample {
            question: "什么是动词？".to_owned(),
            expected: Some("动词是表示动作的词。".to_owned()),
            answers: vec![
                Answer {
                    name: "f32".to_owned(),
                    text: "动词。".to_owned(),
                },
                Answer {
                    name: "NF4".to_owned(),
                    text: String::new(),
                },
            ],
        }],
        artifacts: Artifacts {
            model: Some("runs/loop-1/model".to_owned()),
            ..Artifacts::default()
        },
        environment: Environment {
            device: "cpu".to_owned(),
            n_threads: 2,
            ..Environment::default()
        },
        seed: 42,
        config: serde_json::json!({"n_steps": 40}),
    }
}

/// Parses the page as XML, and gives its elements and the text inside headings.
#[track_caller]
fn parse(page: &str) -> (Vec<String>, Vec<String>) {
    let mut reader = Reader::from_str(page);
    reader.config_mut().check_end_names = true;
    let (mut elements, mut headings) = (Vec::new(), Vec::new());
    let mut depth = 0;
    loop {
        let event = reader
            .read_event()
            .unwrap_or_else(|error| panic!("at {}: {error}", reader.error_position()));
        match event {
            Event::Start(ref start) | Event::Empty(ref start) => {
                for attribute in start.attributes() {
                    attribute.unwrap();
                }
                let name = start.name().as_ref().to_owned();
                if ["h1", "h2"].contains(&name.as_str()) {
                    headings.push(String::new());
                }
                elements.push(name);
            }
            Event::Text(text) => {
                let last = elements.last().map_or("", String::as_str);
                if ["h1", "h2"].contains(&last)
                    && let Some(heading) = headings.last_mut()
                    && heading.is_empty()
                {
                    heading.push_str(&text);
                }
            }
            Event::Eof => break,
            _ => {}
        }
        depth += 1;
    }
    assert!(depth > 0);
    (elements, headings)
}

#[test]
fn the_page_has_its_sections_in_reading_order() {
    let (elements, headings) = parse(&render(&small_report()));
    assert_eq!(
        headings,
        [
            "A small run",
            "What each stage took, and what it gave",
            "How it learned",
            "Did it help, and what did packing cost?",
            "What it says",
            "The loop, stage by stage",
            "Words on this page",
            "To run it again",
        ]
    );
    let count = |name: &str| elements.iter().filter(|element| *element == name).count();
    // The ring and one plot; header, two stages and the sum; two kinds explained.
    assert_eq!((count("svg"), count("tr"), count("li")), (2, 4, 2));
    assert_eq!((count("article"), count("style")), (1, 1));
}

#[test]
fn the_page_shows_the_figures() {
    let page = render(&small_report());
    for figure in [
        "1 min 01 s",
        "1,234",
        "310 MB",
        "5.000 → 3.050",
        "4.21 MB → 900 kB",
        "4.7× smaller",
        "+0.020 against f32",
        "perplexity 22.2",
        "动词是表示动作的词。",
        "<i>nothing</i>",
        "<span>firebox quantize</span> <span>--model runs/loop-1/model</span>",
        "<dt>Seed</dt><dd>42</dd>",
        "&quot;n_steps&quot;: 40",
    ] {
        assert!(page.contains(figure), "no `{figure}`");
    }
}

#[test]
fn no_text_can_leave_its_place() {
    let page = render(&hostile_report());
    let (elements, _) = parse(&page);
    assert!(
        !elements
            .iter()
            .any(|name| name == "img" || name == "script")
    );
    assert!(!page.contains("onerror='"));
    assert!(!page.contains('\0'));
}

#[test]
fn nothing_is_fetched() {
    let page = render(&small_report());
    for address in ["http:", "https:", "src=", "url(", "@import", "//"] {
        assert!(!page.contains(address), "`{address}` in the page");
    }
}

#[test]
fn an_empty_report_is_still_a_page() {
    let report = LoopReport {
        stages: Vec::new(),
        curves: Vec::new(),
        quality: Vec::new(),
        samples: Vec::new(),
        artifacts: Artifacts::default(),
        ..small_report()
    };
    let (_, headings) = parse(&render(&report));
    assert_eq!(headings.len(), 5);
    assert!(report.to_table().contains("whole loop"));
}

#[test]
fn the_table_has_one_row_a_stage() {
    let table = small_report().to_table();
    let rows: Vec<&str> = table.lines().collect();
    let find = |text: &str| rows.iter().find(|row| row.contains(text)).unwrap();
    let train = find("Train from scratch");
    for figure in ["1 min 01 s", "1,234", "310 MB", "5.000 → 3.050", "4.21 MB"] {
        assert!(train.contains(figure), "no `{figure}` in:\n{table}");
    }
    assert!(find("Quantize to NF4").contains("4.21 MB → 900 kB"));
    assert!(find("whole loop").contains("1 min 01 s"));
}

#[test]
fn the_report_survives_json() {
    let report = small_report();
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<LoopReport>(&json).unwrap(), report);
}
