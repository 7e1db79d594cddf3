//! One linear layer with NF4 weights, beside bitsandbytes'.

use std::ffi::OsString;
use std::path::Path;

use crate::contender::{BUILD, Contender, Field, Job, Metric, SETUP};

/// Metric, rows, and megabytes of weights that take turns.
const CASES: [(Metric, &str, &str); 3] = [
    (Metric::LinearCached, "1", "0"),
    (Metric::LinearStreamed, "1", "256"),
    (Metric::LinearMany, "512", "0"),
];

/// NF4 times activations in bf16, 2048 inputs and 8192 outputs: ours and theirs.
pub(crate) fn contenders(work: &Path, firebox: &Path, n_threads: usize) -> [Contender; 2] {
    let python = work.join("venv").join("bin").join("python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join("bench_bnb.py");
    let jobs = |program: &[OsString]| -> Vec<Job> {
        let job = |(metric, rows, rotate_mb): (Metric, &str, &str)| {
            let threads = n_threads.to_string();
            let options = [
                "--rows",
                rows,
                "--rotate-mb",
                rotate_mb,
                "--threads",
                &threads,
            ];
            Job {
                command: program
                    .iter()
                    .cloned()
                    .chain(options.map(OsString::from))
                    .collect(),
                fields: vec![(metric, Field("/rows_per_s"))],
            }
        };
        CASES.map(job).into()
    };
    let ours = ["bench", "linear", "--bf16", "--json"].map(OsString::from);
    let ours: Vec<OsString> = std::iter::once(firebox.into()).chain(ours).collect();
    [
        Contender {
            name: "firebox nf4-dot".to_owned(),
            jobs: jobs(&ours),
            needs: vec![(firebox.to_owned(), BUILD)],
        },
        Contender {
            name: "bitsandbytes NF4".to_owned(),
            jobs: jobs(&[python.clone().into(), script.into()]),
            needs: vec![(python, SETUP)],
        },
    ]
}
