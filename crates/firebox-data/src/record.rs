//! Records: what a data file holds.

use serde::{Deserialize, Serialize};

/// One record of a data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A document.
    Text(TextRecord),
    /// A conversation.
    Chat(Vec<Message>),
}

/// A document with what is known about it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TextRecord {
    /// The document's name where it comes from; the PMID in MEDLINE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The title, if it is kept apart from the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The text; the abstract in MEDLINE.
    pub text: String,
    /// Year of publication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub year: Option<u16>,
    /// MeSH descriptors, in MEDLINE.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mesh_terms: Vec<String>,
}

impl TextRecord {
    /// The text that a model is trained on: the title on a line of its own, then the text.
    #[must_use]
    pub fn training_text(&self) -> String {
        match &self.title {
            Some(title) => format!("{title}\n{}", self.text),
            None => self.text.clone(),
        }
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user` or `assistant`; templates may know others.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// The model's turn.
    #[must_use]
    pub fn assistant(content: impl Into<String>) -> Self {
        Self {
            role: "assistant".into(),
            content: content.into(),
        }
    }

    /// The user's turn.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self {
            role: "user".into(),
            content: content.into(),
        }
    }

    /// Instructions before the conversation.
    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self {
            role: "system".into(),
            content: content.into(),
        }
    }
}
