//! `firebox_fingerprint(text, year) -> struct<rank, hashes>`: what deduplication keeps of a document.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, ListArray, StructArray, UInt16Builder, UInt64Array, UInt64Builder,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Fields, UInt16Type};
use datafusion::error::{DataFusionError, Result};
use firebox_data::{DedupConfig, Fingerprinter, KeepRule};

use crate::columns::string;
use crate::read::external;

/// The text and the year.
pub(super) const N_ARGUMENTS: usize = 2;

/// How good the document is: of a cluster, the one with the highest rank stays.
pub(crate) const RANK: &str = "rank";
/// Documents that share one of these are duplicates.
pub(crate) const HASHES: &str = "hashes";
/// Which hash it is: [`EXACT_BAND`] for that of the text, then those of the bands.
pub(crate) const BAND: &str = "band";
/// The band of the hash of the whole text.
pub(crate) const EXACT_BAND: u16 = 0;
/// The upper half of a hash: zero in those of bands.
pub(crate) const HIGH: &str = "high";
/// The lower half of a hash.
pub(crate) const LOW: &str = "low";

#[derive(Debug)]
pub(super) struct Fingerprint {
    fingerprinter: Fingerprinter,
    keep: KeepRule,
}

/// A hash has two halves: Arrow has no 128-bit number that every join takes.
fn hash_fields() -> Fields {
    Fields::from(vec![
        Field::new(BAND, DataType::UInt16, false),
        Field::new(HIGH, DataType::UInt64, false),
        Field::new(LOW, DataType::UInt64, false),
    ])
}

fn hash_list_field() -> Arc<Field> {
    Arc::new(Field::new_list_field(
        DataType::Struct(hash_fields()),
        false,
    ))
}

fn result_fields() -> Fields {
    Fields::from(vec![
        Field::new(RANK, DataType::UInt64, false),
        Field::new(HASHES, DataType::List(hash_list_field()), false),
    ])
}

pub(super) fn result_type() -> DataType {
    DataType::Struct(result_fields())
}

impl Fingerprint {
    pub(super) fn new(config: &DedupConfig) -> Result<Self> {
        Ok(Self {
            fingerprinter: Fingerprinter::new(config).map_err(external)?,
            keep: config.keep,
        })
    }

    pub(super) fn run(&self, columns: &[ArrayRef]) -> Result<ArrayRef> {
        let [texts, years] = columns else {
            return Err(wrong_arguments(columns));
        };
        let (Some(texts), Some(years)) = (
            texts.as_string_opt::<i64>(),
            years.as_primitive_opt::<UInt16Type>(),
        ) else {
            return Err(wrong_arguments(columns));
        };
        let mut ranks = Vec::with_capacity(texts.len());
        let mut band = UInt16Builder::new();
        let (mut high, mut low) = (UInt64Builder::new(), UInt64Builder::new());
        let mut n_hashes = Vec::with_capacity(texts.len());
        for row in 0..texts.len() {
            let text = string(texts, row).unwrap_or_default();
            let year = years.is_valid(row).then(|| years.value(row));
            ranks.push(self.rank(text, year));
            let fingerprint = self.fingerprinter.fingerprint(text);
            band.append_value(EXACT_BAND);
            high.append_value((fingerprint.exact >> 64) as u64);
            low.append_value(fingerprint.exact as u64);
            let bands = fingerprint.bands.as_slice();
            band.extend((EXACT_BAND + 1..).take(bands.len()).map(Some));
            high.append_value_n(0, bands.len());
            low.append_slice(bands);
            n_hashes.push(1 + bands.len());
        }
        let parts: Vec<ArrayRef> = vec![
            Arc::new(band.finish()),
            Arc::new(high.finish()),
            Arc::new(low.finish()),
        ];
        let hashes = StructArray::try_new(hash_fields(), parts, None)?;
        let offsets = OffsetBuffer::from_lengths(n_hashes);
        let lists = ListArray::try_new(hash_list_field(), offsets, Arc::new(hashes), None)?;
        let ranks = UInt64Array::from(ranks);
        let columns: Vec<ArrayRef> = vec![Arc::new(ranks), Arc::new(lists)];
        Ok(Arc::new(StructArray::try_new(
            result_fields(),
            columns,
            None,
        )?))
    }

    fn rank(&self, text: &str, year: Option<u16>) -> u64 {
        match self.keep {
            KeepRule::First => 0,
            KeepRule::Longest => text.len() as u64,
            KeepRule::Newest => year.map_or(0, |year| 1 + u64::from(year)),
        }
    }
}

fn wrong_arguments(columns: &[ArrayRef]) -> DataFusionError {
    let found: Vec<&DataType> = columns.iter().map(|column| column.data_type()).collect();
    DataFusionError::Plan(format!(
        "call firebox_fingerprint: expected a LargeUtf8 and a UInt16, found {found:?}"
    ))
}
