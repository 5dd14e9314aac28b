//! `rustrtc`.

use std::sync::Arc;

use rustrtc::transports::datachannel::{DataChannel, DataChannelEvent};
use rustrtc::{PeerConnection, PeerConnectionEvent, RtcConfiguration};

use super::{Pair, QUEUED, block_on, breathe};

pub(super) struct Rustrtc {
    sender: Arc<DataChannel>,
    receiver: Arc<DataChannel>,
    ends: [PeerConnection; 2],
}

pub(super) fn connect() -> Rustrtc {
    block_on(async {
        let make = || {
            PeerConnection::new(RtcConfiguration {
                bind_ip: Some("127.0.0.1".into()),
                disable_ipv6: true,
                sctp_max_buffered_amount: QUEUED,
                ..RtcConfiguration::default()
            })
        };
        let ends = [make(), make()];
        let sender = ends[0]
            .create_data_channel("bulk", None)
            .expect("a channel");
        let offer = ends[0].create_offer().await.expect("an offer");
        ends[0].set_local_description(offer).expect("set");
        ends[0].wait_for_gathering_complete().await;
        let offer = ends[0].local_description().expect("an offer");
        ends[1].set_remote_description(offer).await.expect("set");
        let answer = ends[1].create_answer().await.expect("an answer");
        ends[1].set_local_description(answer).expect("set");
        ends[1].wait_for_gathering_complete().await;
        let answer = ends[1].local_description().expect("an answer");
        ends[0].set_remote_description(answer).await.expect("set");
        while !matches!(sender.recv().await, Some(DataChannelEvent::Open)) {}
        let receiver = loop {
            if let Some(PeerConnectionEvent::DataChannel(channel)) = ends[1].recv().await {
                break channel;
            }
        };
        Rustrtc {
            sender,
            receiver,
            ends,
        }
    })
}

impl Pair for Rustrtc {
    fn transfer(&mut self, message_len: usize, count: usize) {
        block_on(async {
            let (end, id) = (self.ends[0].clone(), self.sender.id);
            let sending = tokio::spawn(async move {
                let message = vec![7; message_len];
                for _ in 0..count {
                    end.send_data(id, &message).await.expect("sent");
                }
            });
            let mut received = 0;
            while received < count {
                match self.receiver.recv().await {
                    Some(DataChannelEvent::Message(message)) => {
                        assert_eq!(message.len(), message_len);
                        received += 1;
                    }
                    Some(_) => {}
                    None => unreachable!("closed"),
                }
            }
            sending.await.expect("all sent");
        });
    }

    fn idle(&mut self) {
        block_on(breathe());
    }
}
