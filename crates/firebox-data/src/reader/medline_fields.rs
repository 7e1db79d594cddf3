//! The fields of one MEDLINE citation, gathered from its elements and text.

use crate::TextRecord;

/// An element that matters here, or any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    PubmedArticleSet,
    PubmedArticle,
    Abstract,
    AbstractText,
    ArticleTitle,
    Pmid,
    PubDate,
    Year,
    Other,
}

impl Element {
    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "PubmedArticleSet" => Self::PubmedArticleSet,
            "PubmedArticle" => Self::PubmedArticle,
            "Abstract" => Self::Abstract,
            "AbstractText" => Self::AbstractText,
            "ArticleTitle" => Self::ArticleTitle,
            "PMID" => Self::Pmid,
            "PubDate" => Self::PubDate,
            "Year" => Self::Year,
            _ => Self::Other,
        }
    }
}

/// What is being gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Capture {
    element: Element,
    /// Depth of the element that the text belongs to.
    depth: usize,
}

/// The fields of the citation being read.
///
/// Titles and abstracts are the whole text inside their elements, inline markup (`<i>`, `<sup>`,
/// MathML) flattened; the PMID and the year are the text before any child element. Of the title,
/// the PMID and the year the first counts: later ones belong to cited works.
#[derive(Debug, Default)]
pub(super) struct MedlineFields {
    capture: Option<Capture>,
    abstract_text: Option<String>,
    title: Option<String>,
    pmid: Option<String>,
    year: Option<String>,
}

impl MedlineFields {
    /// An element starts; `depth` counts the open elements, itself included.
    pub(super) fn start(&mut self, element: Element, parent: Element, depth: usize) {
        if let Some(capture) = self.capture {
            // Text after a child element is no longer the PMID or the year.
            if matches!(capture.element, Element::Pmid | Element::Year) {
                self.capture = None;
            }
            return;
        }
        let starts = match (element, parent) {
            (Element::AbstractText, Element::Abstract) => {
                match &mut self.abstract_text {
                    Some(text) => text.push(' '),
                    none => *none = Some(String::new()),
                }
                true
            }
            (Element::ArticleTitle, _) => start_first(&mut self.title),
            (Element::Pmid, _) => start_first(&mut self.pmid),
            (Element::Year, Element::PubDate) => start_first(&mut self.year),
            _ => false,
        };
        self.capture = starts.then_some(Capture { element, depth });
    }

    /// Text inside the innermost open element.
    pub(super) fn text(&mut self, text: &str) {
        let field = match self.capture.map(|capture| capture.element) {
            Some(Element::AbstractText) => &mut self.abstract_text,
            Some(Element::ArticleTitle) => &mut self.title,
            Some(Element::Pmid) => &mut self.pmid,
            Some(Element::Year) => &mut self.year,
            _ => return,
        };
        if let Some(field) = field {
            field.push_str(text);
        }
    }

    /// An element ends; `depth` as at its start.
    pub(super) fn end(&mut self, depth: usize) {
        if self.capture.is_some_and(|capture| capture.depth == depth) {
            self.capture = None;
        }
    }

    /// The citation ends: its record, unless it has no abstract. Leaves empty fields behind.
    pub(super) fn finish(&mut self) -> Option<TextRecord> {
        let fields = std::mem::take(self);
        Some(TextRecord {
            text: fields.abstract_text?,
            id: fields.pmid,
            title: fields.title,
            year: fields.year.and_then(|year| year.trim().parse().ok()),
        })
    }
}

/// Starts a field that is not there yet.
fn start_first(field: &mut Option<String>) -> bool {
    let is_first = field.is_none();
    field.get_or_insert_default();
    is_first
}
