//! `RTCIceTransport` over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use twocan::{
    Configuration, DataChannelInit, IceCandidateType, IceComponent, IceGatheringState, IceRole,
    IceTransportState, PeerConnection, PeerConnectionEvent,
};

/// For anything that is waited for.
const WITHIN: Duration = Duration::from_secs(15);

#[tokio::test]
async fn both_sides_see_the_pair_that_they_share() {
    let (caller, callee) = (connection(), connection());
    let transport = caller.ice_transport();
    assert_eq!(
        (transport.role(), transport.selected_candidate_pair()),
        (None, None)
    );
    assert_eq!(transport.state(), IceTransportState::New);
    assert_eq!(transport.gathering_state(), IceGatheringState::New);
    assert!(transport.local_candidates().is_empty() && transport.remote_candidates().is_empty());
    let channel = caller
        .create_data_channel("chat", DataChannelInit::default())
        .unwrap();
    caller.set_local_description(None).unwrap();
    let offer = caller.gathered_description().await.unwrap();
    callee.set_remote_description(offer).unwrap();
    callee.set_local_description(None).unwrap();
    let answer = callee.gathered_description().await.unwrap();
    caller.set_remote_description(answer).unwrap();
    channel.opened().await.unwrap();

    let theirs = callee.ice_transport();
    assert_eq!(transport.role(), Some(IceRole::Controlling));
    assert_eq!(theirs.role(), Some(IceRole::Controlled));
    assert_eq!(transport.component(), IceComponent::Rtp);
    assert_eq!(transport.gathering_state(), IceGatheringState::Complete);
    assert!(transport.state() != IceTransportState::New);
    assert_eq!(transport.local_parameters(), theirs.remote_parameters());
    assert_eq!(transport.remote_parameters(), theirs.local_parameters());

    let pair = transport.selected_candidate_pair().unwrap();
    assert_eq!(selected(&caller).await, pair);
    let parsed = pair.local.parsed().unwrap();
    assert_eq!(parsed.kind, IceCandidateType::Host);
    let listed = theirs.remote_candidates();
    assert!(listed.iter().any(|own| own.parsed().unwrap() == parsed));
    assert_eq!(
        pair.local.username_fragment,
        Some(transport.local_parameters().unwrap().username_fragment)
    );
    assert_eq!(
        caller.get_stats().transport.selected_candidate_pair_changes,
        1
    );

    caller.close();
    caller.closed().await;
    assert_eq!(transport.state(), IceTransportState::Closed);
}

/// The pair that the first event tells of.
async fn selected(connection: &PeerConnection) -> twocan::IceCandidatePair {
    let waiting = async {
        loop {
            match connection.next_event().await {
                Some(PeerConnectionEvent::SelectedCandidatePairChange(Some(pair))) => return pair,
                Some(_) => {}
                None => panic!("closed before a pair was selected"),
            }
        }
    };
    tokio::time::timeout(WITHIN, waiting).await.unwrap()
}

fn connection() -> PeerConnection {
    let only_loopback = Some(vec!["lo".to_owned()]);
    PeerConnection::new(Configuration {
        loopback_candidates: true,
        interfaces: only_loopback,
        ..Configuration::default()
    })
    .unwrap()
}
