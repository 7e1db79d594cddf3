//! How well a head does on documents whose targets are known.

use std::collections::BTreeMap;

use firebox_eval::ClassificationReport;
use firebox_model::{HeadTargets, HeadTask, SequenceClassifier};
use firebox_train::{Evaluation, Evaluator, LabelledBatch, LossError};

/// Documents that go through the model at once.
const AT_ONCE: usize = 16;
/// From this probability on, a label is said to hold.
const HOLDS: f32 = 0.5;

/// What the head says of each document: probabilities or numbers. `on_some` hears how many are done.
pub(crate) fn predict(
    model: &SequenceClassifier,
    documents: &[Vec<u32>],
    mut on_some: impl FnMut(usize),
) -> Result<Vec<Vec<f32>>, firebox_model::ModelError> {
    let mut outputs = Vec::with_capacity(documents.len());
    for some in documents.chunks(AT_ONCE) {
        outputs.extend(model.predict(some)?);
        on_some(outputs.len());
    }
    Ok(outputs)
}

/// The place of the largest output.
pub(crate) fn class_of(outputs: &[f32]) -> usize {
    let places = outputs.iter().enumerate();
    places
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map_or(0, |(place, _)| place)
}

/// The report of a classifier; none for other tasks.
pub(crate) fn report(outputs: &[Vec<f32>], targets: &HeadTargets) -> Option<ClassificationReport> {
    let HeadTargets::Classes(expected) = targets else {
        return None;
    };
    let predicted: Vec<usize> = outputs.iter().map(|row| class_of(row)).collect();
    let n_classes = outputs.first().map_or(0, Vec::len);
    Some(ClassificationReport::new(expected, &predicted, n_classes))
}

/// Mean loss and scores of what the head said.
pub(crate) fn evaluation(
    task: HeadTask,
    outputs: &[Vec<f32>],
    targets: &HeadTargets,
) -> Evaluation {
    let pairs = |values: &[Vec<f32>]| -> Vec<(f64, f64)> {
        let outputs = outputs.iter().flatten().map(|x| f64::from(*x));
        outputs
            .zip(values.iter().flatten().map(|x| f64::from(*x)))
            .collect()
    };
    let mean = |terms: Vec<f64>| terms.iter().sum::<f64>() / terms.len().max(1) as f64;
    // Of a probability that was rounded to 0: the loss is large, not infinite.
    let log = |p: f64| p.max(f64::from(f32::MIN_POSITIVE)).ln();
    let (loss, scores) = match targets {
        HeadTargets::Classes(classes) => {
            let rows = outputs.iter().zip(classes);
            let loss = mean(
                rows.map(|(row, class)| -log(f64::from(row[*class])))
                    .collect(),
            );
            let report = report(outputs, targets);
            let scores = report
                .map(|report| vec![("accuracy", report.accuracy), ("macro_f1", report.macro_f1)]);
            (loss, scores.unwrap_or_default())
        }
        HeadTargets::Values(values) if task == HeadTask::MultiLabel => {
            let pairs = pairs(values);
            let nll = |(p, y): &(f64, f64)| -(y * log(*p) + (1.0 - y) * log(1.0 - p));
            let loss = mean(pairs.iter().map(nll).collect());
            let said = |p: f64| p >= f64::from(HOLDS);
            let n_right = pairs.iter().filter(|(p, y)| said(*p) && *y > 0.5).count();
            let n_said = pairs.iter().filter(|(p, _)| said(*p)).count();
            let n_true = pairs.iter().filter(|(_, y)| *y > 0.5).count();
            let micro_f1 = 2.0 * n_right as f64 / (n_said + n_true).max(1) as f64;
            (loss, vec![("micro_f1", micro_f1)])
        }
        HeadTargets::Values(values) => {
            let pairs = pairs(values);
            let loss = mean(pairs.iter().map(|(x, y)| (x - y).powi(2)).collect());
            (loss, vec![("rmse", loss.sqrt())])
        }
    };
    let scores: BTreeMap<String, f64> = scores
        .into_iter()
        .map(|(name, score)| (name.to_owned(), score))
        .collect();
    Evaluation {
        loss,
        scores,
        ..Evaluation::default()
    }
}

/// Scores held-out documents while a head trains.
pub(crate) struct HeadHeldOut(pub(crate) LabelledBatch);

impl Evaluator<SequenceClassifier> for HeadHeldOut {
    fn evaluate(&mut self, model: &SequenceClassifier, _: usize) -> Result<Evaluation, LossError> {
        let Self(LabelledBatch { documents, targets }) = self;
        let outputs = predict(model, documents, |_| ())?;
        Ok(evaluation(model.task(), &outputs, targets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    #[test]
    fn scores_of_every_task() {
        let outputs = vec![vec![0.7, 0.3], vec![0.4, 0.6], vec![0.9, 0.1]];
        let classes = HeadTargets::Classes(vec![0, 1, 1]);
        let found = evaluation(HeadTask::Classification, &outputs, &classes);
        close(
            found.loss,
            -(0.7_f64.ln() + 0.6_f64.ln() + 0.1_f64.ln()) / 3.0,
        );
        close(found.scores["accuracy"], 2.0 / 3.0);

        let values = HeadTargets::Values(vec![vec![1.0, 0.0], vec![1.0, 1.0], vec![1.0, 0.0]]);
        let found = evaluation(HeadTask::MultiLabel, &outputs, &values);
        // Said: three, of which all hold; four hold.
        close(found.scores["micro_f1"], 6.0 / 7.0);
        let found = evaluation(HeadTask::Regression, &outputs, &values);
        close(found.loss, (0.09 + 0.09 + 0.36 + 0.16 + 0.01 + 0.01) / 6.0);
    }
}
