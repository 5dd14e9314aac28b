//! The crate `dcsctp`, as published: it formats every packet for its log.

use std::time::Duration;

use dcsctp::api::{
    DcSctpSocket, Message, Options, PpId, SendOptions, SocketEvent, SocketTime, StreamId,
    ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_LOWER_LAYER_DTLS,
};

use super::QUEUED;

const STREAM: StreamId = StreamId(0);

pub(super) fn transfer(len: usize, count: usize) {
    let options = Options {
        max_message_size: 262_144,
        zero_checksum_alternate_error_detection_method:
            ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_LOWER_LAYER_DTLS,
        ..Options::default()
    };
    let mut a = dcsctp::new_socket("a", &options);
    let mut b = dcsctp::new_socket("b", &options);
    a.connect();
    let mut now = SocketTime::zero();
    let message = vec![0x5a; len];
    let (mut sent, mut received) = (0, 0);
    while received < count {
        while sent < count && a.buffered_amount(STREAM) < QUEUED {
            a.send(
                Message::new(STREAM, PpId(53), message.clone()),
                &SendOptions::default(),
            )
            .expect("the queue has room");
            sent += 1;
        }
        let moved = pass(&mut *a, &mut *b) | pass(&mut *b, &mut *a);
        while let Some(message) = b.get_next_message() {
            assert_eq!(std::hint::black_box(&message.payload).len(), len);
            received += 1;
        }
        if !moved {
            now = a.poll_timeout().min(b.poll_timeout()).max(now) + Duration::ZERO;
            a.advance_time(now);
            b.advance_time(now);
        }
    }
}

fn pass(from: &mut dyn DcSctpSocket, to: &mut dyn DcSctpSocket) -> bool {
    let mut moved = false;
    while let Some(event) = from.poll_event() {
        if let SocketEvent::SendPacket(packet) = event {
            to.handle_input(&packet);
            moved = true;
        }
    }
    moved
}
