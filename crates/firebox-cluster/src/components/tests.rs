use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use datafusion::arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::smallest_of_component;
use crate::store::Location;
use crate::{ClusterError, Engine, EngineConfig};

/// The labels of a graph, whose edges are given in one direction.
fn labels(edges: &[(u64, u64)], config: EngineConfig) -> Result<BTreeMap<u64, u64>, ClusterError> {
    let folder = tempfile::tempdir().unwrap();
    let work = Location::parse(folder.path().to_str().unwrap()).unwrap();
    let both = edges.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
    let (a, b): (Vec<u64>, Vec<u64>) = both.unzip();
    let number = |name| Field::new(name, DataType::UInt64, false);
    let schema = Arc::new(Schema::new(vec![number("a"), number("b")]));
    let columns = [a, b].map(|column| Arc::new(UInt64Array::from(column)) as ArrayRef);
    let batch = RecordBatch::try_new(schema, columns.to_vec()).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let engine = Engine::local(config).unwrap();
        let edges = engine.context().read_batch(batch).unwrap();
        let found = smallest_of_component(&engine, edges, &work).await?;
        let mut labels = BTreeMap::new();
        for batch in found.collect().await.unwrap() {
            let column = |at: usize| batch.column(at).as_primitive::<UInt64Type>().values();
            labels.extend(column(0).iter().copied().zip(column(1).iter().copied()));
        }
        Ok(labels)
    })
}

/// The same by walking.
fn labels_by_search(edges: &[(u64, u64)]) -> BTreeMap<u64, u64> {
    let mut labels: BTreeMap<u64, u64> =
        edges.iter().flat_map(|&(a, b)| [(a, a), (b, b)]).collect();
    loop {
        let before = labels.clone();
        for (a, b) in edges {
            let least = labels[a].min(labels[b]);
            labels.insert(*a, least);
            labels.insert(*b, least);
        }
        if labels == before {
            return labels;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn labels_are_those_of_a_search(
        edges in prop::collection::vec((0_u64..40, 0_u64..40), 1..40),
        n_tasks in 1_usize..4,
    ) {
        let config = EngineConfig { n_tasks, ..EngineConfig::default() };
        prop_assert_eq!(labels(&edges, config).unwrap(), labels_by_search(&edges));
    }
}

#[test]
fn a_long_chain_settles_in_rounds_of_its_logarithm() {
    // Numbers that alternate from both ends: neighbours are far apart in order.
    let order: Vec<u64> = (0..128)
        .map(|i| if i % 2 == 0 { i } else { 300 - i })
        .collect();
    let edges: Vec<(u64, u64)> = order.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let config = EngineConfig {
        n_tasks: 1,
        max_rounds: 12,
        ..EngineConfig::default()
    };
    let labels = labels(&edges, config).unwrap();
    assert_eq!(labels.len(), 128);
    assert!(labels.values().all(|&label| label == 0));
}

#[test]
fn too_few_rounds_are_an_error_that_says_so() {
    let edges: Vec<(u64, u64)> = (0..64).map(|i| (i, i + 1)).collect();
    let config = EngineConfig {
        n_tasks: 1,
        max_rounds: 1,
        ..EngineConfig::default()
    };
    let error = labels(&edges, config).unwrap_err();
    assert!(
        matches!(error, ClusterError::NotConverged { n_rounds: 1, .. }),
        "{error}"
    );
}
