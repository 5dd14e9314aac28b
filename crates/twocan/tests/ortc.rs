//! Connections without descriptions, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use twocan::ortc::{
    DtlsParameters, DtlsTransport, IceGatherer, IceParameters, IceTransport, RtpReceiver,
    RtpSender, SctpTransport,
};
use twocan::{
    Configuration, DataChannelInit, DtlsTransportState, EncodedFrame, IceRole, Kind, Message,
    PeerFailure,
};

/// For anything that is waited for.
const WITHIN: Duration = Duration::from_secs(30);

struct Side {
    gatherer: IceGatherer,
    ice: IceTransport,
    dtls: DtlsTransport,
    sctp: SctpTransport,
}

impl Side {
    fn new(port: u16) -> Self {
        let gatherer = IceGatherer::new(Configuration {
            loopback_candidates: true,
            ..Configuration::default()
        })
        .unwrap();
        let ice = IceTransport::new(&gatherer);
        let dtls = DtlsTransport::new(&ice);
        let sctp = SctpTransport::with_port(&dtls, port);
        Self {
            gatherer,
            ice,
            dtls,
            sctp,
        }
    }

    fn start(&self, other: &Self, role: IceRole) {
        let parameters = other.gatherer.local_parameters();
        self.ice.start(&parameters, role).unwrap();
        self.dtls.start(&other.dtls.local_parameters()).unwrap();
        let size = other.sctp.capabilities();
        self.sctp.start(size, other.sctp.local_port()).unwrap();
    }
}

/// Candidates of one go to the other as they come.
fn trickle(from: &Side, to: &Side) {
    let (gatherer, ice) = (from.gatherer.clone(), to.ice.clone());
    tokio::spawn(async move {
        while let Some(candidate) = gatherer.next_candidate().await {
            ice.add_remote_candidate(Some(&candidate)).unwrap();
        }
        ice.add_remote_candidate(None).unwrap();
    });
    from.gatherer.gather().unwrap();
}

/// Two sides that have told each other everything.
fn connected() -> (Side, Side) {
    // Ports that are not the usual ones, and differ.
    let (ada, bob) = (Side::new(5001), Side::new(5002));
    ada.start(&bob, IceRole::Controlling);
    bob.start(&ada, IceRole::Controlled);
    trickle(&ada, &bob);
    trickle(&bob, &ada);
    (ada, bob)
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(WITHIN, what).await.unwrap()
}

#[tokio::test]
async fn channels_told_in_band_and_agreed_beforehand_carry_messages() {
    let (ada, bob) = connected();
    let agreed = DataChannelInit {
        negotiated: true,
        id: Some(100),
        ..DataChannelInit::default()
    };
    let pair = [&ada, &bob].map(|own| own.sctp.create_data_channel("agreed", agreed.clone()));
    let [first, second] = pair.map(Result::unwrap);
    let told = ada
        .sctp
        .create_data_channel("told", DataChannelInit::default());
    let told = told.unwrap();
    soon(first.opened()).await.unwrap();
    soon(told.opened()).await.unwrap();
    first.send_text("by number").unwrap();
    told.send_text("by name").unwrap();
    let text = |own: &str| Some(Message::Text(own.to_owned()));
    assert_eq!(soon(second.next_message()).await, text("by number"));
    let arrived = soon(bob.sctp.next_data_channel()).await.unwrap();
    assert_eq!(arrived.label(), "told");
    assert_eq!(soon(arrived.next_message()).await, text("by name"));
    assert_eq!(ada.dtls.state(), DtlsTransportState::Connected);
    assert!(bob.sctp.max_channels().is_some());
    // The end of one is the end of both.
    ada.gatherer.close();
    soon(ada.gatherer.closed()).await;
    assert_eq!(soon(second.next_message()).await, None);
    let closed = bob.dtls.state_other_than(DtlsTransportState::Connected);
    assert_eq!(soon(closed).await, Some(DtlsTransportState::Closed));
}

#[tokio::test]
async fn frames_go_from_a_sender_to_its_receiver_until_one_stops() {
    let (ada, bob) = connected();
    let sender = RtpSender::new(Kind::Audio, &ada.dtls).unwrap();
    assert!(sender.parameters().is_none());
    let mut parameters = RtpSender::capabilities(Kind::Audio).parameters(&["opus"]);
    parameters.mid = Some("voice".to_owned());
    sender.send(&parameters).unwrap();
    let receiver = RtpReceiver::new(Kind::Audio, &bob.dtls).unwrap();
    receiver.receive(&sender.parameters().unwrap()).unwrap();
    assert!(soon(sender.track().can_send()).await);
    let frame = EncodedFrame {
        codec: "opus",
        timestamp: 960,
        data: &[1, 2, 3],
        ..EncodedFrame::default()
    };
    // What comes before the other side has its keys is lost.
    let mut state = bob.dtls.state();
    while state != DtlsTransportState::Connected {
        state = soon(bob.dtls.state_other_than(state)).await.unwrap();
    }
    sender.track().send_frame(frame).unwrap();
    let got = soon(receiver.track().next_frame()).await.unwrap();
    assert_eq!(
        (got.codec.as_str(), &got.data[..]),
        ("opus", &[1, 2, 3][..])
    );
    let told = sender.parameters().unwrap();
    assert_eq!(Some(got.ssrc), told.encodings[0].ssrc);
    receiver.stop().unwrap();
    let rest = async { while receiver.track().next_frame().await.is_some() {} };
    soon(rest).await;
    sender.stop().unwrap();
    let refused = sender.send(&parameters).unwrap_err();
    assert_eq!(refused.name(), "InvalidStateError");
    let refused = sender.track().send_frame(frame).unwrap_err();
    assert_eq!(refused.name(), "InvalidStateError");
}

#[tokio::test]
async fn nobody_else_is_let_in() {
    let (ada, bob, eve) = (Side::new(5000), Side::new(5000), Side::new(5000));
    let parameters: IceParameters = bob.gatherer.local_parameters();
    ada.ice.start(&parameters, IceRole::Controlling).unwrap();
    ada.dtls.start(&eve.dtls.local_parameters()).unwrap();
    bob.start(&ada, IceRole::Controlled);
    trickle(&ada, &bob);
    trickle(&bob, &ada);
    let failure = soon(ada.dtls.next_failure()).await.unwrap();
    assert!(matches!(failure, PeerFailure::Dtls(_)), "{failure}");
    assert_eq!(ada.dtls.state(), DtlsTransportState::Failed);
}

#[tokio::test]
async fn what_is_no_fingerprint_is_refused() {
    let own = Side::new(5000);
    for value in ["", "AB", "+1:02", "A:B", "0102", "zz:zz"] {
        let mut bad: DtlsParameters = own.dtls.local_parameters();
        value.clone_into(&mut bad.fingerprints[0].value);
        let refused = own.dtls.start(&bad).unwrap_err().name();
        let expected = match value {
            "AB" => "InvalidAccessError",
            _ => "SyntaxError",
        };
        assert_eq!(refused, expected, "{value}");
    }
    assert_eq!(own.dtls.state(), DtlsTransportState::New);
}
