//! Which documents go because another of their cluster stays.

use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::functions_aggregate::expr_fn::{count, max, min, sum};
use datafusion::logical_expr::{JoinType, lit};
use datafusion::prelude::{DataFrame, col};
use firebox_data::{DedupConfig, Find, KeepRule};

use crate::ClusterError;
use crate::columns::{DOC_ID, TEXT};
use crate::components::smallest_of_component;
use crate::engine::Engine;
use crate::functions::{self, BAND, EXACT_BAND, FunctionSpec, HASHES, HIGH, LOW, RANK};
use crate::store::Location;

const STEP: &str = "find duplicates";

/// The columns that are equal where documents are duplicates.
const KEY: [&str; 3] = [BAND, HIGH, LOW];

type Frame = datafusion::error::Result<DataFrame>;

/// What goes, and why.
#[derive(Default)]
pub(crate) struct Duplicates {
    /// The numbers of the documents that go, in the column `v`; none if nothing goes.
    pub(crate) gone: Option<DataFrame>,
    /// Documents that go because an equal text stays.
    pub(crate) n_exact: u64,
    /// Documents that go because a similar text stays.
    pub(crate) n_near: u64,
}

/// Finds duplicates among documents, which have the columns of documents.
///
/// # Errors
/// [`ClusterError::Engine`], [`ClusterError::NotConverged`], [`ClusterError::Unsupported`].
pub(crate) async fn duplicates(
    engine: &Engine,
    documents: DataFrame,
    config: &DedupConfig,
    work: &Location,
) -> Result<Duplicates, ClusterError> {
    refuse_signatures(config)?;
    let fail = ClusterError::engine(STEP);
    let hashes = hash_rows(documents, config).map_err(&fail)?;
    let hashes = engine
        .checkpoint(STEP, hashes, &work.join("hashes"))
        .await?;
    let pairs = pairs(hashes.clone()).map_err(&fail)?;
    let pairs = engine.checkpoint(STEP, pairs, &work.join("pairs")).await?;
    if engine.count(STEP, count_rows(pairs.clone())).await? == 0 {
        return Ok(Duplicates::default());
    }
    let edges = both_directions(pairs).map_err(&fail)?;
    let labels = smallest_of_component(engine, edges, work).await?;
    let gone = match config.keep {
        KeepRule::First => all_but_the_first(labels),
        KeepRule::Longest | KeepRule::Newest => all_but_the_best(labels, hashes.clone()),
    };
    let gone = gone.map_err(&fail)?;
    let gone = engine.checkpoint(STEP, gone, &work.join("gone")).await?;
    let n_gone = engine.count(STEP, count_rows(gone.clone())).await?;
    let n_exact = engine.count(STEP, count_equal(hashes)).await?;
    Ok(Duplicates {
        gone: Some(gone),
        n_exact,
        n_near: n_gone - n_exact,
    })
}

/// Signatures of candidates are compared on one machine only.
fn refuse_signatures(config: &DedupConfig) -> Result<(), ClusterError> {
    let least = config.near.min_estimated_jaccard;
    if config.find == Find::Near && least > 0.0 {
        return Err(ClusterError::Unsupported {
            setting: "dedup.near.min_estimated_jaccard",
            expected: "0",
            found: least.to_string(),
        });
    }
    Ok(())
}

/// A row for each hash of a document: its number, its rank, the hash's halves.
fn hash_rows(documents: DataFrame, config: &DedupConfig) -> Frame {
    let fingerprint = functions::from_spec(FunctionSpec::Fingerprint(config.clone()))?;
    documents
        .select(vec![
            col(DOC_ID),
            fingerprint
                .call(vec![col(TEXT), col("year")])
                .alias("print"),
        ])?
        .select(vec![
            col(DOC_ID),
            col("print").field(RANK).alias(RANK),
            col("print").field(HASHES).alias(HASHES),
        ])?
        .unnest_columns(&[HASHES])?
        .select(vec![
            col(DOC_ID),
            col(RANK),
            col(HASHES).field(BAND).alias(BAND),
            col(HASHES).field(HIGH).alias(HIGH),
            col(HASHES).field(LOW).alias(LOW),
        ])
}

/// Each document beside the first that has a hash in common with it.
fn pairs(hashes: DataFrame) -> Frame {
    let buckets = hashes
        .clone()
        .aggregate(
            KEY.map(col).to_vec(),
            vec![min(col(DOC_ID)).alias("b"), count(lit(1)).alias("n")],
        )?
        .filter(col("n").gt(lit(1)))?
        .select(vec![
            col(BAND).alias("bucket_band"),
            col(HIGH).alias("bucket_high"),
            col(LOW).alias("bucket_low"),
            col("b"),
        ])?;
    hashes
        .join(
            buckets,
            JoinType::Inner,
            &KEY,
            &["bucket_band", "bucket_high", "bucket_low"],
            None,
        )?
        .filter(col(DOC_ID).not_eq(col("b")))?
        .select(vec![col(DOC_ID).alias("a"), col("b")])?
        .distinct()
}

fn both_directions(pairs: DataFrame) -> Frame {
    let back = pairs
        .clone()
        .select(vec![col("b").alias("a"), col("a").alias("b")])?;
    pairs.union(back)
}

fn all_but_the_first(labels: DataFrame) -> Frame {
    labels
        .filter(col("v").not_eq(col("parent")))?
        .select_columns(&["v"])
}

/// Of each cluster stays the document of the highest rank, of several the first.
fn all_but_the_best(labels: DataFrame, hashes: DataFrame) -> Frame {
    let ranks = hashes.select_columns(&[DOC_ID, RANK])?.distinct()?;
    let ranked = labels
        .join(ranks, JoinType::Inner, &["v"], &[DOC_ID], None)?
        .select_columns(&["v", "parent", RANK])?;
    let best = ranked
        .clone()
        .aggregate(vec![col("parent")], vec![max(col(RANK)).alias("best")])?
        .select(vec![col("parent").alias("cluster"), col("best")])?;
    let stays = ranked
        .clone()
        .join(
            best,
            JoinType::Inner,
            &["parent", RANK],
            &["cluster", "best"],
            None,
        )?
        .aggregate(vec![col("cluster")], vec![min(col("v")).alias("stays")])?;
    ranked
        .join(stays, JoinType::Inner, &["parent"], &["cluster"], None)?
        .filter(col("v").not_eq(col("stays")))?
        .select_columns(&["v"])
}

/// How many documents have a text that is equal to an earlier one's.
fn count_equal(hashes: DataFrame) -> Frame {
    hashes
        .filter(col(BAND).eq(lit(EXACT_BAND)))?
        .aggregate(KEY.map(col).to_vec(), vec![count(lit(1)).alias("n")])?
        .aggregate(vec![], vec![sum(col("n") - lit(1_i64)).alias("n")])
}

fn count_rows(frame: DataFrame) -> Frame {
    frame.aggregate(vec![], vec![count(lit(1)).alias("n")])
}
