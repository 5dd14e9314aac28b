//! A connection follows the addresses of its host, in a network of the test's own.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says what it has seen"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use twocan::{Configuration, DataChannelInit, IceCandidate, PeerConnection, PeerConnectionEvent};

/// For anything that is waited for. Where nothing tells of changes, a look every 30 s is too late.
const WITHIN: Duration = Duration::from_secs(15);

/// Set for the process that has a network of its own.
const INSIDE: &str = "TWOCAN_TEST_NETWORK";

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).output();
    let done = done.unwrap();
    assert!(done.status.success(), "ip {arguments}: {done:?}");
}

fn can_have_network() -> bool {
    let tried = Command::new("unshare")
        .args(["--net", "ip", "link", "set", "lo", "up"])
        .output();
    tried.is_ok_and(|done| done.status.success())
}

/// Does something in a process that has a network of its own; this is that test's name.
fn with_own_network(name: &str, act: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        return runtime.block_on(act);
    }
    if !can_have_network() {
        eprintln!("skipped: this process may have no network of its own");
        return;
    }
    let status = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_call_follows_its_addresses_as_soon_as_they_change() {
    let name = "a_call_follows_its_addresses_as_soon_as_they_change";
    with_own_network(name, follow());
}

#[test]
fn an_address_of_ipv6_is_used_once_it_is_known_to_be_unique() {
    let name = "an_address_of_ipv6_is_used_once_it_is_known_to_be_unique";
    with_own_network(name, wait_for_unique());
}

async fn wait_for_unique() {
    ip("link add v0 type veth peer name v1");
    ip("link set v0 up");
    ip("link set v1 up");
    let connection = PeerConnection::new(Configuration::default()).unwrap();
    connection
        .create_data_channel("chat", DataChannelInit::default())
        .unwrap();
    connection.set_local_description(None).unwrap();
    ip("addr add 2001:db8::5/64 dev v0");
    // It is seen now, with this one, and cannot be bound for a second or two.
    ip("addr add 192.0.2.5/24 dev v0");
    for address in ["192.0.2.5", "2001:db8::5"] {
        let is_it = |own: &IceCandidate| is_of_udp(own, address);
        let told = |event| match event {
            PeerConnectionEvent::IceCandidate(own) => Some(own).filter(is_it),
            _ => None,
        };
        until(&connection, told).await;
    }
}

async fn follow() {
    ip("link set lo up");
    ip("addr add 192.0.2.1/32 dev lo");
    let connection = || PeerConnection::new(Configuration::default()).unwrap();
    let (caller, callee) = (connection(), connection());
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

    ip("addr add 192.0.2.2/32 dev lo");
    let began = Instant::now();
    let told = |event| match event {
        PeerConnectionEvent::IceCandidate(own) => Some(own),
        _ => None,
    };
    let is_new = |own: &IceCandidate| is_of_udp(own, "192.0.2.2");
    let theirs = until(&callee, |event| told(event).filter(is_new)).await;
    let ours = until(&caller, |event| told(event).filter(is_new)).await;
    eprintln!("candidates {:?} after `ip addr add`", began.elapsed());
    caller.add_ice_candidate(theirs).unwrap();
    callee.add_ice_candidate(ours).unwrap();

    ip("addr del 192.0.2.1/32 dev lo");
    let began = Instant::now();
    let is_at = |own: &IceCandidate| is_of_udp(own, "192.0.2.2");
    let moved = |event| match event {
        PeerConnectionEvent::SelectedCandidatePairChange(pair) => {
            pair.filter(|pair| is_at(&pair.local) && is_at(&pair.remote))
        }
        _ => None,
    };
    until(&caller, moved).await;
    eprintln!("another pair {:?} after `ip addr del`", began.elapsed());
}

/// Whether a socket for datagrams is bound to the address.
fn is_of_udp(own: &IceCandidate, address: &str) -> bool {
    let words: Vec<&str> = own.candidate.split(' ').collect();
    words.get(2) == Some(&"udp") && words.get(4) == Some(&address)
}

/// Waits for the first event of which there is something to tell.
async fn until<R>(
    connection: &PeerConnection,
    told: impl Fn(PeerConnectionEvent) -> Option<R>,
) -> R {
    let waiting = async {
        loop {
            match connection.next_event().await {
                Some(event) => {
                    if let Some(told) = told(event) {
                        return told;
                    }
                }
                None => panic!("closed"),
            }
        }
    };
    tokio::time::timeout(WITHIN, waiting).await.unwrap()
}
