//! Ids of tokens in bodies.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Number;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Object, RefOr, Schema, schema::Type},
};

use crate::schema::whole;

/// An id, which need not be in the vocabulary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenId(pub(crate) u32);

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = Number::deserialize(deserializer)?;
        let id = whole(&found).and_then(|id| u32::try_from(id).ok());
        let wrong = || D::Error::custom(format!("expected a token id, found {found}"));
        id.map(Self).ok_or_else(wrong)
    }
}

impl PartialSchema for TokenId {
    fn schema() -> RefOr<Schema> {
        let id = Object::builder()
            .schema_type(Type::Integer)
            .minimum(Some(0))
            .maximum(Some(u32::MAX));
        id.into()
    }
}

impl ToSchema for TokenId {}
