//! The STUN server's socket.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;

use twocan_io::udp::Socket;
use twocan_proto::contract::{Batch, Destination, Ecn, Path, SocketId};
use twocan_proto::stun_server::StunServer;

/// Binds the address and answers there until the process ends. Answers the address bound.
pub(crate) fn start(address: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::bind_to(address)?;
    let local = socket.local();
    tokio::spawn(run(socket));
    Ok(local)
}

async fn run(socket: Socket) {
    let mut server = StunServer::new();
    let mut batch = Batch::new();
    let mut spill = Vec::new();
    let path = Path {
        socket: SocketId(0),
        local: socket.local(),
    };
    loop {
        let received = poll_fn(|context| {
            socket.poll_receive(context, |remote, _, bytes| {
                let destination = Destination {
                    path,
                    remote,
                    ecn: Ecn::NotEct,
                };
                batch.clear();
                batch.push(destination, &mut spill, |out| {
                    server.respond(remote, bytes, out);
                });
                socket.send(&batch);
            })
        });
        if let Err(error) = received.await {
            tracing::debug!(%error, "receiving STUN");
        }
        for (reason, count) in server.counters().iter() {
            metrics::counter!("twocan_stun_requests_total", "outcome" => reason).absolute(count);
        }
    }
}
