//! Sockets, clock and tasks that drive the machines.
#![forbid(unsafe_code)]
