//! The system tells of addresses that come and go, in a network of the test's own.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says what it has seen"
)]

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use twocan_io::changes::Changes;
use twocan_io::interfaces::{self, Filter};

/// For anything that is waited for.
const WITHIN: Duration = Duration::from_secs(30);

/// Times that each address comes and goes.
const ROUNDS: usize = 20;

/// Set for the process that has a network of its own.
const INSIDE: &str = "TWOCAN_TEST_NETWORK";

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).output();
    let done = done.unwrap();
    assert!(done.status.success(), "ip {arguments}: {done:?}");
}

/// Whether this process may have a network to itself.
fn can_have_network() -> bool {
    let tried = Command::new("unshare")
        .args(["--net", "ip", "link", "set", "lo", "up"])
        .output();
    tried.is_ok_and(|done| done.status.success())
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Waits until the address is there, or is not; answers how long that took.
async fn until(changes: &mut Changes, address: &str, is_there: bool) -> Duration {
    let address: IpAddr = address.parse().unwrap();
    let began = Instant::now();
    let waiting = async {
        loop {
            // What was listed before the change does not count.
            let all = interfaces::list_of(&Filter::default(), WITHIN).unwrap();
            if all.contains(&address) == is_there {
                return;
            }
            assert!(changes.next().await, "told no more");
        }
    };
    tokio::time::timeout(WITHIN, waiting).await.unwrap();
    began.elapsed()
}

#[test]
fn addresses_that_come_and_go_are_told_of() {
    if std::env::var_os(INSIDE).is_some() {
        return come_and_go();
    }
    if !can_have_network() {
        eprintln!("skipped: this process may have no network of its own");
        return;
    }
    let itself = std::env::current_exe().unwrap();
    let name = "addresses_that_come_and_go_are_told_of";
    let status = Command::new("unshare")
        .arg("--net")
        .arg(itself)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(status.unwrap().success());
}

fn come_and_go() {
    ip("link set lo up");
    let first = runtime();
    first.block_on(async {
        let mut changes = Changes::follow().unwrap();
        let mut other = Changes::follow().unwrap();
        let none = interfaces::list(&Filter::default()).unwrap();
        assert!(none.is_empty(), "{none:?}");
        for (address, len) in [("192.0.2.7", 32), ("2001:db8::7", 128)] {
            let mut took = Vec::new();
            for _ in 0..ROUNDS {
                ip(&format!("addr add {address}/{len} dev lo"));
                until(&mut changes, address, true).await;
                ip(&format!("addr del {address}/{len} dev lo"));
                took.push(until(&mut changes, address, false).await);
            }
            took.sort();
            let (median, most) = (took[ROUNDS / 2], took[ROUNDS - 1]);
            eprintln!("{address} gone: seen {median:?} after `ip addr del` (most {most:?})");
        }
        // All are told, by the one socket.
        assert!(tokio::time::timeout(WITHIN, other.next()).await.unwrap());
        ip("addr add 192.0.2.9/32 dev lo");
        let taken = async {
            while !other.take() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WITHIN, taken).await.unwrap();
    });
    let mut orphan = first.block_on(async { Changes::follow().unwrap() });
    drop(first);
    runtime().block_on(async {
        assert!(!orphan.next().await);
        // Whoever comes next listens on a runtime that lives.
        let mut changes = Changes::follow().unwrap();
        ip("addr add 192.0.2.8/32 dev lo");
        until(&mut changes, "192.0.2.8", true).await;
    });
}
