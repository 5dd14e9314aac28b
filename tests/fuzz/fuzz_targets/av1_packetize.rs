#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| twocan_corpus::payloads::av1_packetize(data));
