//! The rooms of this crate that know neither actors nor a runtime nor the present moment stay that way.

const PURE: &[(&str, &str)] = &[
    ("call/event.rs", include_str!("../src/call/event.rs")),
    ("call/facts.rs", include_str!("../src/call/facts.rs")),
    ("call/snapshot.rs", include_str!("../src/call/snapshot.rs")),
    ("call/machine.rs", include_str!("../src/call/machine.rs")),
    ("latest.rs", include_str!("../src/latest.rs")),
    ("interaction/join.rs", include_str!("../src/interaction/join.rs")),
    ("interaction/proof.rs", include_str!("../src/interaction/proof.rs")),
    ("message.rs", include_str!("../src/message.rs")),
    ("app/inbox.rs", include_str!("../src/app/inbox.rs")),
    ("app/roster.rs", include_str!("../src/app/roster.rs")),
    ("consumer/solo.rs", include_str!("../src/consumer/solo.rs")),
    ("consumer/group.rs", include_str!("../src/consumer/group.rs")),
    ("feed/active.rs", include_str!("../src/feed/active.rs")),
    ("feed/filter.rs", include_str!("../src/feed/filter.rs")),
    ("feed/ring.rs", include_str!("../src/feed/ring.rs")),
    ("session/protocol.rs", include_str!("../src/session/protocol.rs")),
    ("session/snapshot.rs", include_str!("../src/session/snapshot.rs")),
    ("session/subscription.rs", include_str!("../src/session/subscription.rs")),
    ("token/news.rs", include_str!("../src/token/news.rs")),
    ("token/schedule.rs", include_str!("../src/token/schedule.rs")),
];

#[test]
fn the_pure_files_mention_no_actor_no_runtime_and_no_now() {
    for (name, source) in PURE {
        for foreign in ["actix", "tokio", "now()", "rand::", "async "] {
            assert!(!source.contains(foreign), "{name} mentions {foreign}");
        }
    }
}

#[test]
fn one_file_alone_knows_the_websocket_library() {
    fn visit(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                visit(&path, found);
            } else if std::fs::read_to_string(&path).expect("a source").contains("use actix_web_actors") {
                found.push(path.display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    visit(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
    assert!(found.len() == 1 && found[0].ends_with("session/actor.rs"), "{found:?}");
}
