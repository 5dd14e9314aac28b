//! The `twocan` binary.
#![forbid(unsafe_code)]
fn main() {}
