#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| twocan_corpus::payloads::comfort_noise(data));
