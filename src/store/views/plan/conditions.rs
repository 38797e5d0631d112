//! The conditions of a list: which of them choose an index, and how the others are written beside them.

use cti_actors::{event::NumberFilter, model::call::Direction};

use super::{
    Driver, PageQuery, Part,
    sql::{Sql, Value},
};
use crate::store::db::types::Id;

/// Hides a column from SQLite's choice of an index.
pub(super) fn hidden(column: &str) -> String {
    format!("CASE WHEN 1 = 1 THEN {column} END")
}

fn column_if(is_plain: bool, column: &str) -> String {
    if is_plain { column.to_owned() } else { hidden(column) }
}

/// Returns the number of a side as filters compare it: in E.164 form, or literally where it is no phone number. The indexes
/// have this expression.
fn number_column(alias: &str, side: &str) -> String {
    format!("COALESCE({alias}{side}_e164, {alias}{side}_number)")
}

/// Returns what [`number_column`] is compared with.
pub(in crate::store::views) fn key(number: &NumberFilter) -> String {
    number.e164().unwrap_or_else(|| number.literal()).to_owned()
}

fn push_number(sql: &mut Sql, column: &str, number: &NumberFilter) {
    sql.bind(format!("{column} = "), Value::Text(key(number)));
}

impl PageQuery<'_> {
    pub(super) fn push_in_order(&self, sql: &mut Sql, alias: &str) {
        if self.listed.is_narrowed {
            let conditions: Vec<&str> = self.listed.parts.iter().map(|part| &*part.condition).collect();
            sql.push(format!(" AND ({})", conditions.join(" OR ")));
        }
        if let Some(direction) = self.filter.direction {
            let column = hidden(&format!("{alias}direction"));
            sql.bind(format!(" AND {column} = "), Value::Text(direction.as_str().to_owned()));
        }
        if let Some(from) = &self.filter.from {
            sql.push(" AND ");
            push_number(sql, &hidden(&number_column(alias, "from")), from);
        }
        if let Some(to) = &self.filter.to {
            sql.push(" AND ");
            self.push_to(sql, alias, to);
        }
        self.push_either(sql, alias);
        self.push_also(sql, alias);
        self.push_users(sql, alias, None);
        if self.filter.by_change() {
            self.push_times(sql, alias, Some("updated_at"));
        } else if let Some(cursor) = self.cursor {
            sql.bind(format!(" AND {alias}id < "), Value::Id(Id(cursor.id)));
        }
    }

    /// Writes the conditions that choose the index and the range in it.
    pub(super) fn push_driver(
        &self,
        sql: &mut Sql,
        part: &Part,
        driver: Driver,
        direction: Option<Option<Direction>>,
        user: Option<i64>,
    ) {
        sql.bind(" WHERE app_id = ", Value::App(self.app));
        if !part.condition.is_empty() {
            sql.push(format!(" AND {}", part.condition));
        }
        let direction = direction.or(self.filter.direction.map(Some));
        let chooses = !matches!(driver, Driver::Nothing | Driver::Recipients | Driver::Changes);
        let column = column_if(chooses, "direction");
        match direction {
            Some(Some(direction)) => {
                sql.bind(format!(" AND {column} = "), Value::Text(direction.as_str().to_owned()));
            }
            Some(None) => _ = sql.push(format!(" AND {column} IS NULL")),
            None => {}
        }
        match driver {
            Driver::From => {
                if let Some(number) = self.filter.from.as_ref().or(self.filter.number.as_ref()) {
                    sql.push(" AND ");
                    push_number(sql, &number_column("", "from"), number);
                }
            }
            Driver::To => {
                if let Some(number) = self.filter.to.as_ref().or(self.filter.number.as_ref()) {
                    sql.push(" AND ");
                    push_number(sql, &number_column("", "to"), number);
                }
            }
            Driver::Recipients => {
                sql.push(" AND to_number LIKE '%,%'");
                if let Some(number) = self.filter.number.as_ref().filter(|_| self.is_by_number()) {
                    sql.push(" AND ");
                    self.push_to(sql, "", number);
                }
            }
            Driver::User => match user {
                Some(user) => _ = sql.bind(" AND dialpad_user_id = ", Value::Int(user)),
                None => self.push_user_list(sql, "dialpad_user_id"),
            },
            Driver::Also => {
                if let Some((column, value)) = &self.listed.also {
                    sql.bind(format!(" AND {column} = "), Value::Text(value.clone()));
                }
            }
            Driver::Direction | Driver::Changes | Driver::Nothing => {}
        }
    }

    /// Writes the conditions that choose nothing, and the times.
    pub(super) fn push_rest(&self, sql: &mut Sql, part: &Part, driver: Driver, user: Option<i64>) {
        if let Some(from) = self.filter.from.as_ref().filter(|_| driver != Driver::From) {
            sql.push(" AND ");
            push_number(sql, &hidden(&number_column("", "from")), from);
        }
        if let Some(to) = self.filter.to.as_ref().filter(|_| driver != Driver::To) {
            sql.push(" AND ");
            self.push_to(sql, "", to);
        }
        if !self.is_by_number() || matches!(driver, Driver::Nothing | Driver::Changes) {
            self.push_either(sql, "");
        }
        if driver != Driver::Also {
            self.push_also(sql, "");
        }
        if driver != Driver::User {
            self.push_users(sql, "", user);
        }
        self.push_times(sql, "", (driver == Driver::Changes).then_some(part.changed));
    }

    fn push_to(&self, sql: &mut Sql, alias: &str, to: &NumberFilter) {
        let column = number_column(alias, "to");
        if !self.listed.has_recipients {
            push_number(sql, &hidden(&column), to);
            return;
        }
        // One of several numbers is this one if removing it changes the text.
        let form = if to.e164().is_some() { "to_e164" } else { "to_number" };
        let numbers = format!("(',' || {alias}{form} || ',')");
        sql.bind(format!("REPLACE({numbers}, "), Value::Text(format!(",{},", key(to))));
        sql.push(format!(", '') <> {numbers}"));
    }

    /// Writes the condition that a number is on either side.
    fn push_either(&self, sql: &mut Sql, alias: &str) {
        if let Some(number) = &self.filter.number {
            sql.push(" AND (");
            push_number(sql, &hidden(&number_column(alias, "from")), number);
            sql.push(" OR ");
            self.push_to(sql, alias, number);
            sql.push(")");
        }
    }

    fn push_also(&self, sql: &mut Sql, alias: &str) {
        if let Some((column, value)) = &self.listed.also {
            let column = hidden(&format!("{alias}{column}"));
            sql.bind(format!(" AND {column} = "), Value::Text(value.clone()));
        }
    }

    fn push_users(&self, sql: &mut Sql, alias: &str, user: Option<i64>) {
        let column = hidden(&format!("{alias}dialpad_user_id"));
        match (user, &self.users) {
            (Some(user), _) => _ = sql.bind(format!(" AND {column} = "), Value::Int(user)),
            (None, Some(_)) => self.push_user_list(sql, &column),
            (None, None) => {}
        }
    }

    fn push_user_list(&self, sql: &mut Sql, column: &str) {
        sql.push(format!(" AND {column} IN ("));
        for (index, user) in self.users.iter().flatten().enumerate() {
            sql.bind(if index == 0 { "" } else { ", " }, Value::Int(*user));
        }
        sql.push(")");
    }

    /// Writes the conditions on time and the cursor: on `created_at`, or with `since` on `updated_at`, or on the column of
    /// the index of changes that they choose.
    pub(super) fn push_times(&self, sql: &mut Sql, alias: &str, chosen: Option<&str>) {
        let id = format!("{alias}id");
        if let Some(since) = self.filter.since {
            let changed = chosen
                .map_or_else(|| hidden(&format!("{alias}updated_at")), |column| format!("{alias}{column}"));
            sql.bind(format!(" AND {changed} >= "), Value::Time(since));
            if let Some(until) = self.filter.until {
                sql.bind(format!(" AND {changed} < "), Value::Time(until));
            }
            if let Some(cursor) = self.cursor {
                sql.bind(format!(" AND ({changed}, {id}) > ("), Value::Time(cursor.at));
                sql.bind(", ", Value::Id(Id(cursor.id))).push(")");
            }
            return;
        }
        let created = format!("{alias}created_at");
        if let Some(until) = self.filter.until {
            sql.bind(format!(" AND {created} < "), Value::Time(until));
        }
        if let Some(cursor) = self.cursor {
            sql.bind(format!(" AND ({created}, {id}) < ("), Value::Time(cursor.at));
            sql.bind(", ", Value::Id(Id(cursor.id))).push(")");
        }
    }
}
