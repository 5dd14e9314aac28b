//! Connecting by WHIP (RFC 9725) and WHEP.

use hyper::Method;
use twocan_proto::negotiate::TransceiverId;
use twocan_proto::rtp::Delivery;
use twocan_proto::wire::sdp::Direction;
use twocan_proto::wire::units::Bitrate;

use super::client::Client;
use super::publisher::{Connected, Line, Source};
use super::{ClientError, Shared};

/// Rate at which a viewer would send: it sends reports alone.
pub(super) const REPORTS: Bitrate = Bitrate::kbps(300);

/// What a publisher's connection begins with, so that nothing waits for its rate to grow.
pub(super) fn rate_of(shared: &Shared) -> Bitrate {
    Bitrate::kbps(u64::from(shared.arguments.bitrate) * 2)
}

/// A publisher's connection, with the lines that it sends on.
pub(super) fn publisher(shared: &Shared) -> Result<(Client, Vec<TransceiverId>), ClientError> {
    let mut client = Client::new(&shared.kit, rate_of(shared));
    let kinds = shared.arguments.media.kinds().iter();
    let lines = kinds.map(|kind| {
        let peer = &mut client.peer;
        peer.add_transceiver(*kind, Direction::SendOnly, &["load"])
    });
    let lines = lines.collect::<Result<_, _>>()?;
    Ok((client, lines))
}

/// Publishes what is wanted.
pub(super) async fn publish(shared: &Shared, room: &str) -> Result<Connected, ClientError> {
    let (mut client, lines) = publisher(shared)?;
    exchange(shared, &mut client, &format!("/whip/{room}")).await?;
    connected(shared, client, &lines).await
}

/// Waits for the connection of a publisher, and finds the codecs.
pub(super) async fn connected(
    shared: &Shared,
    mut client: Client,
    transceivers: &[TransceiverId],
) -> Result<Connected, ClientError> {
    client.connected().await?;
    let mut lines = Vec::new();
    for transceiver in transceivers {
        let media = client.peer.negotiated(*transceiver);
        let codec = media.and_then(|own| {
            let codec = own.codec("VP8").or_else(|| own.codec("opus"))?;
            Some((own, codec))
        });
        let Some((media, codec)) = codec else {
            return Err(ClientError::Answer("neither VP8 nor Opus".into()));
        };
        lines.push(Line {
            transceiver: *transceiver,
            mid: media.mid.clone(),
            payload_type: codec.payload_type_send,
            source: Source::new(media.kind, &shared.arguments),
        });
    }
    Ok(Connected { client, lines })
}

/// Takes all that is published in a room.
pub(super) async fn view(shared: &Shared, room: &str) -> Result<Client, ClientError> {
    let mut client = Client::new(&shared.kit, REPORTS);
    for kind in shared.arguments.media.kinds() {
        for _ in 0..shared.arguments.publishers {
            let peer = &mut client.peer;
            let transceiver = peer.add_transceiver(*kind, Direction::RecvOnly, &[])?;
            peer.set_delivery(transceiver, Delivery::Packets);
        }
    }
    exchange(shared, &mut client, &format!("/whep/{room}")).await?;
    client.connected().await?;
    Ok(client)
}

async fn exchange(shared: &Shared, client: &mut Client, path: &str) -> Result<(), ClientError> {
    let offer = client.offer().await?;
    let content = Some(("application/sdp", offer));
    let answer = shared.host.ask(Method::POST, path, content).await?;
    client.accept(&answer)
}
