//! Where the threads of the TURN server and those of media hand datagrams to each other, without a
//! socket and without a call of the system but the one that wakes: as many at once as there are, under
//! one lock, in memory that is used again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use twocan_proto::contract::{Batch, Ecn, SocketId};
use twocan_proto::turn::server::RelayedPorts;

/// Most bytes that wait at a hatch, what is noted about them counted; what is put there beyond is
/// dropped, as the system drops what a socket has no room for.
pub(super) const HATCH_LEN_MAX: usize = 2 << 20;

/// Who collects more than this hands it over before going on.
pub(super) const COLLECTED_LEN: usize = 128 << 10;

/// Datagrams of equal length, but for the last, between two addresses.
#[derive(Debug, Clone, Copy)]
struct Run {
    between: Between,
    segment_len: usize,
    len: usize,
}

/// Which way datagrams go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Between {
    /// On what the TURN server sends and receives this: for media, or for another of its parts.
    pub(super) socket: SocketId,
    /// A relayed address, as peers see it: where this comes from, or, of what media sends and of what
    /// another part does, where it goes.
    pub(super) relayed: SocketAddr,
    /// The other side: where media of ours is bound, or another relayed address.
    pub(super) other: SocketAddr,
    /// The congestion mark.
    pub(super) ecn: Ecn,
}

/// Datagrams laid end to end.
#[derive(Debug, Default)]
pub(super) struct Collected {
    bytes: Vec<u8>,
    runs: Vec<Run>,
    datagrams: u64,
    /// How many bytes and runs of these have been shown.
    shown: (usize, usize),
}

impl Collected {
    /// Adds all datagrams of a batch.
    pub(super) fn push(&mut self, between: Between, batch: &Batch) {
        if batch.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(batch.bytes());
        self.datagrams += batch.segments() as u64;
        self.runs.push(Run {
            between,
            segment_len: batch.segment_len().max(1),
            len: batch.bytes().len(),
        });
    }

    /// What it takes up, in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + self.runs.len() * size_of::<Run>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Shows each run, its datagrams one by one, and is empty afterwards.
    pub(super) fn drain(&mut self, each: impl FnMut(Between, std::slice::ChunksMut<'_, u8>)) {
        self.drain_some(usize::MAX, each);
    }

    /// Shows runs until `len` bytes are reached, and the others the next time.
    pub(super) fn drain_some(
        &mut self,
        len: usize,
        mut each: impl FnMut(Between, std::slice::ChunksMut<'_, u8>),
    ) {
        let (bytes_shown, runs_shown) = &mut self.shown;
        let end = bytes_shown.saturating_add(len);
        while *bytes_shown < end {
            let run = self.runs.get(*runs_shown);
            let rest = self.bytes.get_mut(*bytes_shown..).unwrap_or_default();
            let all = run.and_then(|run| Some((run, rest.get_mut(..run.len)?)));
            let Some((run, all)) = all else {
                return self.clear();
            };
            *bytes_shown += run.len;
            *runs_shown += 1;
            each(run.between, all.chunks_mut(run.segment_len));
        }
        if *runs_shown == self.runs.len() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
        self.datagrams = 0;
        self.shown = (0, 0);
    }

    fn append(&mut self, other: &mut Self) {
        self.bytes.append(&mut other.bytes);
        self.runs.append(&mut other.runs);
        self.datagrams += std::mem::take(&mut other.datagrams);
    }
}

/// What many put there and one takes.
#[derive(Debug, Default)]
pub(super) struct Hatch(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: Collected,
    task: Option<Waker>,
}

impl Hatch {
    /// Puts everything there, and wakes who takes it; `all` is empty afterwards. Answers how many
    /// datagrams were dropped: all of these, where there is no room.
    pub(super) fn put(&self, all: &mut Collected) -> u64 {
        if all.is_empty() {
            return 0;
        }
        let task = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.waiting.is_empty() {
                std::mem::swap(&mut state.waiting, all);
            } else if state.waiting.len() + all.len() <= HATCH_LEN_MAX {
                state.waiting.append(all);
            } else {
                let lost = all.datagrams;
                all.clear();
                return lost;
            }
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
        0
    }

    /// Takes everything into `into`, which is empty; pending while there is nothing.
    pub(super) fn poll_take(&self, context: &mut Context<'_>, into: &mut Collected) -> Poll<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.waiting.is_empty() {
            let same = state.task.as_ref();
            if !same.is_some_and(|task| task.will_wake(context.waker())) {
                state.task = Some(context.waker().clone());
            }
            return Poll::Pending;
        }
        debug_assert!(into.is_empty());
        into.clear();
        std::mem::swap(&mut state.waiting, into);
        Poll::Ready(())
    }
}

/// The hatches of the parts of the TURN server, and which relayed address is whose.
#[derive(Debug, Clone)]
pub(super) struct ToTurn {
    hatches: Arc<[Arc<Hatch>]>,
    ports: Arc<RelayedPorts>,
}

impl ToTurn {
    /// One hatch for each part.
    pub(super) fn new(parts: usize, ports: Arc<RelayedPorts>) -> Self {
        let hatches = (0..parts).map(|_| Arc::default());
        Self {
            hatches: hatches.collect(),
            ports,
        }
    }

