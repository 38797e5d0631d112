//! A statement with its values, written before it is known for which database.

use chrono::{DateTime, Utc};
use cti_actors::id::AppId;
use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::store::db::types::Id;

/// A value for a placeholder.
pub(super) enum Value {
    App(AppId),
    Text(String),
    Int(i64),
    Time(DateTime<Utc>),
    Id(Id),
}

/// A statement and its values. Placeholders are written when it is appended to a query.
#[derive(Default)]
pub(super) struct Sql {
    parts: Vec<(String, Option<Value>)>,
}

impl Sql {
    pub(super) fn push(&mut self, text: impl Into<String>) -> &mut Self {
        self.parts.push((text.into(), None));
        self
    }

    pub(super) fn bind(&mut self, text: impl Into<String>, value: Value) -> &mut Self {
        self.parts.push((text.into(), Some(value)));
        self
    }

    pub(super) fn append_to<DB>(self, query: &mut QueryBuilder<DB>)
    where
        DB: Database,
        Id: for<'q> Encode<'q, DB> + Type<DB>,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
        String: for<'q> Encode<'q, DB> + Type<DB>,
        DateTime<Utc>: for<'q> Encode<'q, DB> + Type<DB>,
    {
        for (text, value) in self.parts {
            query.push(text);
            match value {
                None => {}
                Some(Value::App(app)) => _ = query.push_bind(Id::from(app)),
                Some(Value::Text(text)) => _ = query.push_bind(text),
                Some(Value::Int(number)) => _ = query.push_bind(number),
                Some(Value::Time(at)) => _ = query.push_bind(at),
                Some(Value::Id(id)) => _ = query.push_bind(id),
            }
        }
    }
}
