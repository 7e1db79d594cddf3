//! MEDLINE XML: the citations that PubMed distributes.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use quick_xml::Reader;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};

use super::ReadOptions;
use super::medline_fields::{Element, MedlineFields};
use super::record_limit::{RecordLimit, is_past_limit};
use crate::{DataError, Place, PlaceUnit, TextRecord};

/// Reads the citations of a `<PubmedArticleSet>` that have an abstract.
///
/// Each becomes a [`TextRecord`]: PMID, title, abstract (its sections joined by a space) and year
/// of publication. The file streams: only one citation is held. The document type is not fetched
/// and entities that it would define are refused, so no file makes the reader open or expand
/// anything. Malformed XML ends the reading with an error.
///
/// Source: <https://www.nlm.nih.gov/bsd/licensee/elements_descriptions.html>.
pub struct MedlineReader<R: BufRead> {
    xml: Reader<RecordLimit<R>>,
    path: PathBuf,
    buffer: Vec<u8>,
    has_root: bool,
    open: Vec<Element>,
    /// Depth of the citation being read.
    article_depth: Option<usize>,
    fields: MedlineFields,
    n_records: u64,
    n_skipped: u64,
    is_done: bool,
}

/// What an event leads to.
enum Step {
    Continue,
    Record(TextRecord),
    End,
}

impl<R: BufRead> MedlineReader<R> {
    /// Reads from any buffered input; `path` is what error messages call it.
    pub fn new(input: R, path: impl AsRef<Path>, options: ReadOptions) -> Self {
        let mut xml = Reader::from_reader(RecordLimit::new(input, options.max_record_bytes));
        xml.config_mut().expand_empty_elements = true;
        Self {
            xml,
            path: path.as_ref().to_path_buf(),
            buffer: Vec::new(),
            has_root: false,
            open: Vec::new(),
            article_depth: None,
            fields: MedlineFields::default(),
            n_records: 0,
            n_skipped: 0,
            is_done: false,
        }
    }

    /// How many citations so far had no abstract.
    #[must_use]
    pub fn n_skipped(&self) -> u64 {
        self.n_skipped
    }

    fn step(&mut self) -> Result<Step, DataError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let step = match self.xml.read_event_into(&mut buffer) {
            Ok(event) => self.handle(&event),
            Err(error) => Err(self.xml_error(error)),
        };
        self.buffer = buffer;
        step
    }

    fn handle(&mut self, event: &Event<'_>) -> Result<Step, DataError> {
        match event {
            Event::Decl(declaration) => self.check_encoding(declaration)?,
            Event::Start(start) => self.start(start)?,
            Event::Text(text) if !self.open.is_empty() => self.fields.text(&text.xml10_content()),
            Event::CData(text) => self.fields.text(&text.xml10_content()),
            Event::GeneralRef(reference) => self.reference(reference)?,
            Event::End(_) => return Ok(self.end()),
            Event::Eof => return self.finish(),
            _ => {}
        }
        if self.open.len() <= 1 {
            self.xml.get_mut().reset();
        }
        Ok(Step::Continue)
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), DataError> {
        let name = start.name();
        let element = Element::from_name(name.as_ref());
        let parent = self.open.last().copied();
        let is_root = matches!(element, Element::PubmedArticleSet | Element::PubmedArticle);
        if parent.is_none() && !is_root {
            return Err(self.content_error(
                "the root element <PubmedArticleSet>",
                format!("<{}>", name.as_ref().chars().take(64).collect::<String>()),
                "only MEDLINE citations are read, as PubMed distributes them",
            ));
        }
        self.has_root = true;
        self.open.push(element);
        if element == Element::PubmedArticle {
            self.article_depth.get_or_insert(self.open.len());
        }
        if self.article_depth.is_some() {
            self.fields
                .start(element, parent.unwrap_or(Element::Other), self.open.len());
        }
        Ok(())
    }

    fn end(&mut self) -> Step {
        let depth = self.open.len();
        self.fields.end(depth);
        self.open.pop();
        if depth <= 2 {
            self.xml.get_mut().reset();
        }
        if self.article_depth != Some(depth) {
            return Step::Continue;
        }
        self.article_depth = None;
        self.n_records += 1;
        match self.fields.finish() {
            Some(record) => Step::Record(record),
            None => {
                self.n_skipped += 1;
                Step::Continue
            }
        }
    }

    /// `&amp;` and its like, and `&#233;`; there are no others without a document type.
    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), DataError> {
        let character = reference
            .resolve_char_ref()
            .map_err(|error| self.xml_error(error))?;
        let name = reference.xml10_content();
        match (character, name.as_ref()) {
            (Some(character), _) => self.fields.text(character.encode_utf8(&mut [0; 4])),
            (None, "amp") => self.fields.text("&"),
            (None, "lt") => self.fields.text("<"),
            (None, "gt") => self.fields.text(">"),
            (None, "apos") => self.fields.text("'"),
            (None, "quot") => self.fields.text("\""),
            (None, other) => {
                return Err(self.content_error(
                    "one of the five entities of XML, or a character number",
                    format!("&{};", other.chars().take(64).collect::<String>()),
                    "replace the entity by its text; document types are not read",
                ));
            }
        }
        Ok(())
    }

    fn check_encoding(&self, declaration: &BytesDecl<'_>) -> Result<(), DataError> {
        match declaration.encoding() {
            Some(Ok(encoding))
                if !["utf-8", "utf8", "us-ascii"]
                    .contains(&encoding.to_ascii_lowercase().as_str()) =>
            {
                Err(self.content_error(
                    "the encoding utf-8",
                    format!("`{}`", encoding.chars().take(64).collect::<String>()),
                    "convert the file, for instance with `iconv -t UTF-8`",
                ))
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<Step, DataError> {
        if self.open.is_empty() && self.has_root {
            return Ok(Step::End);
        }
        Err(self.content_error(
            "a closed <PubmedArticleSet>",
            format!("the end of the file with {} elements open", self.open.len()),
            "the file is cut off; fetch it again",
        ))
    }

    fn xml_error(&self, error: quick_xml::Error) -> DataError {
        let place = self.place();
        match error {
            quick_xml::Error::Io(error) if is_past_limit(&error) => DataError::RecordTooLarge {
                place,
                limit_bytes: self.xml.get_ref().limit_bytes(),
            },
            quick_xml::Error::Io(error) => {
                let source = std::io::Error::new(error.kind(), error);
                DataError::Read { place, source }
            }
            error => {
                let byte = self.xml.buffer_position();
                DataError::Xml {
                    place,
                    byte,
                    source: Box::new(error),
                }
            }
        }
    }

    fn content_error(
        &self,
        expected: &'static str,
        found: String,
        hint: &'static str,
    ) -> DataError {
        let byte = self.xml.buffer_position();
        DataError::XmlContent {
            place: self.place(),
            byte,
            expected,
            found,
            hint,
        }
    }

    /// The record being read.
    fn place(&self) -> Place {
        let number = self.n_records + 1;
        Place {
            path: self.path.clone(),
            unit: PlaceUnit::Record,
            number,
        }
    }
}

impl<R: BufRead> Iterator for MedlineReader<R> {
    type Item = Result<TextRecord, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_done {
            match self.step() {
                Ok(Step::Continue) => {}
                Ok(Step::Record(record)) => return Some(Ok(record)),
                Ok(Step::End) => self.is_done = true,
                Err(error) => {
                    self.is_done = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
