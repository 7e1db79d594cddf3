//! A recipe from input URLs to an output URL.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::logical_expr::{Expr, cast, lit, when};
use datafusion::prelude::{DataFrame, col};
use firebox_data::filter::RuleCounts;
use firebox_data::{BrokenLimit, DedupConfig, Recipe};
use futures_util::{StreamExt, TryStreamExt};
use object_store::ObjectStore;

use crate::columns::{DOC_ID, FILE, IS_DROPPED, PLACE_BITS, SOURCE, TEXT, document_schema};
use crate::duplicates::{Duplicates, duplicates};
use crate::functions::{self, CHANGED_TEXT, COUNTS, FunctionSpec, JudgeSpec, LOSES_SOURCE, RULE};
use crate::input::list_input;
use crate::read::ReadLimits;
use crate::report::{RunReport, count_records};
use crate::scan::DocumentTable;
use crate::store::Location;
use crate::{ClusterError, Engine, OutputFormat};

/// The folder for work on the way, below the output. The dot keeps it out of later inputs.
const WORK_FOLDER: &str = ".work";

/// What is read, what is written, and how.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// URLs or local paths, each a file or a folder: `s3://bucket/corpus`, `data/a.jsonl.zst`.
    pub inputs: Vec<String>,
    /// URL or local path of a folder that is empty or not there yet. Each input file whose documents do
    /// not all go becomes a `part-INDEX` in it, documents in the order of the input.
    pub output: String,
    /// How documents are written.
    pub format: OutputFormat,
    /// How duplicates are found among what the rules keep; none if they stay.
    pub dedup: Option<DedupConfig>,
    /// Documents that the report shows for each rule, at most.
    pub n_samples: usize,
    /// Largest record, in bytes after decompression; what is larger is broken. 64 MiB.
    pub max_record_bytes: u64,
    /// How many broken records are passed over. It is looked at once all are read.
    pub broken_limit: BrokenLimit,
}

impl RunConfig {
    /// Reads these inputs, writes JSON Lines in Zstandard; limits have their defaults.
    pub fn new<I>(inputs: I, output: impl Into<String>) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self {
            inputs: inputs.into_iter().map(Into::into).collect(),
            output: output.into(),
            format: OutputFormat::JsonlZst,
            dedup: None,
            n_samples: 5,
            max_record_bytes: 64 << 20,
            broken_limit: BrokenLimit::default(),
        }
    }
}

/// Runs a recipe.
///
/// What is written, and the report, depend on the input, the recipe and nothing else: not on the engine,
/// its tasks or its nodes. On the way there are files in `OUTPUT/.work`, about as large as the documents
/// that the rules kept; they are removed at the end, and before a run that follows one that failed.
///
/// # Errors
/// [`ClusterError::OutputExists`], [`ClusterError::TooManyBroken`], those of
/// [`Stores`](crate::Stores), and [`ClusterError::Engine`]. A part of the output is whole or not there;
/// after an error some may be there and others not.
pub async fn run_recipe(
    engine: &Engine,
    recipe: &Recipe,
    config: &RunConfig,
) -> Result<RunReport, ClusterError> {
    let output = Location::parse(&config.output)?;
    let work = output.join(WORK_FOLDER);
    check_output(engine, &output, &work).await?;
    remove(engine, &work).await?;
    let rules = recipe.build_rules()?;
    let judged = judge(engine, recipe, config, &work.join("judged")).await?;
    let zero = RuleCounts::new(&rules, config.n_samples);
    let mut report = count_records(judged.clone(), zero, &config.broken_limit)
        .await
        .map_err(ClusterError::engine("count what the rules did"))?;
    report.check_broken(&config.broken_limit)?;
    let kept = kept(judged).map_err(ClusterError::engine(WRITE_STEP))?;
    let found = match &config.dedup {
        Some(dedup) => duplicates(engine, kept.clone(), dedup, &work).await?,
        None => Duplicates::default(),
    };
    report.n_exact = found.n_exact;
    report.n_near = found.n_near;
    let rows = rows_to_write(kept, found.gone).map_err(ClusterError::engine(WRITE_STEP))?;
    report.n_written = engine
        .write(WRITE_STEP, rows, &output, config.format)
        .await?;
    remove(engine, &work).await?;
    Ok(report)
}

const READ_STEP: &str = "read the input and run the rules";
const WRITE_STEP: &str = "write the output";

type Frame = datafusion::error::Result<DataFrame>;

