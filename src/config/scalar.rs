//! The values of `config.toml` that have a unit, a syntax or bounds: each is valid once it is made.
//!
//! They serialize to what the file could say, and their JSON Schema says what the parser takes.

use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

mod syntax;

use syntax::{BoundedDuration, BoundedSize};
pub(crate) use syntax::{PolicyName, Protocol};

/// A duration from `MIN` to `MAX` milliseconds.
pub(crate) type Period<const MIN: u64, const MAX: u64> = Text<BoundedDuration<MIN, MAX>>;
/// A number of bytes from `MIN` to `MAX`.
pub(crate) type Size<const MIN: u64, const MAX: u64> = Text<BoundedSize<MIN, MAX>>;
/// A share from 0 to 1.
pub(crate) type Share = Decimal<0, 1000>;

/// Something that is a string in TOML and has a syntax.
pub(crate) trait Syntax: Sized {
    /// What is allowed, for problems.
    fn expected(f: &mut fmt::Formatter<'_>) -> fmt::Result;
    /// The value, if the text has the syntax and the value is within bounds.
    fn parse(text: &str) -> Option<Self>;
    /// The text that [`Syntax::parse`] makes the same value of.
    fn print(&self) -> String;
    /// The only texts allowed; empty when there are too many to name.
    fn words() -> &'static [&'static str] {
        &[]
    }
}

/// A [`Syntax`] value as a string of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<T>(pub(crate) T);

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Whole<const MIN: u32, const MAX: u32>(pub(crate) u32);

/// A number from `MIN` to `MAX` thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Decimal<const MIN: u32, const MAX: u32>(pub(crate) f64);

/// [`Syntax::expected`] as a value that can be formatted.
pub(crate) struct Expected<T>(PhantomData<T>);

impl<T> Expected<T> {
    /// What `T` allows.
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Syntax> fmt::Display for Expected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::expected(f)
    }
}

impl<'de, T: Syntax> Visitor<'de> for Expected<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::expected(f)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<T>, E> {
        T::parse(text)
            .map(Text)
            .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl<'de, T: Syntax> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Expected(PhantomData))
    }
}

impl<T: Syntax> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.print())
    }
}

impl<T: Syntax> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        match T::words() {
            [] => json_schema!({ "type": "string" }),
            words => json_schema!({ "type": "string", "enum": words }),
        }
    }
}

impl<const MIN: u32, const MAX: u32> Whole<MIN, MAX> {
    /// The number, to count with.
    pub(crate) fn count(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Takes whole numbers of any width.
struct WholeVisitor<const MIN: u32, const MAX: u32>;

impl<const MIN: u32, const MAX: u32> Visitor<'_> for WholeVisitor<MIN, MAX> {
    type Value = Whole<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {MIN} to {MAX}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        match u32::try_from(number) {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Whole(number)),
            _ => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(WholeVisitor)
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Whole<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "whole number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// Takes whole and decimal numbers.
struct DecimalVisitor<const MIN: u32, const MAX: u32>;

impl<const MIN: u32, const MAX: u32> Visitor<'_> for DecimalVisitor<MIN, MAX> {
    type Value = Decimal<MIN, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (thousandths(MIN), thousandths(MAX));
        write!(f, "a number from {min} to {max}")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        // Not-a-number is in no range.
        if (thousandths(MIN)..=thousandths(MAX)).contains(&number) {
            Ok(Decimal(number))
        } else {
            Err(E::invalid_value(Unexpected::Float(number), &self))
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        match u32::try_from(number) {
            Ok(small) if (thousandths(MIN)..=thousandths(MAX)).contains(&f64::from(small)) => {
                Ok(Decimal(f64::from(small)))
            }
            _ => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Decimal<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_f64(DecimalVisitor)
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Decimal<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": thousandths(MIN), "maximum": thousandths(MAX) })
    }
}

fn thousandths(number: u32) -> f64 {
    f64::from(number) / 1000.0
}
