//! How files are read.

use super::Format;

/// How files are read: names of fields, limits, and what files hold if their names do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceOptions {
    /// The format of every file; by its name if none. Standard input is JSON Lines unless this says
    /// otherwise.
    pub format: Option<Format>,
    /// Which fields hold what.
    pub fields: FieldNames,
    /// How the sections of a MEDLINE abstract become one text.
    pub abstract_style: AbstractStyle,
    /// About how large a block is, in bytes after decompression: 4 MiB. Blocks end where records do,
    /// and depend on this and the file alone.
    pub block_bytes: usize,
    /// Largest line (JSONL, CSV), citation (MEDLINE) or file (plain text), in bytes after
    /// decompression: 64 MiB. What is larger is broken, and never held whole.
    pub max_record_bytes: u64,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            format: None,
            fields: FieldNames::default(),
            abstract_style: AbstractStyle::default(),
            block_bytes: 1 << 20,
            max_record_bytes: 64 << 20,
        }
    }
}

/// Names of the fields (JSONL) or columns (CSV, Parquet) that a document is made of.
///
/// Only the text must be there. Of the others, none means that it is not read at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldNames {
    /// The text: `text`; many data sets say `content`.
    pub text: String,
    /// A string or a whole number: `id`.
    pub id: Option<String>,
    /// A string: `title`.
    pub title: Option<String>,
    /// A whole number, also as a string: `year`.
    pub year: Option<String>,
    /// A list of strings; in CSV, one string with semicolons between the terms: `mesh_terms`.
    pub mesh_terms: Option<String>,
}

impl Default for FieldNames {
    fn default() -> Self {
        Self {
            text: "text".into(),
            id: Some("id".into()),
            title: Some("title".into()),
            year: Some("year".into()),
            mesh_terms: Some("mesh_terms".into()),
        }
    }
}

/// A field of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Text,
    Id,
    Title,
    Year,
    MeshTerms,
}

impl FieldNames {
    /// The field that a name stands for.
    #[inline]
    pub(crate) fn field(&self, name: &str) -> Option<Field> {
        let is = |field: &Option<String>| field.as_deref() == Some(name);
        if name == self.text {
            Some(Field::Text)
        } else if is(&self.id) {
            Some(Field::Id)
        } else if is(&self.title) {
            Some(Field::Title)
        } else if is(&self.year) {
            Some(Field::Year)
        } else if is(&self.mesh_terms) {
            Some(Field::MeshTerms)
        } else {
            None
        }
    }
}

/// How the sections of a MEDLINE abstract become one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AbstractStyle {
    /// Each section on a line of its own, after its label: `METHODS: We asked ..`.
    #[default]
    Labelled,
    /// The sections' texts, joined by a space, without labels.
    Joined,
}
