//! What passes by way of DTLS.

use std::time::Instant;

use twocan_io::clock;

use super::Driver;

impl Driver {
    /// Acts on whatever time has brought.
    pub(super) fn handle_timeout(&mut self) {
        let now = clock::now();
        self.server.handle_timeout(now);
        if let Some(dtls) = &mut self.dtls {
            dtls.handle_timeout(&self.server, now);
        }
    }

    /// Encrypts and sends a batch for a client.
    pub(super) fn send_encrypted(&mut self) {
        let Self {
            dtls: Some(dtls),
            sockets,
            batch,
            dropped,
            ..
        } = self
        else {
            return;
        };
        let socket = batch.destination().map(|to| to.path.socket.0);
        let Some(bound) = socket.and_then(|id| sockets.get(&id)) else {
            return;
        };
        let mut not_sent = 0;
        let for_nobody = dtls.encrypt(batch, |batch| not_sent += bound.socket.send(batch) as u64);
        *dropped += for_nobody + not_sent;
    }

    /// Sends what handshakes have; says whether the machine may have something to do.
    pub(super) fn settle_dtls(&mut self) -> bool {
        let Some(dtls) = &mut self.dtls else {
            return false;
        };
        while dtls.poll_transmit(&mut self.batch) {
            let to = self.batch.destination();
            let socket = to.and_then(|to| self.sockets.get(&to.path.socket.0));
            if let Some(bound) = socket {
                self.dropped += bound.socket.send(&self.batch) as u64;
            }
        }
        self.batch.clear();
        dtls.tell_who_left(&mut self.server)
    }

    /// The earlier of a deadline and that of DTLS.
    pub(super) fn or_dtls(&self, deadline: Option<Instant>) -> Option<Instant> {
        let of_dtls = self.dtls.as_ref().and_then(super::Dtls::deadline);
        [deadline, of_dtls].into_iter().flatten().min()
    }
}
