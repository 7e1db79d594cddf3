//! What a body may have, said once: the check of a request and the OpenAPI document read the same schema.

use serde_json::{Map, Number, Value};
use utoipa::{
    Number as Bound, ToSchema,
    openapi::{
        Object, ObjectBuilder, RefOr, Schema as Described,
        schema::{AdditionalProperties, SchemaType, Type},
    },
};

use crate::error::{ApiError, clipped};

/// The fields of an endpoint's body.
pub(crate) struct Schema {
    object: Object,
    /// The schemas that it refers to.
    parts: Vec<(String, RefOr<Described>)>,
    /// Fields that the API has and this server does not, each with the value (as JSON) that changes
    /// nothing. That value is accepted, and so is `null`.
    unsupported: &'static [(&'static str, &'static str)],
}

impl Schema {
    /// The fields of a struct, and no others.
    pub(crate) fn of<T: ToSchema>() -> Self {
        let schema = Self {
            object: ObjectBuilder::new()
                .schema_type(Type::Object)
                .additional_properties(Some(AdditionalProperties::FreeForm(false)))
                .build(),
            parts: Vec::new(),
            unsupported: &[],
        };
        schema.and::<T>()
    }

    /// Those of another struct as well.
    pub(crate) fn and<T: ToSchema>(mut self) -> Self {
        if let RefOr::T(Described::Object(object)) = T::schema() {
            self.object.properties.extend(object.properties);
            self.object.required.extend(object.required);
        }
        T::schemas(&mut self.parts);
        self
    }

    /// Fields of which only the value that changes nothing is accepted.
    pub(crate) fn without(mut self, unsupported: &'static [(&'static str, &'static str)]) -> Self {
        for (name, neutral) in unsupported {
            let neutral: Value = serde_json::from_str(neutral).unwrap_or_default();
            let mut values = vec![Value::Null, neutral];
            values.dedup();
            let field = ObjectBuilder::new()
                .schema_type(SchemaType::AnyValue)
                .enum_values(Some(values))
                .description(Some(
                    "Not supported: only the value that changes nothing is accepted.",
                ));
            let property = ((*name).to_owned(), field.into());
            self.object.properties.extend([property]);
        }
        self.unsupported = unsupported;
        self
    }

    /// Changes what is said of a field.
    pub(crate) fn with(mut self, name: &str, change: impl FnOnce(&mut Object)) -> Self {
        if let Some(RefOr::T(Described::Object(field))) = self.object.properties.get_mut(name) {
            change(field);
        }
        self
    }

    /// For the document.
    pub(crate) fn described(&self) -> RefOr<Described> {
        self.object.clone().into()
    }

    pub(crate) fn parts(&self) -> &[(String, RefOr<Described>)] {
        &self.parts
    }

    /// Checks the names of the fields, and the ranges of numbers.
    pub(crate) fn check(&self, object: &Map<String, Value>) -> Result<(), ApiError> {
        for (name, value) in object {
            self.check_field(name, value)?;
        }
        let mut required = self.object.required.iter();
        match required.find(|name| !object.contains_key(*name)) {
            Some(param) => Err(ApiError::MissingField {
                param: param.clone(),
            }),
            None => Ok(()),
        }
    }

    fn check_field(&self, name: &str, value: &Value) -> Result<(), ApiError> {
        let param = clipped(name);
        if let Some((_, neutral)) = self.unsupported.iter().find(|(known, _)| *known == name) {
            return check_neutral(param, value, neutral);
        }
        match (self.object.properties.get(name), value) {
            (None, _) => Err(ApiError::UnknownField {
                param,
                fields: self.supported(),
            }),
            (Some(RefOr::T(Described::Object(field))), Value::Number(number))
                if is_number(field) && !fits(field, number) =>
            {
                Err(ApiError::FieldValue {
                    param,
                    expected: range(field),
                    found: number.to_string(),
                })
            }
            // Other types are found to be wrong when the body is parsed.
            (Some(_), _) => Ok(()),
        }
    }

    fn supported(&self) -> Vec<String> {
        let names = self.object.properties.keys();
        let is_supported = |name: &&String| self.unsupported.iter().all(|(known, _)| known != name);
        names.filter(is_supported).cloned().collect()
    }
}

