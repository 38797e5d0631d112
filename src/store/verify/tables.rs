//! What a single query finds: rows of apps that are gone, keys that exist twice, cursors beyond their feed.

use super::{Findings, Snapshot};

/// The tables without a foreign key. A deletion that is not finished may have left rows.
macro_rules! orphans {
    ($($table:literal),+) => {
        [$(($table, concat!(
            "SELECT CAST(app_id AS TEXT), COUNT(*) FROM ", $table, " WHERE app_id IS NOT NULL
            AND app_id NOT IN (SELECT id FROM apps)
            AND app_id NOT IN (SELECT app_id FROM deleted_apps WHERE purged_at IS NULL)
            GROUP BY app_id ORDER BY 1"
        ))),+]
    };
}

const ORPHANS: [(&str, &str); 4] = orphans!["webhook_events", "events", "calls", "interactions"];
const APPS_WITHOUT_FEED: &str = "SELECT CAST(id AS TEXT) FROM apps
    WHERE id NOT IN (SELECT app_id FROM event_feeds) ORDER BY 1";
/// The two smallest ids of each key that more than one webhook has.
const SAME_KEYS: &str = "SELECT MIN(CAST(id AS TEXT)), MAX(CAST(id AS TEXT)) FROM webhook_events
    GROUP BY app_id, dedup_key HAVING COUNT(*) > 1 ORDER BY 1";
const CURSORS_AHEAD: &str =
    "SELECT CAST(consumers.app_id AS TEXT), consumers.name, consumers.acked_seq, event_feeds.last_seq
    FROM consumers JOIN event_feeds ON event_feeds.app_id = consumers.app_id
    WHERE consumers.acked_seq > event_feeds.last_seq ORDER BY 1, 2";

pub(super) async fn check<S: Snapshot>(snapshot: &mut S, findings: &mut Findings) -> Result<(), sqlx::Error> {
    for (table, statement) in ORPHANS {
        for (app, rows) in snapshot.rows::<(String, i64)>(statement, &[]).await? {
            findings.broken("rows of a deleted app", format_args!("{table} has {rows} of app {app}"));
        }
    }
    for (app,) in snapshot.rows::<(String,)>(APPS_WITHOUT_FEED, &[]).await? {
        findings.broken("app without a feed", app);
    }
    for (one, other) in snapshot.rows::<(String, String)>(SAME_KEYS, &[]).await? {
        findings.broken("dedup key twice", format_args!("webhooks {one} and {other}"));
    }
    for (app, name, acked, last) in snapshot.rows::<(String, String, i64, i64)>(CURSORS_AHEAD, &[]).await? {
        findings.broken(
            "cursor beyond the head",
            format_args!("consumer {name} of app {app} is at {acked}, the feed ends at {last}"),
        );
    }
    Ok(())
}
