#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cti_server::fuzzing::webhook_payload(data));