/// A type of the document with the schema of a body.
macro_rules! body_type {
    ($name:ident, $title:literal, $schema:path) => {
        pub(crate) struct $name;

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $schema.described()
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                $title.into()
            }

            fn schemas(
                schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>,
            ) {
                schemas.extend_from_slice($schema.parts());
            }
        }
    };
}
pub(crate) use body_type;

/// Of fields that clients send back and nothing is in.
pub(crate) fn only_null() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Null)
        .description(Some("Only null."))
}

fn check_neutral(param: String, value: &Value, neutral: &str) -> Result<(), ApiError> {
    if value.is_null() || same(value, neutral) {
        return Ok(());
    }
    let hint = match neutral {
        "null" => String::new(),
        neutral => format!(" (hint: leave it out, or send {neutral})"),
    };
    Err(ApiError::Unsupported { param, hint })
}

/// Whether `value` is the one written in `neutral`; `0` and `0.0` are the same.
fn same(value: &Value, neutral: &str) -> bool {
    serde_json::from_str(neutral).is_ok_and(|neutral: Value| {
        match (value.as_f64(), neutral.as_f64()) {
            (Some(value), Some(neutral)) => value == neutral,
            _ => *value == neutral,
        }
    })
}

fn has_type(field: &Object, wanted: &Type) -> bool {
    match &field.schema_type {
        SchemaType::Type(found) => found == wanted,
        SchemaType::Array(found) => found.contains(wanted),
        SchemaType::AnyValue => false,
    }
}

fn is_number(field: &Object) -> bool {
    has_type(field, &Type::Integer) || has_type(field, &Type::Number)
}

/// A number without a fraction, however it is written: `16` or `16.0`.
pub(crate) fn whole(number: &Number) -> Option<i128> {
    let real = || number.as_f64().filter(|real| real.fract() == 0.0);
    number.as_i128().or_else(|| real().map(|real| real as i128))
}

/// The bounds are compared as whole numbers where the field is one, since f64 has 53 bits.
fn fits(field: &Object, number: &Number) -> bool {
    if has_type(field, &Type::Integer) {
        let Some(number) = whole(number) else {
            return false;
        };
        let bound = |bound: &Option<Bound>| bound.as_ref().map(whole_bound);
        return bound(&field.minimum).is_none_or(|least| number >= least)
            && bound(&field.maximum).is_none_or(|most| number <= most);
    }
    let number = number.as_f64().unwrap_or(f64::NAN);
    let bound = |bound: &Option<Bound>| bound.as_ref().map(real_bound);
    bound(&field.minimum).is_none_or(|least| number >= least)
        && bound(&field.maximum).is_none_or(|most| number <= most)
        && bound(&field.exclusive_minimum).is_none_or(|least| number > least)
        && bound(&field.exclusive_maximum).is_none_or(|most| number < most)
}

fn whole_bound(bound: &Bound) -> i128 {
    match bound {
        Bound::Int(bound) => *bound as i128,
        Bound::UInt(bound) => *bound as i128,
        Bound::Float(bound) => *bound as i128,
    }
}

fn real_bound(bound: &Bound) -> f64 {
    match bound {
        Bound::Int(bound) => *bound as f64,
        Bound::UInt(bound) => *bound as f64,
        Bound::Float(bound) => *bound,
    }
}

/// "a whole number from 1 to 128", "a number above 0 and up to 1".
fn range(field: &Object) -> String {
    let kind = match has_type(field, &Type::Integer) {
        true => "a whole number",
        false => "a number",
    };
    let shown = |bound: &Option<Bound>| bound.as_ref().map(|bound| real_bound(bound).to_string());
    let exact = |bound: &Option<Bound>| bound.as_ref().map(|bound| whole_bound(bound).to_string());
    let inclusive = match has_type(field, &Type::Integer) {
        true => (exact(&field.minimum), exact(&field.maximum)),
        false => (shown(&field.minimum), shown(&field.maximum)),
    };
    let (above, below) = (
        shown(&field.exclusive_minimum),
        shown(&field.exclusive_maximum),
    );
    match (inclusive, above, below) {
        ((Some(least), Some(most)), ..) => format!("{kind} from {least} to {most}"),
        ((Some(least), None), _, Some(below)) => format!("{kind} from {least} and below {below}"),
        ((Some(least), None), ..) => format!("{kind} from {least} up"),
        ((None, Some(most)), Some(above), _) => format!("{kind} above {above} and up to {most}"),
        _ => kind.to_owned(),
    }
}
