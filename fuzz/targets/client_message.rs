#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cti_server::fuzzing::client_message(data));
