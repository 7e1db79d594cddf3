//! Accuracy, precision, recall and F1 of a classifier.

use serde::{Deserialize, Serialize};

/// How often one class was right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// Of those that were said to be of the class, the share that are; 0 where none were.
    pub precision: f64,
    /// Of those that are of the class, the share that were found; 0 where none are.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
    /// How many are of the class.
    pub n_expected: usize,
    /// How many were said to be.
    pub n_predicted: usize,
}

/// How well a classifier does on some documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassificationReport {
    /// The share of documents whose class was right.
    pub accuracy: f64,
    /// The mean F1 of the classes that occur, expected or predicted: rare classes count as much as
    /// frequent ones.
    pub macro_f1: f64,
    /// Class by class.
    pub classes: Vec<ClassScores>,
}

impl ClassificationReport {
    /// Compares classes below `n_classes`, one of each list for each document.
    ///
    /// # Panics
    /// When the lists are of unequal lengths, or a class is not below `n_classes`.
    ///
    /// # Examples
    /// ```
    /// use firebox_eval::ClassificationReport;
    ///
    /// let report = ClassificationReport::new(&[0, 0, 1, 2], &[0, 1, 1, 2], 3);
    /// assert_eq!(report.accuracy, 0.75);
    /// assert_eq!(report.classes[1].precision, 0.5);
    /// ```
    #[must_use]
    pub fn new(expected: &[usize], predicted: &[usize], n_classes: usize) -> Self {
        assert_eq!(expected.len(), predicted.len(), "one prediction a document");
        let (mut n_right, mut n_expected, mut n_predicted) =
            (vec![0; n_classes], vec![0; n_classes], vec![0; n_classes]);
        for (expected, predicted) in expected.iter().zip(predicted) {
            n_expected[*expected] += 1;
            n_predicted[*predicted] += 1;
            n_right[*expected] += usize::from(expected == predicted);
        }
        let classes: Vec<ClassScores> = (0..n_classes)
            .map(|class| scores(n_right[class], n_expected[class], n_predicted[class]))
            .collect();
        let occurs = |class: &&ClassScores| class.n_expected + class.n_predicted > 0;
        let n_occurring = classes.iter().filter(occurs).count();
        Self {
            accuracy: share(n_right.iter().sum(), expected.len()),
            macro_f1: classes.iter().map(|class| class.f1).sum::<f64>() / n_occurring.max(1) as f64,
            classes,
        }
    }
}

fn scores(n_right: usize, n_expected: usize, n_predicted: usize) -> ClassScores {
    ClassScores {
        precision: share(n_right, n_predicted),
        recall: share(n_right, n_expected),
        // 2 P R / (P + R), without dividing by zero twice.
        f1: share(2 * n_right, n_expected + n_predicted),
        n_expected,
        n_predicted,
    }
}

fn share(part: usize, whole: usize) -> f64 {
    match whole {
        0 => 0.0,
        whole => part as f64 / whole as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sklearn.metrics.classification_report` on the same lists.
    #[test]
    fn figures_are_those_of_scikit_learn() {
        let expected = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3];
        let predicted = [0, 0, 1, 1, 2, 2, 2, 0, 2, 2];
        let report = ClassificationReport::new(&expected, &predicted, 5);
        assert!((report.accuracy - 0.6).abs() < 1e-12);
        let f1 = [2.0 / 3.0, 0.5, 2.0 / 3.0, 0.0, 0.0];
        for (class, expected) in report.classes.iter().zip(f1) {
            assert!((class.f1 - expected).abs() < 1e-12, "{class:?}");
        }
        // The fifth class occurs nowhere and does not count.
        assert!((report.macro_f1 - f1.iter().sum::<f64>() / 4.0).abs() < 1e-12);
        assert_eq!(report.classes[2].n_predicted, 5);
        assert!((report.classes[2].precision - 0.6).abs() < 1e-12);
        assert!((report.classes[2].recall - 0.75).abs() < 1e-12);
    }

    #[test]
    fn nothing_scores_nothing() {
        let report = ClassificationReport::new(&[], &[], 2);
        assert_eq!((report.accuracy, report.macro_f1), (0.0, 0.0));
    }
}
