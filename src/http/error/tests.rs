use std::collections::BTreeSet;

use super::*;

#[test]
fn every_code_is_unique_and_an_error() {
    let names: BTreeSet<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names.len(), ErrorCode::ALL.len());
    assert!(
        ErrorCode::ALL.iter().all(|code| code.status().is_client_error() || code.status().is_server_error())
    );
}
