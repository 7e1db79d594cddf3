//! Records with labels, for heads.

use firebox_data::{
    BrokenLimit, LabelledText, Selection, SourceOptions, Sources, TextRecord, Tokenizer,
    read_labelled,
};
use firebox_model::{HeadTargets, HeadTask};
use firebox_train::LabelledBatch;

use super::args::Globals;
use super::data::{encode_texts, locate};
use super::exit::UserError;

/// Reads the records of `source` that `selection` keeps.
pub(crate) fn read(
    globals: &Globals,
    source: &str,
    field: &str,
    selection: &Selection,
) -> anyhow::Result<Vec<LabelledText>> {
    let path = locate(globals, source)?;
    let sources = Sources::list([path], SourceOptions::default())?;
    let mut texts = read_labelled(&sources, field, BrokenLimit::default())?;
    texts.retain(|text| selection.keeps(&text.record));
    if texts.iter().all(|text| text.labels.is_empty()) {
        let text = format!(
            "read `{source}`: expected records with a field `{field}`, found none (hint: name the \
             field that has the labels; `mesh_terms` in MEDLINE)"
        );
        return Err(UserError(text).into());
    }
    Ok(texts)
}

/// Every label that occurs, sorted.
pub(crate) fn labels_of(texts: &[LabelledText]) -> Vec<String> {
    let mut labels: Vec<String> = texts.iter().flat_map(|text| text.labels.clone()).collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

/// Documents of at most `max_len` tokens with what the head is to say of them, and how many records
/// were left out because they have not exactly one class, or no number for each output.
pub(crate) fn batch(
    texts: Vec<LabelledText>,
    tokenizer: &Tokenizer,
    task: HeadTask,
    labels: &[String],
    max_len: usize,
) -> anyhow::Result<(LabelledBatch, usize)> {
    let n_texts = texts.len();
    let (mut records, mut classes, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for text in texts {
        let known = || {
            let places = text.labels.iter();
            places.filter_map(|label| labels.iter().position(|known| known == label))
        };
        match task {
            HeadTask::Classification => {
                let mut found = known();
                let (Some(class), None) = (found.next(), found.next()) else {
                    continue;
                };
                classes.push(class);
            }
            HeadTask::MultiLabel => {
                let mut row = vec![0.0; labels.len()];
                known().for_each(|label| row[label] = 1.0);
                values.push(row);
            }
            HeadTask::Regression => {
                let row: Vec<f32> = text.labels.iter().filter_map(|x| x.parse().ok()).collect();
                let is_whole = row.len() == labels.len() && text.labels.len() == labels.len();
                if !is_whole || row.iter().any(|x| !x.is_finite()) {
                    continue;
                }
                values.push(row);
            }
        }
        records.push(text.record);
    }
    let n_left_out = n_texts - records.len();
    let targets = match task {
        HeadTask::Classification => HeadTargets::Classes(classes),
        HeadTask::MultiLabel | HeadTask::Regression => HeadTargets::Values(values),
    };
    let documents = documents(tokenizer, &records, max_len)?;
    Ok((LabelledBatch { documents, targets }, n_left_out))
}

/// The first tokens of each record.
pub(crate) fn documents(
    tokenizer: &Tokenizer,
    records: &[TextRecord],
    max_len: usize,
) -> anyhow::Result<Vec<Vec<u32>>> {
    let mut documents = encode_texts(tokenizer, records)?;
    for document in &mut documents {
        document.truncate(max_len);
        if document.is_empty() {
            document.push(0); // A record without text still has a place, and a class.
        }
    }
    Ok(documents)
}
