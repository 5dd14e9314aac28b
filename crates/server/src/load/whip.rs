//! Connecting by WHIP (RFC 9725) and WHEP.

use hyper::Method;
use twocan_proto::negotiate::{Kind, TransceiverId};
use twocan_proto::rtp::Delivery;
use twocan_proto::wire::sdp::Direction;
use twocan_proto::wire::units::Bitrate;

use super::client::Client;
use super::publisher::Connected;
use super::{ClientError, Shared};

/// Rate at which a viewer would send: it sends reports alone.
pub(super) const REPORTS: Bitrate = Bitrate::kbps(300);

/// What a publisher's connection begins with, so that nothing waits for its rate to grow.
pub(super) fn rate_of(shared: &Shared) -> Bitrate {
    Bitrate::kbps(u64::from(shared.arguments.bitrate) * 2)
}

/// Publishes one picture.
pub(super) async fn publish(shared: &Shared, room: &str) -> Result<Connected, ClientError> {
    let mut client = Client::new(&shared.kit, rate_of(shared));
    let transceiver = client
        .peer
        .add_transceiver(Kind::Video, Direction::SendOnly, &["load"])?;
    exchange(shared, &mut client, &format!("/whip/{room}")).await?;
    connected(client, transceiver).await
}

/// Waits for the connection of a publisher, and finds the codec.
pub(super) async fn connected(
    mut client: Client,
    transceiver: TransceiverId,
) -> Result<Connected, ClientError> {
    client.connected().await?;
    let media = client.peer.negotiated(transceiver);
    let codec = media.and_then(|own| own.codec("VP8"));
    let Some(payload_type) = codec.map(|own| own.payload_type_send) else {
        return Err(ClientError::Answer("no VP8".into()));
    };
    Ok(Connected {
        client,
        transceiver,
        payload_type,
    })
}

/// Takes all pictures of a room.
pub(super) async fn view(shared: &Shared, room: &str) -> Result<Client, ClientError> {
    let mut client = Client::new(&shared.kit, REPORTS);
    for _ in 0..shared.arguments.publishers {
        let peer = &mut client.peer;
        let transceiver = peer.add_transceiver(Kind::Video, Direction::RecvOnly, &[])?;
        peer.set_delivery(transceiver, Delivery::Packets);
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
