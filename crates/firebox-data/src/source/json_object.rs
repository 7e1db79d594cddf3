//! The known fields of one JSON object; the others are checked and passed over.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::BrokenReason;
use super::error::shown_names;
use super::json_messages::Messages;
use super::json_values::{List, Optional, Scalar, Skipped, Text};
use super::options::{Field, FieldNames};
use crate::Message;

/// What an object says of a document.
///
/// Strings without escapes borrow from the line.
#[derive(Debug, Default)]
pub(crate) struct JsonFields<'a> {
    pub(crate) text: Option<Cow<'a, str>>,
    pub(crate) id: Option<Cow<'a, str>>,
    pub(crate) title: Option<Cow<'a, str>>,
    pub(crate) year: Option<u16>,
    pub(crate) mesh_terms: Vec<Cow<'a, str>>,
    pub(crate) messages: Option<Vec<Message>>,
}

/// Parses one object; `messages` only where a conversation may be a record.
#[inline]
pub(crate) fn parse_object<'a>(
    line: &'a str,
    names: &FieldNames,
    with_messages: bool,
) -> Result<JsonFields<'a>, BrokenReason> {
    let mut parser = sonic_rs::Deserializer::from_str(line);
    let object = Object {
        names,
        with_messages,
    };
    let fields = object
        .deserialize(&mut parser)
        .and_then(|fields| parser.end().map(|()| fields));
    fields.map_err(|error| json_error(&error))
}

/// What the parser says, without the excerpt of the line that it would print below.
fn json_error(error: &sonic_rs::Error) -> BrokenReason {
    let text = error.to_string();
    let message = text.lines().next().unwrap_or_default().to_string();
    BrokenReason::Json { message }
}

/// The fields that a line does have.
#[cold]
pub(crate) fn field_names(line: &str) -> String {
    let fields: std::collections::BTreeMap<String, IgnoredAny> =
        serde_json::from_str(line).unwrap_or_default();
    shown_names(fields.keys().map(String::as_str), "no fields")
}

#[derive(Clone, Copy)]
struct Object<'n> {
    names: &'n FieldNames,
    with_messages: bool,
}

/// What a key stands for.
#[derive(Clone, Copy)]
enum Key {
    Field(Field),
    Messages,
    Other,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = JsonFields<'de>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = JsonFields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object")
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = JsonFields::default();
        let mut has_text = false;
        while let Some(key) = map.next_key_seed(KeySeed(self))? {
            match key {
                Key::Field(Field::Text) => {
                    if std::mem::replace(&mut has_text, true) {
                        return Err(de::Error::custom("the text's field twice"));
                    }
                    fields.text = map.next_value_seed(Optional(Text))?;
                }
                Key::Field(Field::Id) => fields.id = map.next_value_seed(Optional(Scalar))?,
                Key::Field(Field::Title) => fields.title = map.next_value_seed(Optional(Text))?,
                Key::Field(Field::Year) => {
                    let year = map.next_value_seed(Optional(Scalar))?;
                    fields.year = year.map(|year| parse_year(&year)).transpose()?;
                }
                Key::Field(Field::MeshTerms) => {
                    fields.mesh_terms = map.next_value_seed(Optional(List))?.unwrap_or_default();
                }
                Key::Messages => fields.messages = map.next_value_seed(Optional(Messages))?,
                Key::Other => map.next_value_seed(Skipped)?,
            }
        }
        Ok(fields)
    }
}

fn parse_year<E: de::Error>(year: &str) -> Result<u16, E> {
    year.trim().parse().map_err(|_| {
        let year: String = year.chars().take(32).collect();
        E::custom(format!(
            "expected the year as a whole number up to 65535, or null, found `{year}`"
        ))
    })
}

struct KeySeed<'n>(Object<'n>);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    #[inline]
    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        Ok(match self.0.names.field(name) {
            Some(field) => Key::Field(field),
            None if self.0.with_messages && name == "messages" => Key::Messages,
            None => Key::Other,
        })
    }
}
