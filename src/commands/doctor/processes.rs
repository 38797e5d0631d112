//! Checks of the processes on the database, as one of them sees them.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use super::{check::Check, probe::Server};

pub(super) async fn check(server: &Server, secret: &str) -> Vec<Check> {
    let answer = server.administer(Method::GET, "/internal/cluster", secret, None).await;
    checks(&answer.map(|answer| answer.json()).unwrap_or_default())
}

fn checks(cluster: &Value) -> Vec<Check> {
    let list = |name: &str| cluster[name].as_array().cloned().unwrap_or_default();
    let (processes, leases) = (list("processes"), list("leases"));
    let versions: BTreeSet<&str> =
        processes.iter().filter_map(|process| process["version"].as_str()).collect();
    let versions = versions.into_iter().collect::<Vec<_>>();
    let orphans = leases.iter().filter(|lease| lease["owner"].is_null()).count();
    vec![
        Check::advise(
            "processes",
            versions.len() <= 1,
            format!("{} processes run, of version {}", processes.len(), versions.join(" and ")),
            "finish the upgrade: stop the processes of the older version",
        ),
        Check::advise(
            "owners",
            orphans == 0,
            match orphans {
                0 => format!("each of {} apps has an owner", leases.len()),
                _ => format!("{orphans} of {} apps have no owner", leases.len()),
            },
            "for a moment that is as it should be; if it stays, look for errors of the database in the servers' logs",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::doctor::check::Status;

    #[test]
    fn two_versions_and_apps_without_an_owner_are_warnings() {
        let statuses = |cluster: &Value| checks(cluster).iter().map(|check| check.status).collect::<Vec<_>>();
        let one = json!({"processes": [{"version": "1"}, {"version": "1"}], "leases": [{"owner": "a"}]});
        assert_eq!(statuses(&one), [Status::Ok, Status::Ok]);
        let two = json!({"processes": [{"version": "1"}, {"version": "2"}], "leases": [{"owner": null}]});
        assert_eq!(statuses(&two), [Status::Warn, Status::Warn]);
    }
}
