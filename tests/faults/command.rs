//! The command that injects the faults for real (`cargo run -p cti-faults`), in its short form.

use std::env;

use cti_faults::{Case, Databases, Plan, run};

/// Runs these cases for seconds, and asserts that each was carried out and found nothing.
async fn find_nothing(cases: &[Case]) {
    let plan = Plan {
        server: env!("CARGO_BIN_EXE_cti-server").into(),
        folder: env::temp_dir(),
        databases: Databases::Both,
        cases: cases.to_vec(),
        seed: 1,
        rate: 50,
        kills: 2,
        is_short: true,
    };
    let report = run(&plan, |_| ()).await;
    assert!(report.is_clean(), "{report}");
    let requires_postgres = env::var("CTI_TEST_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
    let is_done = |row: &cti_faults::Row| row.sent() > 0 || (row.is_skipped() && !requires_postgres);
    assert!(report.rows.iter().all(is_done), "{report}");
}

#[tokio::test]
async fn kills_and_restarts_of_the_server_and_of_postgresql_cost_nothing() {
    find_nothing(&[Case::Kill, Case::PostgresKilled]).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_loss_of_power() {
    find_nothing(&[Case::PowerLoss]).await;
}
