//! `firebox classify`: what a head says of texts, and how often it is right.

use firebox_data::{Record, Selection, TextRecord, read_records};
use firebox_model::{HeadTask, SequenceClassifier};
use firebox_tensor::autocast::Autocast;
use serde::Serialize;

use super::args::{ClassifyArgs, DataArgs, Globals};
use super::exit::UserError;
use super::head_scores::{class_of, evaluation, predict, report};
use super::model::ModelFiles;
use super::{data, labelled, output, progress};

/// What the head says of one text.
#[derive(Serialize)]
struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The class, the labels that hold, or the number's name.
    labels: Vec<String>,
    /// For every output: its probability, or its value.
    outputs: Vec<Named>,
}

#[derive(Serialize)]
struct Named {
    label: String,
    value: f32,
}

#[derive(Serialize)]
struct Scored {
    n_documents: usize,
    loss: f64,
    #[serde(flatten)]
    scores: std::collections::BTreeMap<String, f64>,
    classes: Vec<Class>,
}

#[derive(Serialize)]
struct Class {
    label: String,
    #[serde(flatten)]
    scores: firebox_eval::ClassScores,
}

pub(crate) fn run(globals: &Globals, args: &ClassifyArgs) -> anyhow::Result<()> {
    if args.seq == 0 {
        return Err(UserError("--seq: expected at least 1, found `0`".to_owned()).into());
    }
    let device = globals.device.open()?;
    let files = ModelFiles::open(globals, &args.model)?;
    let mut model = SequenceClassifier::load(&files.checkpoint, &device)?;
    model.decoder = model
        .decoder
        .with_autocast(Autocast::new(args.precision, &device));
    let loaded = Loaded {
        max_len: args.seq.min(model.decoder.config().max_seq_len),
        files,
        model,
    };
    match &args.field {
        Some(field) => score(globals, args, field, &loaded),
        None => say(globals, args, &loaded),
    }
}

struct Loaded {
    files: ModelFiles,
    model: SequenceClassifier,
    /// Tokens of a text that are read.
    max_len: usize,
}

fn score(
    globals: &Globals,
    args: &ClassifyArgs,
    field: &str,
    loaded: &Loaded,
) -> anyhow::Result<()> {
    let (model, tokenizer) = (&loaded.model, &loaded.files.tokenizer);
    let source = args.data.as_deref().unwrap_or_default();
    let texts = labelled::read(globals, source, field, &selection(args)?)?;
    let (task, labels) = (model.task(), model.labels());
    let (known, n_left_out) = labelled::batch(texts, tokenizer, task, labels, loaded.max_len)?;
    if n_left_out > 0 {
        output::note(format_args!(
            "{n_left_out} records do not fit the head and were left out"
        ));
    }
    if known.documents.is_empty() {
        let text = format!("score `{source}`: expected a record that fits the head, found none");
        return Err(UserError(text).into());
    }
    let outputs = with_bar(model, &known.documents)?;
    let evaluation = evaluation(task, &outputs, &known.targets);
    let classes = report(&outputs, &known.targets).map_or_else(Vec::new, |report| report.classes);
    let scored = Scored {
        n_documents: outputs.len(),
        loss: evaluation.loss,
        scores: evaluation.scores,
        classes: labels
            .iter()
            .zip(classes)
            .map(|(label, scores)| Class {
                label: label.clone(),
                scores,
            })
            .collect(),
    };
    output::print(globals.json, &scored, || scored.text())
}

fn say(globals: &Globals, args: &ClassifyArgs, loaded: &Loaded) -> anyhow::Result<()> {
    let records = records(globals, args)?;
    let documents = labelled::documents(&loaded.files.tokenizer, &records, loaded.max_len)?;
    let outputs = with_bar(&loaded.model, &documents)?;
    let said: Vec<Said> = records
        .into_iter()
        .zip(outputs)
        .map(|(record, outputs)| Said::new(record.id, &loaded.model, &outputs))
        .collect();
    output::print(globals.json, &said, || {
        let lines: Vec<String> = said.iter().map(Said::text).collect();
        lines.join("\n")
    })
}

fn with_bar(model: &SequenceClassifier, documents: &[Vec<u32>]) -> anyhow::Result<Vec<Vec<f32>>> {
    let bar = progress::counter("classify", documents.len());
    let outputs = predict(model, documents, |n| bar.set_position(n as u64));
    bar.finish_and_clear();
    Ok(outputs?)
}

fn records(globals: &Globals, args: &ClassifyArgs) -> anyhow::Result<Vec<TextRecord>> {
    let Some(source) = &args.data else {
        let texts = args.texts.iter().map(|text| TextRecord {
            text: text.clone(),
            ..TextRecord::default()
        });
        return Ok(texts.collect());
    };
    let selection = selection(args)?;
    let mut records = Vec::new();
    for record in read_records(data::locate(globals, source)?)? {
        match record? {
            Record::Text(text) if selection.keeps(&text) => records.push(text),
            Record::Text(_) | Record::Chat(_) => {}
        }
    }
    Ok(records)
}

fn selection(args: &ClassifyArgs) -> anyhow::Result<Selection> {
    data::selection(&DataArgs {
        data: String::new(),
        years: args.years.clone(),
        longer_than: None,
        shorter_than: None,
        limit: None,
    })
}

impl Said {
    fn new(id: Option<String>, model: &SequenceClassifier, outputs: &[f32]) -> Self {
        let named = || model.labels().iter().zip(outputs);
        let labels = match model.task() {
            HeadTask::Classification => vec![model.labels()[class_of(outputs)].clone()],
            HeadTask::MultiLabel => named()
                .filter(|(_, p)| **p >= 0.5)
                .map(|(label, _)| label.clone())
                .collect(),
            HeadTask::Regression => Vec::new(),
        };
        let outputs = named().map(|(label, value)| Named {
            label: label.clone(),
            value: *value,
        });
        Self {
            id,
            labels,
            outputs: outputs.collect(),
        }
    }

    /// The labels, and the three largest outputs.
    fn text(&self) -> String {
        let mut outputs: Vec<&Named> = self.outputs.iter().collect();
        outputs.sort_by(|a, b| b.value.total_cmp(&a.value));
        let largest = outputs.iter().take(3);
        let largest: Vec<String> = largest
            .map(|output| format!("{} {:.3}", output.label, output.value))
            .collect();
        let id = self
            .id
            .as_ref()
            .map_or_else(String::new, |id| format!("{id}: "));
        match self.labels.is_empty() {
            true => format!("{id}{}", largest.join(", ")),
            false => format!("{id}{} ({})", self.labels.join(", "), largest.join(", ")),
        }
    }
}

impl Scored {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        if !self.classes.is_empty() {
            let columns = ["class", "precision", "recall", "F1", "documents"];
            let mut table = output::table(&columns);
            for class in &self.classes {
                let figures = [class.scores.precision, class.scores.recall, class.scores.f1];
                let [precision, recall, f1] = figures.map(|x| format!("{x:.3}"));
                let n_expected = class.scores.n_expected.to_string();
                table.add_row([class.label.clone(), precision, recall, f1, n_expected]);
            }
            lines.push(format!("{}\n", table.trim_fmt()));
        }
        let scores = self.scores.iter();
        let scores: String = scores
            .map(|(name, score)| format!(", {name} {score:.4}"))
            .collect();
        lines.push(format!(
            "{} documents: loss {:.4}{scores}",
            self.n_documents, self.loss
        ));
        lines.join("\n")
    }
}
