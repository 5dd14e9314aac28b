//! Servers named without a port, by a name server of the test's own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use twocan::{Configuration, Environment, IceServer, PeerConnection};
use twocan_io::locate::{addresses, locate};
use twocan_proto::locate::{Kind, Service};
use twocan_proto::wire::nat64::{NAME, Prefix};

/// For anything that is waited for; two busy cores are slow.
const WITHIN: Duration = Duration::from_secs(60);

/// Answers by UDP with the SRV records of `owner`, as long as the runtime lasts.
async fn name_server(owner: &str, port: u16) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    let owner = Name::from_str_relaxed(owner).unwrap();
    let target = Name::from_str_relaxed("localhost.").unwrap();
    let dead = Name::from_str_relaxed("nowhere.invalid.").unwrap();
    let records = [SRV::new(2, 0, port, target), SRV::new(1, 0, 9, dead)];
    tokio::spawn(async move {
        let mut bytes = [0; 4096];
        while let Ok((len, from)) = socket.recv_from(&mut bytes).await {
            let asked = Message::from_vec(&bytes[..len]).unwrap();
            let query = asked.queries[0].clone();
            let mut answer = Message::response(asked.metadata.id, OpCode::Query);
            answer.add_query(query.clone());
            if query.query_type == RecordType::SRV && query.name == owner {
                let own = records.iter().cloned().map(RData::SRV);
                let own = own.map(|data| Record::from_rdata(owner.clone(), 60, data));
                answer.add_answers(own);
            } else {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
        }
    });
    at
}

/// The first datagram that a server at the end of that URL gets.
async fn asked_at(url: &str, owner: &str) -> Vec<u8> {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let names = name_server(owner, port).await;
    let environment = Environment::new().unwrap().with_name_servers(vec![names]);
    let configuration = Configuration {
        environment: Some(environment),
        loopback_candidates: true,
        ice_servers: vec![IceServer {
            urls: vec![url.to_owned()],
            username: Some("ann".to_owned()),
            credential: Some("secret".to_owned()),
        }],
        ..Configuration::default()
    };
    let connection = PeerConnection::new(configuration).unwrap();
    connection
        .create_data_channel("chat", twocan::DataChannelInit::default())
        .unwrap();
    connection.set_local_description(None).unwrap();
    let mut bytes = vec![0; 2048];
    let received = tokio::time::timeout(WITHIN, server.recv_from(&mut bytes));
    let (len, _) = received.await.expect("asked").unwrap();
    bytes.truncate(len);
    bytes
}

#[tokio::test]
async fn a_stun_server_is_found_by_its_records() {
    let asked = asked_at("stun:example.test", "_stun._udp.example.test.").await;
    assert_eq!(asked[..2], [0, 1], "a Binding request");
}

#[tokio::test]
async fn a_turn_server_is_found_by_its_records() {
    let asked = asked_at("turn:example.test", "_turn._udp.example.test.").await;
    assert_eq!(asked[..2], [0, 3], "an Allocate request");
}

#[tokio::test]
async fn a_name_server_that_says_nothing_is_not_waited_for_without_end() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let service = Service {
        host: "silent.example.test".to_owned(),
        kind: Kind::Stun,
    };
    let servers = [silent.local_addr().unwrap()];
    let found = tokio::time::timeout(WITHIN, locate(service, &servers)).await;
    assert_eq!(found.expect("an end"), []);
    let mut bytes = [0; 512];
    let asked = tokio::time::timeout(WITHIN, silent.recv_from(&mut bytes));
    asked.await.expect("it was asked").unwrap();
}

/// RFC 7050: a network with IPv6 alone tells how it reaches IPv4.
#[tokio::test]
async fn the_prefix_of_a_nat64_is_asked_of_the_name_servers_that_are_named() {
    let resolver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = resolver.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = [0; 4096];
        while let Ok((len, from)) = resolver.recv_from(&mut bytes).await {
            let asked = Message::from_vec(&bytes[..len]).unwrap();
            let query = asked.queries[0].clone();
            let mut answer = Message::response(asked.metadata.id, OpCode::Query);
            answer.add_query(query.clone());
            if query.query_type == RecordType::AAAA {
                for made in ["2001:db8:64::c000:aa", "2001:db8:64::c000:ab"] {
                    let data = RData::AAAA(AAAA(made.parse().unwrap()));
                    answer.add_answers([Record::from_rdata(query.name.clone(), 60, data)]);
                }
            }
            let _ = resolver.send_to(&answer.to_vec().unwrap(), from).await;
        }
    });
    let servers = [at];
    let asked = tokio::time::timeout(WITHIN, addresses(NAME, &servers));
    let v6 = asked.await.expect("an answer").into_iter();
    let v6 = v6.filter_map(|ip| match ip {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    });
    let prefixes = Prefix::find(v6);
    let made = prefixes[0].synthesise("192.0.2.33".parse().unwrap());
    assert_eq!(made.to_string(), "2001:db8:64::c000:221");
    assert_eq!(prefixes.len(), 1);
}
