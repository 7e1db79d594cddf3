//! One fragment of a MEDLINE file: what is before a citation, and the citation.

use quick_xml::Reader;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};

use super::super::{AbstractStyle, BrokenReason};
use super::fields::{Element, MedlineFields};
use crate::Document;

/// A part of a file that ends with a citation, or with the file.
pub(crate) struct Fragment<'a> {
    pub(crate) text: &'a str,
    /// Position of its first byte in the decompressed file.
    pub(crate) offset: u64,
    /// Whether the `<PubmedArticleSet>` was opened before it.
    pub(crate) is_in_set: bool,
    /// Whether the file ends with it.
    pub(crate) is_last: bool,
    pub(crate) style: AbstractStyle,
}

/// The citation of a fragment; none if it has no abstract, or is not there.
pub(crate) fn parse_fragment<'a>(
    fragment: &Fragment<'a>,
) -> Result<Option<Document<'a>>, BrokenReason> {
    let mut xml = Reader::from_str(fragment.text);
    xml.config_mut().expand_empty_elements = true;
    // The set may have been opened in another fragment; `open` checks what quick-xml then does not.
    xml.config_mut().allow_unmatched_ends = true;
    let mut parser = Parser {
        xml,
        offset: fragment.offset,
        is_in_set: fragment.is_in_set,
        has_root: fragment.is_in_set,
        open: Vec::with_capacity(16),
        fields: MedlineFields::new(fragment.style),
        citation_depth: None,
        document: None,
    };
    while parser.step()? {}
    parser.finish(fragment.is_last)
}

struct Parser<'a> {
    xml: Reader<&'a [u8]>,
    offset: u64,
    /// Whether the `<PubmedArticleSet>` is open.
    is_in_set: bool,
    /// Whether there was a root element.
    has_root: bool,
    /// The open elements inside the set.
    open: Vec<Element>,
    fields: MedlineFields<'a>,
    citation_depth: Option<usize>,
    document: Option<Document<'a>>,
}

impl<'a> Parser<'a> {
    /// Takes one event; false at the end.
    fn step(&mut self) -> Result<bool, BrokenReason> {
        match self
            .xml
            .read_event()
            .map_err(|error| self.xml_error(error))?
        {
            Event::Decl(declaration) => self.check_encoding(&declaration)?,
            Event::Start(start) => self.start(&start)?,
            Event::Text(text) if self.fields.is_capturing() => {
                self.fields.text(text.xml10_content())
            }
            Event::CData(text) if self.fields.is_capturing() => {
                self.fields.text(text.xml10_content())
            }
            Event::GeneralRef(reference) => self.reference(&reference)?,
            Event::End(end) => self.end(end.name().as_ref())?,
            Event::Eof => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    fn start(&mut self, start: &BytesStart<'a>) -> Result<(), BrokenReason> {
        let name = start.name();
        let element = Element::from_name(name.as_ref());
        if !self.has_root && !matches!(element, Element::PubmedArticleSet | Element::PubmedArticle)
        {
            return Err(self.content_error(
                "the root element <PubmedArticleSet>",
                format!("<{}>", shortened(name.as_ref())),
                "only MEDLINE citations are read, as PubMed distributes them",
            ));
        }
        if element == Element::PubmedArticleSet && !self.has_root {
            (self.has_root, self.is_in_set) = (true, true);
            return Ok(());
        }
        self.has_root = true;
        let parent = self.open.last().copied().unwrap_or(Element::Other);
        self.open.push(element);
        if element == Element::PubmedArticle {
            self.citation_depth.get_or_insert(self.open.len());
        }
        if self.citation_depth.is_some() && element != Element::Other || self.fields.is_capturing()
        {
            self.fields.start(start, (element, parent), self.open.len());
        }
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<(), BrokenReason> {
        let depth = self.open.len();
        if self.open.pop().is_none() {
            if self.is_in_set && name == "PubmedArticleSet" {
                self.is_in_set = false;
                return Ok(());
            }
            return Err(self.content_error(
                "an end that belongs to a start",
                format!("</{}>", shortened(name)),
                "is the file whole? fetch it again",
            ));
        }
        self.fields.end(depth);
        if self.citation_depth == Some(depth) {
            self.citation_depth = None;
            self.document = self.fields.finish();
        }
        Ok(())
    }

    /// `&amp;` and its like, and `&#233;`; there are no others without a document type.
    fn reference(&mut self, reference: &BytesRef<'a>) -> Result<(), BrokenReason> {
        let character = reference
            .resolve_char_ref()
            .map_err(|error| self.xml_error(error))?;
        let name = reference.xml10_content();
        let text = match (character, name.as_ref()) {
            (Some(character), _) => {
                self.fields.push(character.encode_utf8(&mut [0; 4]));
                return Ok(());
            }
            (None, "amp") => "&",
            (None, "lt") => "<",
            (None, "gt") => ">",
            (None, "apos") => "'",
            (None, "quot") => "\"",
            (None, other) => {
                return Err(self.content_error(
                    "one of the five entities of XML, or a character number",
                    format!("&{};", shortened(other)),
                    "replace the entity by its text; document types are not read",
                ));
            }
        };
        self.fields.push(text);
        Ok(())
    }

    fn check_encoding(&self, declaration: &BytesDecl<'a>) -> Result<(), BrokenReason> {
        match declaration.encoding() {
            Some(Ok(encoding))
                if !["utf-8", "utf8", "us-ascii"]
                    .contains(&encoding.to_ascii_lowercase().as_str()) =>
            {
                Err(self.content_error(
                    "the encoding utf-8",
                    format!("`{}`", shortened(&encoding)),
                    "convert the file, for instance with `iconv -t UTF-8`",
                ))
            }
            _ => Ok(()),
        }
    }

    /// What is open at the end of a fragment must be what its place in the file says.
    fn finish(self, is_last: bool) -> Result<Option<Document<'a>>, BrokenReason> {
        let is_cut = is_last && (self.is_in_set || !self.has_root);
        if self.open.is_empty() && !is_cut {
            return Ok(self.document);
        }
        let n_open = self.open.len() + usize::from(self.is_in_set);
        if is_last {
            return Err(self.content_error(
                "a closed <PubmedArticleSet>",
                format!("the end of the file with {n_open} elements open"),
                "the file is cut off; fetch it again",
            ));
        }
        Err(self.content_error(
            "a closed <PubmedArticle>",
            format!(
                "the end of the citation with {} elements open",
                self.open.len()
            ),
            "correct or remove the citation",
        ))
    }

    fn xml_error(&self, error: quick_xml::Error) -> BrokenReason {
        BrokenReason::Xml {
            byte: self.byte(),
            source: Box::new(error),
        }
    }

    fn content_error(
        &self,
        expected: &'static str,
        found: String,
        hint: &'static str,
    ) -> BrokenReason {
        BrokenReason::XmlContent {
            byte: self.byte(),
            expected,
            found,
            hint,
        }
    }

    /// Position in the decompressed file.
    fn byte(&self) -> u64 {
        self.offset + self.xml.buffer_position()
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}
