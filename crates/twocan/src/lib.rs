//! Real-time communication in Rust: the W3C WebRTC API on a stack of its own.
#![forbid(unsafe_code)]
