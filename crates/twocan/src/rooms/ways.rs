//! By which connections something goes that a participant says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use super::data::Outgoing;
use super::messages::SERVER_ID;

/// A connection by which something goes, and the names that it is told.
pub(super) type Way = (mpsc::Sender<Outgoing>, Vec<String>);

/// The connections of a room. Its task keeps them up; whoever says something looks here and does not
/// ask the task, which may be waiting for the application to take an event.
#[derive(Debug, Clone, Default)]
pub(super) struct Ways(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    own_id: String,
    is_forwarded: bool,
    outgoing: BTreeMap<String, mpsc::Sender<Outgoing>>,
}

impl Ways {
    /// There is a connection with somebody.
    pub(super) fn add(&self, id: String, outgoing: mpsc::Sender<Outgoing>) {
        self.with(|known| known.outgoing.insert(id, outgoing));
    }

    /// It is over.
    pub(super) fn remove(&self, id: &str) {
        self.with(|known| known.outgoing.remove(id));
    }

    /// The room was joined, under this id.
    pub(super) fn begin(&self, own_id: &str, is_forwarded: bool) {
        self.with(|known| {
            own_id.clone_into(&mut known.own_id);
            known.is_forwarded = is_forwarded;
        });
    }

    /// The id under which this side speaks.
    pub(super) fn own_id(&self) -> String {
        self.with(|known| known.own_id.clone())
    }

    /// Whether everything goes by the server.
    pub(super) fn set_forwarded(&self, is_forwarded: bool) {
        self.with(|known| known.is_forwarded = is_forwarded);
    }

    /// Those that lead to who is named, or to all.
    pub(super) fn to(&self, names: Option<&[String]>) -> Vec<Way> {
        self.with(|known| {
            if known.is_forwarded {
                let server = known.outgoing.get(SERVER_ID).into_iter();
                let names = names.unwrap_or_default();
                return server.map(|own| (own.clone(), names.to_vec())).collect();
            }
            let is_meant = |id: &String| names.is_none_or(|names| names.contains(id));
            let others = known.outgoing.iter();
            let others = others.filter(|(id, _)| is_meant(id) && id.as_str() != SERVER_ID);
            others.map(|(_, own)| (own.clone(), Vec::new())).collect()
        })
    }

    fn with<T>(&self, what: impl FnOnce(&mut Known) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_to_those_who_are_named_or_by_the_server_which_is_told_the_names() {
        let ways = Ways::default();
        let (outgoing, _kept) = mpsc::channel(1);
        for id in ["ada", "bob", SERVER_ID] {
            ways.add(id.to_owned(), outgoing.clone());
        }
        let bob = ["bob".to_owned(), "nobody".to_owned()];
        assert_eq!((ways.to(None).len(), ways.to(Some(&bob)).len()), (2, 1));
        ways.set_forwarded(true);
        let names = |to| ways.to(to).into_iter().map(|(_, names)| names);
        assert_eq!(names(None).collect::<Vec<_>>(), [Vec::<String>::new()]);
        assert_eq!(names(Some(&bob[..])).collect::<Vec<_>>(), [bob.to_vec()]);
        ways.remove(SERVER_ID);
        assert_eq!(ways.to(None).len(), 0);
    }
}
