//! A deterministic network and clock that drives every machine (development only).
#![forbid(unsafe_code)]
