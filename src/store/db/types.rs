//! Types that are stored differently by the two databases, and decoded alike.
//!
//! A view derives `sqlx::FromRow`. Its fields decode by themselves, or through a type of this file that
//! `#[sqlx(try_from = "…")]` names: [`Id`] and [`OptId`] for a UUID, [`Word`] and [`OptWord`] for an enum (the second one
//! may be null), [`NumberOrText`] for an id of Dialpad's that may be either, [`JsonText`] for JSON.

use std::str::FromStr;

use cti_actors::{
    event::{RecordingBody, number_or_text},
    id::AppId,
    model::call::{Direction, Leg, Outcome, Status},
};
use serde_json::Value;
use sqlx::{
    Database, Decode, Encode, FromRow, Postgres, Sqlite, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgHasArrayType, PgRow, PgTypeInfo},
    sqlite::SqliteRow,
};
use uuid::Uuid;

/// A row of either database.
pub(crate) trait AnyRow:
    for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin
{
}

impl<T> AnyRow for T where T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}

/// A UUID: `UUID` on PostgreSQL, readable text on SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(pub(crate) Uuid);

impl Type<Postgres> for Id {
    fn type_info() -> PgTypeInfo {
        <Uuid as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Id {
    fn array_type_info() -> PgTypeInfo {
        <Uuid as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Id {
    fn encode_by_ref(&self, buf: &mut <Postgres as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <Uuid as Encode<'_, Postgres>>::encode_by_ref(&self.0, buf)
    }
}

impl<'r> Decode<'r, Postgres> for Id {
    fn decode(value: <Postgres as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        <Uuid as Decode<'r, Postgres>>::decode(value).map(Self)
    }
}

impl Type<Sqlite> for Id {
    fn type_info() -> <Sqlite as Database>::TypeInfo {
        <String as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Id {
    fn encode_by_ref(&self, buf: &mut <Sqlite as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <String as Encode<'_, Sqlite>>::encode(self.0.to_string(), buf)
    }
}

impl<'r> Decode<'r, Sqlite> for Id {
    fn decode(value: <Sqlite as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = <&str as Decode<'r, Sqlite>>::decode(value)?;
        Ok(Self(text.parse()?))
    }
}

impl From<Id> for Uuid {
    fn from(id: Id) -> Self {
        id.0
    }
}

macro_rules! id_conversions {
    ($($name:ident),*) => {$(
        impl From<cti_actors::id::$name> for Id {
            fn from(id: cti_actors::id::$name) -> Self {
                Self(id.0)
            }
        }

        impl From<Id> for cti_actors::id::$name {
            fn from(id: Id) -> Self {
                Self(id.0)
            }
        }
    )*};
}

id_conversions!(AppId, CallId, Epoch, EventId, InteractionId, JournalId, KeyId, MessageId, VoicemailId);

/// Returns the smallest id that could have been generated at this instant.
pub(crate) fn first_id_at(at: chrono::DateTime<chrono::Utc>) -> Id {
    let milliseconds = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    Id(uuid::Builder::from_unix_timestamp_millis(milliseconds, &[0; 10]).into_uuid())
}

/// A UUID that may be null.
#[derive(Type)]
#[sqlx(transparent, no_pg_array)]
pub(crate) struct OptId(Option<Id>);

impl From<OptId> for Option<AppId> {
    fn from(id: OptId) -> Self {
        id.0.map(Into::into)
    }
}

/// An enum, stored as its word.
pub(crate) struct Word<T>(T);

impl<DB: Database, T> Type<DB> for Word<T>
where
    String: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <String as Type<DB>>::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        <String as Type<DB>>::compatible(ty)
    }
}

impl<'r, DB: Database, T> Decode<'r, DB> for Word<T>
where
    &'r str: Decode<'r, DB>,
    T: FromStr<Err: Into<BoxDynError>>,
{
    fn decode(value: <DB as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        <&str as Decode<'r, DB>>::decode(value)?.parse().map(Self).map_err(Into::into)
    }
}

/// An enum that may be null.
pub(crate) struct OptWord<T>(Option<T>);

impl<DB: Database, T> Type<DB> for OptWord<T>
where
    String: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <String as Type<DB>>::type_info()
    }

    fn compatible(ty: &DB::TypeInfo) -> bool {
        <String as Type<DB>>::compatible(ty)
    }
}

impl<'r, DB: Database, T> Decode<'r, DB> for OptWord<T>
where
    Option<Word<T>>: Decode<'r, DB>,
{
    fn decode(value: <DB as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let word = <Option<Word<T>> as Decode<'r, DB>>::decode(value)?;
        Ok(Self(word.map(|word| word.0)))
    }
}

macro_rules! words {
    ($($enum:ty),*) => {$(
        impl From<Word<$enum>> for $enum {
            fn from(word: Word<$enum>) -> Self {
                word.0
            }
        }

        impl From<OptWord<$enum>> for Option<$enum> {
            fn from(word: OptWord<$enum>) -> Self {
                word.0
            }
        }
    )*};
}

words!(Direction, Leg, Outcome, Status);

/// An id of Dialpad's that is a number or a text, stored as text. May be null.
#[derive(Type)]
#[sqlx(transparent, no_pg_array)]
pub(crate) struct NumberOrText(Option<String>);

/// JSON, selected as text. May be null.
#[derive(Type)]
#[sqlx(transparent, no_pg_array)]
pub(crate) struct JsonText(Option<String>);

impl JsonText {
    fn parse<T: serde::de::DeserializeOwned>(self) -> Option<T> {
        serde_json::from_str(&self.0?).ok()
    }
}

impl From<JsonText> for Option<Value> {
    fn from(json: JsonText) -> Self {
        json.parse()
    }
}

impl From<JsonText> for Vec<String> {
    fn from(json: JsonText) -> Self {
        json.parse().unwrap_or_default()
    }
}

impl From<JsonText> for Vec<RecordingBody> {
    fn from(json: JsonText) -> Self {
        json.parse().unwrap_or_default()
    }
}

impl From<NumberOrText> for Option<Value> {
    fn from(id: NumberOrText) -> Self {
        id.0.as_deref().map(number_or_text)
    }
}

impl From<NumberOrText> for Value {
    fn from(id: NumberOrText) -> Self {
        Option::from(id).unwrap_or_default()
    }
}