    /// Those of all parts.
    pub(super) fn hatches(&self) -> &[Arc<Hatch>] {
        &self.hatches
    }

    /// The place of the part that has a relayed address; `None` where nobody has it.
    pub(super) fn part_of(&self, relayed: SocketAddr) -> Option<usize> {
        self.ports.part_of(relayed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use twocan_proto::contract::{Destination, Dscp, Path, SocketId};

    fn between(port: u16) -> Between {
        Between {
            socket: SocketId(1),
            relayed: SocketAddr::new([192, 0, 2, 1].into(), port),
            other: SocketAddr::new([10, 0, 0, 1].into(), 4000),
            ecn: Ecn::Ect0,
        }
    }

    fn batch(lens: &[usize]) -> Batch {
        let mut batch = Batch::new();
        let to = Destination {
            path: Path {
                socket: SocketId(1),
                local: between(1).relayed,
            },
            remote: between(1).other,
            ecn: Ecn::Ect0,
            dscp: Dscp::DEFAULT,
        };
        for (byte, len) in (0..).zip(lens) {
            let grown = |out: &mut Vec<u8>| out.resize(out.len() + len, byte);
            assert!(batch.push(to, &mut Vec::new(), grown));
        }
        batch
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_put_there_is_taken_as_it_was_and_wakes_once() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let (hatch, mut into, mut all) =
            (Hatch::default(), Collected::default(), Collected::default());
        assert!(hatch.poll_take(&mut context, &mut into).is_pending());
        assert_eq!(hatch.put(&mut all), 0);
        assert_eq!(woken.0.load(Ordering::Relaxed), 0, "there is nothing");
        all.push(between(1), &batch(&[3, 3, 2]));
        all.push(between(2), &batch(&[5]));
        assert_eq!((hatch.put(&mut all), all.len()), (0, 0));
        all.push(between(1), &batch(&[1]));
        assert_eq!((hatch.put(&mut all), all.len()), (0, 0));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(hatch.poll_take(&mut context, &mut into).is_ready());
        let mut taken = Vec::new();
        into.drain(|way, pieces| taken.extend(pieces.map(|piece| (way, piece.to_vec()))));
        let expected = [
            (between(1), vec![0, 0, 0]),
            (between(1), vec![1, 1, 1]),
            (between(1), vec![2, 2]),
            (between(2), vec![0; 5]),
            (between(1), vec![0]),
        ];
        assert_eq!(taken, expected);
        assert!(hatch.poll_take(&mut context, &mut into).is_pending());
    }

    #[test]
    fn what_is_too_much_for_once_is_shown_by_and_by() {
        let mut all = Collected::default();
        let lens = [300, 300, 100, 500, 200, 900];
        for (port, len) in (1..).zip(lens) {
            all.push(between(port), &batch(&[len, 1]));
        }
        let mut shown = Vec::new();
        while !all.is_empty() {
            let mut turn = Vec::new();
            all.drain_some(600, |way, pieces| {
                turn.push((way.relayed.port(), pieces.map(|piece| piece.len()).sum()));
            });
            shown.push(turn);
        }
        let expected = [
            vec![(1, 301), (2, 301)],
            vec![(3, 101), (4, 501)],
            vec![(5, 201), (6, 901)],
        ];
        assert_eq!(shown, expected);
        // It begins anew.
        all.push(between(7), &batch(&[4]));
        all.drain(|way, pieces| assert_eq!((way, pieces.len()), (between(7), 1)));
        assert_eq!(all.len(), 0);
    }

    #[test]
    fn what_has_no_room_is_dropped_and_counted() {
        let (hatch, mut all) = (Hatch::default(), Collected::default());
        let (mut put, mut lost) = (0, 0);
        for _ in 0..4 * HATCH_LEN_MAX / 60_000 {
            all.push(between(1), &batch(&[30_000, 30_000]));
            put += 2;
            lost += hatch.put(&mut all);
            assert!(all.is_empty());
        }
        let mut into = Collected::default();
        let mut context = Context::from_waker(Waker::noop());
        assert!(hatch.poll_take(&mut context, &mut into).is_ready());
        assert!(into.len() <= HATCH_LEN_MAX);
        let mut taken = 0;
        into.drain(|_, pieces| taken += pieces.len() as u64);
        assert!(lost > 0 && taken > 0);
        assert_eq!(taken + lost, put);
        // There is room again.
        all.push(between(1), &batch(&[1]));
        assert_eq!(hatch.put(&mut all), 0);
    }
}
