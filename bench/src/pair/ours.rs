//! `twocan`, as an application uses it.

use twocan::{Configuration, DataChannel, DataChannelInit, PeerConnection, PeerConnectionEvent};

use super::{Pair, QUEUED, block_on, breathe};

pub(super) struct Ours {
    sender: DataChannel,
    receiver: DataChannel,
    _ends: [PeerConnection; 2],
}

pub(super) fn connect() -> Ours {
    block_on(async {
        let make = || {
            PeerConnection::new(Configuration {
                loopback_candidates: true,
                ..Configuration::default()
            })
            .expect("a connection")
        };
        let ends = [make(), make()];
        let sender = ends[0]
            .create_data_channel("bulk", DataChannelInit::default())
            .expect("a channel");
        ends[0].set_local_description(None).expect("an offer");
        let offer = ends[0].gathered_description().await.expect("an offer");
        ends[1].set_remote_description(offer).expect("accepted");
        ends[1].set_local_description(None).expect("an answer");
        let answer = ends[1].gathered_description().await.expect("an answer");
        ends[0].set_remote_description(answer).expect("accepted");
        sender.opened().await.expect("open");
        let receiver = loop {
            match ends[1].next_event().await {
                Some(PeerConnectionEvent::DataChannel(channel)) => break channel,
                Some(_) => {}
                None => unreachable!("closed while connecting"),
            }
        };
        Ours {
            sender,
            receiver,
            _ends: ends,
        }
    })
}

impl Pair for Ours {
    fn transfer(&mut self, message_len: usize, count: usize) {
        block_on(async {
            let sender = self.sender.clone();
            let sending = tokio::spawn(async move {
                for _ in 0..count {
                    sender.drained(QUEUED).await;
                    sender.send(vec![7; message_len]).expect("sent");
                }
            });
            for _ in 0..count {
                let message = self.receiver.next_message().await.expect("a message");
                assert_eq!(message.len(), message_len);
            }
            sending.await.expect("all sent");
        });
    }

    fn idle(&mut self) {
        block_on(breathe());
    }
}
