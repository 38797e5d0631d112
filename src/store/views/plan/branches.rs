//! The branches that together have the rows of a list: each reads the first rows of one range of an index.

use cti_actors::model::call::Direction;

use super::{Driver, MAX_USER_BRANCHES, PageQuery, Part, Plan, conditions::hidden, sql::Sql};

impl PageQuery<'_> {
    pub(super) fn push_branches(&self, plan: Plan, sql: &mut Sql, alias: &str) {
        sql.push(format!(" AND {alias}id IN (SELECT id FROM ("));
        let mut is_first = true;
        for part in &self.listed.parts {
            for (driver, direction, user) in self.branches(part, plan) {
                sql.push(if is_first { "" } else { " UNION ALL " });
                is_first = false;
                sql.push("SELECT id FROM (SELECT id FROM ");
                if let Some(order) = driver.order_of_few() {
                    // In the order of the small index, which SQLite would not choose otherwise.
                    sql.push("(SELECT id, created_at, updated_at FROM ").push(self.listed.table);
                    self.push_driver(sql, part, driver, direction, user);
                    self.push_rest(sql, part, driver, user);
                    sql.push(format!(" ORDER BY {order} LIMIT 1000000) AS small"));
                } else {
                    sql.push(self.listed.table);
                    self.push_driver(sql, part, driver, direction, user);
                    self.push_rest(sql, part, driver, user);
                }
                sql.push(match self.filter.by_change() {
                    true if driver == Driver::Changes => format!(" ORDER BY {}, id", part.changed),
                    true => format!(" ORDER BY {}, id", hidden("updated_at")),
                    false => " ORDER BY created_at DESC, id DESC".to_owned(),
                });
                sql.bind(" LIMIT ", self.row_limit()).push(") AS branch");
            }
        }
        sql.push(") AS page)");
    }

    /// Returns the branches that together have all rows of a part: which index each reads, and where.
    pub(super) fn branches(
        &self,
        part: &Part,
        plan: Plan,
    ) -> Vec<(Driver, Option<Option<Direction>>, Option<i64>)> {
        if !part.is_indexed {
            return vec![(Driver::Nothing, None, None)];
        }
        if plan == Plan::InOrder {
            return vec![(Driver::Changes, None, None)];
        }
        let directions = match self.filter.direction {
            Some(direction) => vec![Some(direction)],
            None => vec![Some(Direction::Inbound), Some(Direction::Outbound), None],
        };
        let mut branches = Vec::new();
        for direction in directions {
            for driver in self.drivers(direction) {
                match driver {
                    Driver::To if self.listed.has_recipients => {
                        branches.push((Driver::To, Some(direction), None));
                        branches.push((Driver::Recipients, Some(direction), None));
                    }
                    Driver::User => {
                        let users = self.users.as_deref().unwrap_or_default();
                        if users.len() > MAX_USER_BRANCHES {
                            branches.push((Driver::User, Some(direction), None));
                            continue;
                        }
                        branches
                            .extend(users.iter().map(|user| (Driver::User, Some(direction), Some(*user))));
                    }
                    driver => branches.push((driver, Some(direction), None)),
                }
            }
        }
        branches
    }

    /// Chooses the filter with the fewest rows. Of two numbers it is that of the other side: the company has few. A number
    /// on either side is looked for on both.
    fn drivers(&self, direction: Option<Direction>) -> Vec<Driver> {
        let driver = match (&self.filter.from, &self.filter.to) {
            (Some(_), Some(_)) if direction == Some(Direction::Outbound) => Driver::To,
            (Some(_), _) => Driver::From,
            (None, Some(_)) => Driver::To,
            (None, None) if self.is_by_number() => return vec![Driver::From, Driver::To],
            (None, None) if self.users.is_some() => Driver::User,
            (None, None) if self.listed.also.is_some() => Driver::Also,
            (None, None) => Driver::Direction,
        };
        vec![driver]
    }

    /// Whether a number on either side is what chooses the rows.
    pub(super) fn is_by_number(&self) -> bool {
        self.filter.number.is_some() && self.filter.from.is_none() && self.filter.to.is_none()
    }
}
