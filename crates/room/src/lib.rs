//! What a conference is: rooms, participants, signaling sessions, without I/O.
#![forbid(unsafe_code)]
