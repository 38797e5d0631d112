//! The book of requests: what was asked of the platform, when, and how it was answered. Never a token, never a query.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

/// How many requests are remembered.
const MAX_ENTRIES: usize = 50_000;

/// One request. Times are microseconds since 1970.
#[derive(Clone, Serialize)]
pub(crate) struct Request {
    /// Its number: 1 for the first that came.
    n: u64,
    method: String,
    /// The pattern of its path.
    route: String,
    path: String,
    arrived_at: i64,
    /// When it had taken effect; none while it waits, and if it never did.
    handled_at: Option<i64>,
    /// When its answer was on its way; none while it waits, and if its sender went away.
    answered_at: Option<i64>,
    /// None for a connection that was reset.
    status: Option<u16>,
    /// What kind of request it was, where the path does not say it: the `grant_type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<Cow<'static, str>>,
}

/// What a handler adds to the book.
#[derive(Clone)]
pub(crate) struct RequestNote(pub(crate) Cow<'static, str>);

/// How many requests of one kind there were.
#[derive(Serialize)]
pub(crate) struct Total {
    method: String,
    route: String,
    status: Option<u16>,
    note: Option<Cow<'static, str>>,
    count: u64,
    first_at: i64,
    last_at: i64,
}

/// The latest requests, in the order in which they came.
#[derive(Default)]
pub(crate) struct RequestLog {
    kept: VecDeque<Request>,
    last: u64,
}

impl RequestLog {
    /// Writes down a request that came, and returns its number.
    pub(crate) fn arrived(&mut self, method: &str, route: String, path: &str, at: i64) -> u64 {
        self.last += 1;
        if self.kept.len() == MAX_ENTRIES {
            self.kept.pop_front();
        }
        self.kept.push_back(Request {
            n: self.last,
            method: method.to_owned(),
            route,
            path: path.to_owned(),
            arrived_at: at,
            handled_at: None,
            answered_at: None,
            status: None,
            note: None,
        });
        self.last
    }

    /// It has taken effect.
    pub(crate) fn handled(&mut self, n: u64, note: Option<RequestNote>, at: i64) {
        if let Some(request) = self.find(n) {
            (request.handled_at, request.note) = (Some(at), note.map(|note| note.0));
        }
    }

    /// Its answer goes out.
    pub(crate) fn answered(&mut self, n: u64, status: Option<u16>, at: i64) {
        if let Some(request) = self.find(n) {
            (request.answered_at, request.status) = (Some(at), status);
        }
    }

    /// The requests after number `n`, of one route or of all.
    pub(crate) fn after(&self, n: u64, route: Option<&str>) -> Vec<Request> {
        let begin = self.kept.partition_point(|request| request.n <= n);
        let wanted = |request: &&Request| route.is_none_or(|route| request.route == route);
        self.kept.range(begin..).filter(wanted).cloned().collect()
    }

    fn find(&mut self, n: u64) -> Option<&mut Request> {
        let index = self.kept.binary_search_by_key(&n, |request| request.n).ok()?;
        self.kept.get_mut(index)
    }
}

/// Adds requests up by kind and outcome.
pub(crate) fn totals(requests: &[Request]) -> Vec<Total> {
    let mut totals = BTreeMap::new();
    for request in requests {
        let kind = (&request.route, &request.method, request.status, &request.note);
        let total = totals.entry(kind).or_insert_with(|| Total {
            method: request.method.clone(),
            route: request.route.clone(),
            status: request.status,
            note: request.note.clone(),
            count: 0,
            first_at: request.arrived_at,
            last_at: request.arrived_at,
        });
        total.count += 1;
        total.last_at = request.arrived_at;
    }
    totals.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_numbered_completed_and_added_up() {
        let mut requests = RequestLog::default();
        let mut ask = |route: &str, status, at| {
            let n = requests.arrived("GET", route.to_owned(), "/somewhere", at);
            requests.handled(n, None, at);
            requests.answered(n, status, at);
        };
        ask("/a", Some(200), 1);
        ask("/a", Some(200), 2);
        ask("/a", None, 3);
        ask("/b", Some(200), 4);
        let counts = |found: &[Request]| totals(found).iter().map(|total| total.count).collect::<Vec<_>>();
        assert_eq!(counts(&requests.after(0, None)), [1, 2, 1]);
        assert_eq!(counts(&requests.after(1, Some("/a"))), [1, 1]);
        assert_eq!(requests.after(3, None)[0].n, 4);
        assert_eq!(totals(&requests.after(0, Some("/a")))[1].last_at, 2);
    }

    #[test]
    fn the_oldest_are_forgotten_and_stay_so() {
        let mut requests = RequestLog::default();
        for at in 0..=i64::try_from(MAX_ENTRIES).expect("small") {
            requests.arrived("GET", "/a".to_owned(), "/a", at);
        }
        requests.answered(1, Some(200), 0);
        assert_eq!((requests.kept.len(), requests.after(0, None)[0].n), (MAX_ENTRIES, 2));
    }
}
