//! Requests on a stream, with the credentials that the server asks for, and what comes back.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use twocan_wire::stun::{Attribute, Builder, Class, Message, Method, TransactionId};
use twocan_wire::turn::frame_len;

use super::super::account::{Account, Challenge};
use super::Refusal;
use crate::counters::Counters;
use crate::random::Random;

/// Challenges followed without a success in between.
const CHALLENGES_MAX: u32 = 3;

/// What a request is for.
pub(super) trait Operation: Copy {
    fn method(self) -> Method;
    fn write(self, builder: &mut Builder<'_>);
    fn patience(self) -> Duration;
}

#[derive(Debug)]
struct Waiting<O> {
    operation: O,
    authenticated: bool,
    /// The challenge that its nonce is from, by number.
    challenge: u32,
    due_at: Instant,
}

/// What became of a request.
pub(super) enum Outcome<'a, O> {
    Granted(O, Message<'a>),
    Refused(O, Refusal, Message<'a>),
    /// An indication.
    Told(Message<'a>),
    /// Nothing to act on.
    Nothing,
}

/// The stream holds neither STUN nor ChannelData.
#[derive(Debug)]
pub(super) struct Broken;

#[derive(Debug)]
pub(super) struct Requests<O> {
    account: Account,
    random: Random,
    challenge: Option<Challenge>,
    challenges: u32,
    challenge_number: u32,
    waiting: BTreeMap<TransactionId, Waiting<O>>,
    partial: Vec<u8>,
    transmits: VecDeque<Vec<u8>>,
    pub(super) counters: Counters,
}

impl<O: Operation> Requests<O> {
    pub(super) fn new(account: Account, random: Random) -> Self {
        Self {
            account,
            random,
            challenge: None,
            challenges: 0,
            challenge_number: 0,
            waiting: BTreeMap::new(),
            partial: Vec::new(),
            transmits: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Requests on another stream by the same user, with the same credentials to begin with.
    pub(super) fn beside<P: Operation>(&mut self) -> Requests<P> {
        Requests {
            challenge: self.challenge.clone(),
            ..Requests::new(self.account.clone(), self.random.fork())
        }
    }

    pub(super) fn begin(&mut self, now: Instant, operation: O) {
        let mut id = [0; 12];
        self.random.fill(&mut id);
        let id = TransactionId(id);
        let mut bytes = Vec::with_capacity(256);
        let mut builder = Builder::new(&mut bytes, Class::Request, operation.method(), id);
        operation.write(&mut builder);
        match &self.challenge {
            Some(challenge) => challenge.finish(&self.account, builder),
            None => builder.finish(),
        }
        let waiting = Waiting {
            operation,
            authenticated: self.challenge.is_some(),
            challenge: self.challenge_number,
            due_at: now + operation.patience(),
        };
        self.waiting.insert(id, waiting);
        self.transmits.push_back(bytes);
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// When the first answer is overdue.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.waiting.values().map(|own| own.due_at).min()
    }

    /// What has waited too long for an answer.
    pub(super) fn take_late(&mut self, now: Instant) -> Option<O> {
        let mut all = self.waiting.iter();
        let id = *all.find(|(_, own)| own.due_at <= now)?.0;
        self.counters.count("turn.no_answer");
        self.waiting.remove(&id).map(|own| own.operation)
    }

    /// What waits for an answer.
    pub(super) fn under_way(&self) -> impl Iterator<Item = O> {
        self.waiting.values().map(|own| own.operation)
    }

    pub(super) fn forget(&mut self) {
        self.waiting.clear();
        self.transmits.clear();
        self.partial = Vec::new();
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
    }

    /// The next whole message, or ChannelData, of what has come: at most 65,552 bytes.
    pub(super) fn next_frame(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let len = frame_len(&self.partial).map_err(|_| Broken)?;
        Ok(match len.filter(|len| *len <= self.partial.len()) {
            None => None,
            Some(len) => {
                let later = self.partial.split_off(len);
                Some(std::mem::replace(&mut self.partial, later))
            }
        })
    }

    /// What came behind the last message.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }

    /// Takes a message.
    pub(super) fn take<'a>(&mut self, now: Instant, frame: &'a [u8]) -> Outcome<'a, O> {
        let Ok(message) = Message::parse(frame) else {
            self.counters.count("turn.malformed");
            return Outcome::Nothing;
        };
        match message.class {
            Class::Indication => return Outcome::Told(message),
            Class::Request => return Outcome::Nothing,
            Class::Success | Class::Error => {}
        }
        let Some(waiting) = self.waiting.get(&message.transaction) else {
            self.counters.count("turn.answer_without_request");
            return Outcome::Nothing;
        };
        let code = message.error_code();
        // As over UDP: a server that does not know us cannot sign (RFC 8489 §9.2.5).
        let unsigned_is_fine = matches!(code, Some(400 | 401 | 438));
        if waiting.authenticated && !unsigned_is_fine {
            let challenge = self.challenge.as_ref();
            if challenge.is_none_or(|own| own.verify(&message).is_err()) {
                self.counters.count("turn.answer_bad_integrity");
                return Outcome::Nothing;
            }
        }
        let Some(waiting) = self.waiting.remove(&message.transaction) else {
            return Outcome::Nothing;
        };
        if message.class == Class::Success {
            self.challenges = 0;
            return Outcome::Granted(waiting.operation, message);
        }
        if matches!(code, Some(401 | 438)) && self.follow(now, &waiting, &message) {
            return Outcome::Nothing;
        }
        let refused = refusal(&message);
        Outcome::Refused(waiting.operation, refused, message)
    }

    /// Asks again with the credentials that the server wants; says whether that makes sense.
    fn follow(&mut self, now: Instant, waiting: &Waiting<O>, message: &Message<'_>) -> bool {
        let is_stale = message.error_code() == Some(438);
        // Several requests were under way with a nonce that has been replaced since: one challenge.
        if is_stale && waiting.challenge != self.challenge_number {
            self.begin(now, waiting.operation);
            return true;
        }
        self.challenges += 1;
        // Credentials that were refused once are refused again.
        if waiting.authenticated && !is_stale || self.challenges > CHALLENGES_MAX {
            self.counters.count("turn.credentials_refused");
            return false;
        }
        let read = Challenge::read(&self.account, message, self.challenge.as_ref());
        match read {
            Ok(challenge) => {
                self.challenge = Some(challenge);
                self.challenge_number = self.challenge_number.wrapping_add(1);
                self.begin(now, waiting.operation);
                true
            }
            Err(unusable) => {
                self.counters.count(unusable.reason());
                false
            }
        }
    }
}

/// The server's words.
fn refusal(message: &Message<'_>) -> Refusal {
    let said = message.attributes().find_map(|attribute| match attribute {
        Attribute::ErrorCode(error) => Some((error.code, error.reason.to_owned())),
        _ => None,
    });
    let (code, reason) = said.unwrap_or((500, String::new()));
    Refusal::Refused { code, reason }
}