/// Reads everything once and keeps it with its verdict: columns of documents, and [`RULE`].
async fn judge(
    engine: &Engine,
    recipe: &Recipe,
    config: &RunConfig,
    folder: &Location,
) -> Result<DataFrame, ClusterError> {
    let table = DocumentTable {
        files: list_input(&config.inputs, &engine.runtime()).await?,
        n_tasks: engine.config().n_tasks,
        limits: ReadLimits {
            max_record_bytes: config.max_record_bytes,
        },
    };
    let judged = engine
        .context()
        .read_table(Arc::new(table))
        .and_then(|documents| with_verdicts(documents, recipe, config.n_samples))
        .map_err(ClusterError::engine(READ_STEP))?;
    engine.checkpoint(READ_STEP, judged, folder).await
}

/// Runs the rules; a changed text takes the place of the one that was read.
fn with_verdicts(documents: DataFrame, recipe: &Recipe, n_samples: usize) -> Frame {
    let judge = functions::from_spec(FunctionSpec::Judge(JudgeSpec {
        rules: recipe.rules.clone(),
        words: recipe.words,
        n_samples,
    }))?;
    let verdict = || col("verdict");
    let is_changed = || verdict().field(CHANGED_TEXT).is_not_null();
    let mut judged = Vec::new();
    for column in document_schema().fields() {
        let name = column.name().as_str();
        let value = match name {
            TEXT => when(is_changed(), verdict().field(CHANGED_TEXT)).otherwise(col(TEXT))?,
            SOURCE => when(verdict().field(LOSES_SOURCE).is_false(), col(SOURCE)).end()?,
            name => col(name),
        };
        judged.push(value.alias(name));
    }
    judged.push(verdict().field(RULE).alias(RULE));
    judged.push(verdict().field(COUNTS).alias(COUNTS));
    let mut columns = document_columns();
    columns.push(judge.call(document_columns()).alias("verdict"));
    documents.select(columns)?.select(judged)
}

/// The documents that no rule dropped.
fn kept(judged: DataFrame) -> Frame {
    judged
        .filter(col(RULE).is_null().and(col(TEXT).is_not_null()))?
        .select(document_columns())
}

/// Documents, and a row for each that goes, with its number and nothing else.
fn rows_to_write(kept: DataFrame, gone: Option<DataFrame>) -> Frame {
    let mut columns = document_columns();
    columns.push(lit(false).alias(IS_DROPPED));
    let documents = kept.select(columns)?;
    let Some(gone) = gone else {
        return Ok(documents);
    };
    let mut columns = Vec::new();
    for field in document_schema().fields() {
        let value = match field.name().as_str() {
            DOC_ID => col("v"),
            FILE => cast(col("v") / lit(1_u64 << PLACE_BITS), DataType::UInt32),
            _ => lit(ScalarValue::try_from(field.data_type())?),
        };
        columns.push(value.alias(field.name()));
    }
    columns.push(lit(true).alias(IS_DROPPED));
    documents.union(gone.select(columns)?)
}

/// All columns of documents.
fn document_columns() -> Vec<Expr> {
    let schema = document_schema();
    schema
        .fields()
        .iter()
        .map(|field| col(field.name()))
        .collect()
}

/// Refuses an output that holds anything but work of a run before.
async fn check_output(
    engine: &Engine,
    output: &Location,
    work: &Location,
) -> Result<(), ClusterError> {
    let store = output.store(&engine.runtime())?;
    let mut listed = store.list(Some(&output.path));
    while let Some(meta) = listed.try_next().await.map_err(store_error(output))? {
        if !meta.location.prefix_matches(&work.path) {
            return Err(ClusterError::OutputExists {
                url: output.to_string(),
                found: output.url_of(&meta.location),
            });
        }
    }
    Ok(())
}

/// Removes a folder with all in it.
async fn remove(engine: &Engine, folder: &Location) -> Result<(), ClusterError> {
    if let Some(path) = folder.local_path() {
        return remove_local(path, folder).await;
    }
    let store = folder.store(&engine.runtime())?;
    let paths = store.list(Some(&folder.path)).map_ok(|meta| meta.location);
    store
        .delete_stream(paths.boxed())
        .try_for_each(|_| std::future::ready(Ok(())))
        .await
        .map_err(store_error(folder))
}

/// On a disk, folders are there without files too.
async fn remove_local(path: PathBuf, folder: &Location) -> Result<(), ClusterError> {
    let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(path)).await;
    match removed.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(store_error(folder)(object_store::Error::Generic {
                store: "LocalFileSystem",
                source: error.into(),
            }))
        }
        _ => Ok(()),
    }
}

fn store_error(location: &Location) -> impl Fn(object_store::Error) -> ClusterError {
    let url = location.to_string();
    move |source| ClusterError::Store {
        url: url.clone(),
        source,
    }
}
