//! Tests of our machines against implementations that we did not write; see `tests/`.
#![forbid(unsafe_code)]
