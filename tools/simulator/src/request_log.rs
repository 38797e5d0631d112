//! The request log: each request to the platform, when it came and how it was answered. No tokens, no queries.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

/// The number of requests that are entries.
const MAX_ENTRIES: usize = 50_000;

/// One request. Times are microseconds since 1970.
#[derive(Clone, Serialize)]
pub(crate) struct Request {
    /// Its number; the first request is 1.
    n: u64,
    method: String,
    /// The pattern of its path.
    route: String,
    path: String,
    arrived_at: i64,
    /// When it took effect; `None` while it is delayed, and if it never did.
    handled_at: Option<i64>,
    /// When it was answered; `None` while it is delayed, and if its client disconnected.
    answered_at: Option<i64>,
    /// `None` for a connection that was reset.
    status: Option<u16>,
    /// The `grant_type` of a token request.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<Cow<'static, str>>,
}

/// What a handler adds to the log entry of its request.
#[derive(Clone)]
pub(crate) struct RequestNote(pub(crate) Cow<'static, str>);

/// The number of requests of one kind.
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

/// The latest requests, in the order of arrival.
#[derive(Default)]
pub(crate) struct RequestLog {
    entries: VecDeque<Request>,
    last: u64,
}

impl RequestLog {
    /// Records a request that arrived, and returns its number.
    pub(crate) fn arrived(&mut self, method: &str, route: String, path: &str, at: i64) -> u64 {
        self.last += 1;
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(Request {
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

    /// Records when a request took effect.
    pub(crate) fn handled(&mut self, n: u64, note: Option<RequestNote>, at: i64) {
        if let Some(request) = self.find(n) {
            (request.handled_at, request.note) = (Some(at), note.map(|note| note.0));
        }
    }

    /// Records how a request was answered.
    pub(crate) fn answered(&mut self, n: u64, status: Option<u16>, at: i64) {
        if let Some(request) = self.find(n) {
            (request.answered_at, request.status) = (Some(at), status);
        }
    }

    /// Returns the requests after number `n`, of one route or of all.
    pub(crate) fn after(&self, n: u64, route: Option<&str>) -> Vec<Request> {
        let start = self.entries.partition_point(|request| request.n <= n);
        let wanted = |request: &&Request| route.is_none_or(|route| request.route == route);
        self.entries.range(start..).filter(wanted).cloned().collect()
    }

    fn find(&mut self, n: u64) -> Option<&mut Request> {
        let index = self.entries.binary_search_by_key(&n, |request| request.n).ok()?;
        self.entries.get_mut(index)
    }
}

/// Counts requests by route, status and note.
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
    fn requests_are_numbered_completed_and_counted() {
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
    fn the_oldest_requests_are_dropped() {
        let mut requests = RequestLog::default();
        for at in 0..=i64::try_from(MAX_ENTRIES).expect("small") {
            requests.arrived("GET", "/a".to_owned(), "/a", at);
        }
        requests.answered(1, Some(200), 0);
        assert_eq!((requests.entries.len(), requests.after(0, None)[0].n), (MAX_ENTRIES, 2));
    }
}
