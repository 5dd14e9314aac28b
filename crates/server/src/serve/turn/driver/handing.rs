//! What passes between threads without a socket: to and from media, and other parts.

use std::time::Duration;

use twocan_io::clock;
use twocan_proto::contract::{Datagram, Path};
use twocan_proto::turn::server::{MEDIA_SOCKET, PART_SOCKET};

use super::super::super::hatch::{Between, COLLECTED_LEN};
use super::{Driver, Place};

impl Driver {
    /// Passes on what media and other parts have for clients.
    pub(super) fn take_handed(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        let now = clock::now();
        taken.drain(|between, pieces| {
            let Between {
                socket,
                relayed,
                other: remote,
                ecn,
            } = between;
            let path = Path {
                socket,
                local: relayed,
            };
            for bytes in pieces {
                let datagram = Datagram {
                    path,
                    remote,
                    ecn,
                    waited: Duration::ZERO,
                    bytes,
                };
                self.server.handle_datagram(now, datagram);
            }
            self.settle();
        });
        self.taken = taken;
    }

    /// Collects a batch for media.
    pub(super) fn collect(&mut self) {
        let Some(to) = self.batch.destination() else {
            return;
        };
        let mut media = self.media.iter_mut();
        let Some(medium) = media.find(|own| own.bound.contains(&to.remote)) else {
            return;
        };
        let between = Between {
            socket: MEDIA_SOCKET,
            relayed: to.path.local,
            other: to.remote,
            ecn: to.ecn,
        };
        medium.collected.push(between, &self.batch);
        if medium.collected.len() > COLLECTED_LEN {
            self.not_handed += medium.hatch.put(&mut medium.collected);
        }
    }

    /// Collects a batch for the part that has the relayed address to which it goes.
    pub(super) fn collect_for_part(&mut self) {
        let Some(to) = self.batch.destination() else {
            return;
        };
        let Place { number, ways, .. } = &self.place;
        let Some(part) = ways.part_of(to.remote).filter(|part| part != number) else {
            return;
        };
        let (Some(hatch), Some(collected)) =
            (ways.hatches().get(part), self.to_parts.get_mut(part))
        else {
            return;
        };
        let between = Between {
            socket: PART_SOCKET,
            relayed: to.remote,
            other: to.path.local,
            ecn: to.ecn,
        };
        collected.push(between, &self.batch);
        if collected.len() > COLLECTED_LEN {
            self.not_handed += hatch.put(collected);
        }
    }

    /// Hands over what has been collected.
    pub(super) fn hand_over(&mut self) {
        let parts = self.place.ways.hatches().iter().zip(&mut self.to_parts);
        for (hatch, collected) in parts {
            self.not_handed += hatch.put(collected);
        }
        for medium in &mut self.media {
            self.not_handed += medium.hatch.put(&mut medium.collected);
        }
    }
}
