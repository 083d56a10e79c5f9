#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sealane_image::fuzzing::names(bytes));
