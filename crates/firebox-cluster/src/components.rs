//! Clusters of duplicates: the connected components of a graph, by joins.
//!
//! One machine joins documents in a union-find; here labels travel along edges, a round a query, and
//! each round's labels are files in the work folder. Both give a component the smallest number in it.
//!
//! Source: Zhang, Azad and Hu (2020), "FastSV: a distributed-memory connected component algorithm with
//! fast convergence", <https://arxiv.org/abs/1910.05971>.

use datafusion::functions_aggregate::expr_fn::{count, min};
use datafusion::logical_expr::{JoinType, lit, when};
use datafusion::prelude::{DataFrame, col};

use crate::ClusterError;
use crate::engine::Engine;
use crate::store::Location;

const STEP: &str = "join duplicates into clusters";

/// Labels every document that has a duplicate with the smallest number of its cluster.
///
/// `edges` has the columns `a` and `b`, each edge in both directions. What comes back has `v` and
/// `parent`.
///
/// A label only ever falls, and is a document of its component. When no label changes, no document has a
/// neighbour whose label's label is smaller than its own, and so labels of labels are labels (a document
/// is offered its own) and all documents of a component share one, which is at most each of their
/// numbers: the smallest.
///
/// # Errors
/// [`ClusterError::NotConverged`] after `max_rounds` rounds; rounds grow with the logarithm of a
/// component's diameter.
pub(crate) async fn smallest_of_component(
    engine: &Engine,
    edges: DataFrame,
    work: &Location,
) -> Result<DataFrame, ClusterError> {
    let start = first_labels(edges.clone()).map_err(ClusterError::engine(STEP))?;
    let mut labels = engine
        .checkpoint(STEP, start, &work.join("round-0"))
        .await?;
    let mut n_changed = 0;
    for round in 1..=engine.config().max_rounds {
        let next = one_round(&edges, &labels).map_err(ClusterError::engine(STEP))?;
        let folder = work.join(&format!("round-{round}"));
        let next = engine.checkpoint(STEP, next, &folder).await?;
        n_changed = engine.count(STEP, changed(next.clone())).await?;
        labels = next
            .select_columns(&["v", "parent"])
            .map_err(ClusterError::engine(STEP))?;
        if n_changed == 0 {
            return Ok(labels);
        }
    }
    Err(ClusterError::NotConverged {
        n_rounds: engine.config().max_rounds,
        n_changed,
    })
}

type Frame = datafusion::error::Result<DataFrame>;

/// Each document's smallest neighbour, itself included.
fn first_labels(edges: DataFrame) -> Frame {
    let smaller = when(col("least").lt(col("v")), col("least")).otherwise(col("v"))?;
    edges
        .select(vec![col("a").alias("v"), col("b")])?
        .aggregate(vec![col("v")], vec![min(col("b")).alias("least")])?
        .select(vec![col("v"), smaller.alias("parent")])
}

/// Every document is offered its neighbours' labels' labels, and its own label's; so is its label.
fn one_round(edges: &DataFrame, labels: &DataFrame) -> Frame {
    let parents = labels
        .clone()
        .select(vec![col("v").alias("p"), col("parent").alias("grand")])?;
    let grand = labels
        .clone()
        .join(parents, JoinType::Inner, &["parent"], &["p"], None)?
        .select_columns(&["v", "grand"])?;
    let neighbours = grand
        .clone()
        .select(vec![col("v").alias("w"), col("grand").alias("offer")])?;
    let own = labels
        .clone()
        .select(vec![col("v").alias("u"), col("parent").alias("up")])?;
    let offers = edges
        .clone()
        .join(neighbours, JoinType::Inner, &["b"], &["w"], None)?
        .join(own, JoinType::Inner, &["a"], &["u"], None)?;
    let to_each = offers
        .clone()
        .select(vec![col("a").alias("v"), col("offer")])?;
    let to_parents = offers.select(vec![col("up").alias("v"), col("offer")])?;
    let to_itself = grand.select(vec![col("v"), col("grand").alias("offer")])?;
    let before = labels
        .clone()
        .select(vec![col("v").alias("old_v"), col("parent").alias("old")])?;
    to_each
        .union(to_parents)?
        .union(to_itself)?
        .aggregate(vec![col("v")], vec![min(col("offer")).alias("parent")])?
        .join(before, JoinType::Inner, &["v"], &["old_v"], None)?
        .select_columns(&["v", "parent", "old"])
}

/// How many labels a round changed.
fn changed(labels: DataFrame) -> Frame {
    labels
        .filter(col("parent").not_eq(col("old")))?
        .aggregate(vec![], vec![count(lit(1)).alias("n")])
}

#[cfg(test)]
mod tests;
