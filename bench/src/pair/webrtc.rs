//! `webrtc` (webrtc-rs).

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCConfigurationBuilder, RTCIceGatheringState,
};
use webrtc::runtime::default_runtime;

use super::{Pair, QUEUED, block_on, breathe};

pub(super) struct WebrtcRs {
    sender: Arc<dyn DataChannel>,
    receiver: Arc<dyn DataChannel>,
    _ends: [Arc<dyn PeerConnection>; 2],
}

struct Handler {
    gathered: mpsc::UnboundedSender<()>,
    channels: mpsc::UnboundedSender<Arc<dyn DataChannel>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.send(());
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let _ = self.channels.send(channel);
    }
}

pub(super) fn connect() -> WebrtcRs {
    block_on(async {
        let (channels, mut incoming) = mpsc::unbounded_channel();
        let (gathered, mut first_gathered) = mpsc::unbounded_channel();
        let first = end(gathered, channels.clone()).await;
        let (gathered, mut second_gathered) = mpsc::unbounded_channel();
        let second = end(gathered, channels).await;
        let sender = first
            .create_data_channel("bulk", None)
            .await
            .expect("a channel");
        let offer = first.create_offer(None).await.expect("an offer");
        first.set_local_description(offer).await.expect("set");
        first_gathered.recv().await;
        let offer = first.local_description().await.expect("an offer");
        second.set_remote_description(offer).await.expect("set");
        let answer = second.create_answer(None).await.expect("an answer");
        second.set_local_description(answer).await.expect("set");
        second_gathered.recv().await;
        let answer = second.local_description().await.expect("an answer");
        first.set_remote_description(answer).await.expect("set");
        while !matches!(sender.poll().await, Some(DataChannelEvent::OnOpen)) {}
        let receiver = incoming.recv().await.expect("a channel");
        WebrtcRs {
            sender,
            receiver,
            _ends: [first, second],
        }
    })
}

async fn end(
    gathered: mpsc::UnboundedSender<()>,
    channels: mpsc::UnboundedSender<Arc<dyn DataChannel>>,
) -> Arc<dyn PeerConnection> {
    let end = PeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_media_engine(MediaEngine::default())
        .with_handler(Arc::new(Handler { gathered, channels }))
        .with_runtime(default_runtime().expect("a runtime"))
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
        .with_data_channel_send_buffer_limit(QUEUED)
        .build()
        .await
        .expect("a connection");
    Arc::new(end)
}

impl Pair for WebrtcRs {
    fn transfer(&mut self, message_len: usize, count: usize) {
        block_on(async {
            let sender = Arc::clone(&self.sender);
            let sending = tokio::spawn(async move {
                for _ in 0..count {
                    let message = BytesMut::from(vec![7; message_len].as_slice());
                    sender.send(message).await.expect("sent");
                }
            });
            let mut received = 0;
            while received < count {
                match self.receiver.poll().await {
                    Some(DataChannelEvent::OnMessage(message)) => {
                        assert_eq!(message.data.len(), message_len);
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
