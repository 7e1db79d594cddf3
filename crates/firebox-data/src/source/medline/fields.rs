//! The fields of one MEDLINE citation, gathered from its elements and text.

use std::borrow::Cow;

use quick_xml::events::BytesStart;

use super::super::AbstractStyle;
use crate::Document;

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
    MedlineDate,
    MeshHeading,
    DescriptorName,
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
            "MedlineDate" => Self::MedlineDate,
            "MeshHeading" => Self::MeshHeading,
            "DescriptorName" => Self::DescriptorName,
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
/// MathML) flattened; the PMID, the year and a MeSH descriptor are the text before any child
/// element. Of the title, the PMID and the year the first counts: later ones belong to cited works. A
/// `MedlineDate` (`1978 Nov-Dec`) has a year, too.
/// Text that comes in one piece is borrowed.
#[derive(Debug)]
pub(super) struct MedlineFields<'a> {
    style: AbstractStyle,
    capture: Option<Capture>,
    abstract_text: Option<Cow<'a, str>>,
    /// Length of the abstract before the section being read.
    n_before_section: usize,
    title: Option<Cow<'a, str>>,
    pmid: Option<Cow<'a, str>>,
    year: Option<Cow<'a, str>>,
    mesh_terms: Vec<Cow<'a, str>>,
}

impl<'a> MedlineFields<'a> {
    pub(super) fn new(style: AbstractStyle) -> Self {
        Self {
            style,
            capture: None,
            abstract_text: None,
            n_before_section: 0,
            title: None,
            pmid: None,
            year: None,
            mesh_terms: Vec::new(),
        }
    }

    /// Whether text is wanted.
    pub(super) fn is_capturing(&self) -> bool {
        self.capture.is_some()
    }

    /// An element starts; `depth` counts the open elements, itself included.
    pub(super) fn start(
        &mut self,
        start: &BytesStart<'a>,
        (element, parent): (Element, Element),
        depth: usize,
    ) {
        if let Some(capture) = self.capture {
            // Text after a child element is no longer the PMID, the year or the descriptor.
            if !matches!(
                capture.element,
                Element::AbstractText | Element::ArticleTitle
            ) {
                self.capture = None;
            }
            return;
        }
        let starts = match (element, parent) {
            (Element::AbstractText, Element::Abstract) => {
                self.start_section(start);
                true
            }
            (Element::ArticleTitle, _) => start_first(&mut self.title),
            (Element::Pmid, _) => start_first(&mut self.pmid),
            (Element::Year | Element::MedlineDate, Element::PubDate) => start_first(&mut self.year),
            (Element::DescriptorName, Element::MeshHeading) => {
                self.mesh_terms.push(Cow::Borrowed(""));
                true
            }
            _ => false,
        };
        self.capture = starts.then_some(Capture { element, depth });
    }

    /// What comes before a section's text.
    fn start_section(&mut self, start: &BytesStart<'a>) {
        let is_first = self.abstract_text.is_none();
        let text = self.abstract_text.get_or_insert_default();
        self.n_before_section = text.len();
        match self.style {
            AbstractStyle::Joined if !is_first => text.to_mut().push(' '),
            AbstractStyle::Joined => {}
            AbstractStyle::Labelled => {
                if !text.is_empty() {
                    text.to_mut().push('\n');
                }
                if let Some(label) = label_of(start) {
                    text.to_mut().push_str(&label);
                    text.to_mut().push_str(": ");
                }
            }
        }
    }

    /// Text inside the innermost open element.
    pub(super) fn text(&mut self, text: Cow<'a, str>) {
        match self.field() {
            Some(field) if field.is_empty() => *field = text,
            Some(field) => field.to_mut().push_str(&text),
            None => {}
        }
    }

    /// As [`text`](Self::text), for text that is not in the file as it is meant.
    pub(super) fn push(&mut self, text: &str) {
        if let Some(field) = self.field() {
            field.to_mut().push_str(text);
        }
    }

    fn field(&mut self) -> Option<&mut Cow<'a, str>> {
        match self.capture?.element {
            Element::AbstractText => self.abstract_text.as_mut(),
            Element::ArticleTitle => self.title.as_mut(),
            Element::Pmid => self.pmid.as_mut(),
            Element::Year | Element::MedlineDate => self.year.as_mut(),
            Element::DescriptorName => self.mesh_terms.last_mut(),
            _ => None,
        }
    }

    /// An element ends; `depth` as at its start.
    pub(super) fn end(&mut self, depth: usize) {
        let Some(capture) = self.capture.filter(|capture| capture.depth == depth) else {
            return;
        };
        self.capture = None;
        if let (Element::AbstractText, AbstractStyle::Labelled, Some(text)) =
            (capture.element, self.style, &mut self.abstract_text)
            && text[self.n_before_section..].trim().is_empty()
        {
            // A section without label and text leaves no blank line.
            text.to_mut().truncate(self.n_before_section);
        }
    }

    /// The citation ends: its document, unless it has no abstract. Leaves empty fields behind.
    pub(super) fn finish(&mut self) -> Option<Document<'a>> {
        let fields = std::mem::replace(self, Self::new(self.style));
        Some(Document {
            text: fields.abstract_text?,
            id: fields.pmid,
            title: fields.title,
            year: fields.year.and_then(|date| year_of(&date)),
            mesh_terms: fields.mesh_terms,
            ..Document::default()
        })
    }
}

/// The first four digits in a row: `1978`, or the year that `1978 Nov-1979 Jan` begins in.
fn year_of(date: &str) -> Option<u16> {
    let digits = date.as_bytes().windows(4);
    let found = digits.map(|four| four.iter().all(u8::is_ascii_digit));
    let start = found
        .enumerate()
        .find_map(|(at, is_year)| is_year.then_some(at))?;
    date[start..start + 4].parse().ok()
}

/// The label of a section, as `METHODS`.
fn label_of(start: &BytesStart<'_>) -> Option<String> {
    let label = start.try_get_attribute("Label").ok()??;
    let label = quick_xml::escape::unescape(&label.value).ok()?;
    let label = label.trim();
    (!label.is_empty()).then(|| label.to_string())
}

/// Starts a field that is not there yet.
fn start_first(field: &mut Option<Cow<'_, str>>) -> bool {
    let is_first = field.is_none();
    field.get_or_insert_default();
    is_first
}
