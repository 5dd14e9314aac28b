use super::*;
use crate::turn::server::{LISTENERS_MAX, Quotas};

const PEER: &str = "203.0.113.9:7000";

fn to_peer(lab: &mut Lab, client: &Client, peer: SocketAddr) -> usize {
    lab.sent.clear();
    lab.datagram(0, client.at, &send_indication(peer, b"hello"));
    lab.sent.len()
}

#[test]
fn what_is_there_goes_on_and_what_comes_is_by_the_new_settings() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    let relayed = ann.allocate(&mut lab);
    assert_eq!(ann.permit(&mut lab, address(PEER)), None);
    let quotas = Quotas {
        per_user: 1,
        ..Quotas::default()
    };
    let users = vec![
        ("ann".to_owned(), "changed".to_owned()),
        ("eve".to_owned(), "new".to_owned()),
    ];
    let changed = Config {
        users,
        quotas,
        realm: "other".to_owned(),
        relays: Vec::new(),
        ..config()
    };
    lab.server.reconfigure(&changed);
    assert_eq!(lab.server.allocation_count(), 1);
    assert_eq!(to_peer(&mut lab, &ann, address(PEER)), 1);
    lab.sent.clear();
    lab.datagram(LISTENERS_MAX, address(PEER), b"back");
    assert_eq!(lab.sent.len(), 1);
    // By the old password nothing is to be had, by the new one all is; realm and relays stay.
    assert_eq!(ann.code(&mut lab, Method::REFRESH, &[]), Some(401));
    ann.password = "changed".to_owned();
    assert_eq!(ann.code(&mut lab, Method::REFRESH, &[]), None);
    let mut bob = Client::bob("192.0.2.2:5000");
    assert_eq!(bob.code(&mut lab, Method::ALLOCATE, &[UDP]), Some(401));
    let mut eve = Client::new("192.0.2.3:5000", "eve", "new");
    assert_eq!(eve.allocate(&mut lab).ip(), relayed.ip());
    let mut second = Client::new("192.0.2.3:5001", "eve", "new");
    assert_eq!(second.code(&mut lab, Method::ALLOCATE, &[UDP]), Some(486));
}

#[test]
fn peers_are_refused_and_allowed_at_once() {
    let mut lab = Lab::new(config());
    let mut ann = Client::ann("192.0.2.1:5000");
    ann.allocate(&mut lab);
    let (public, private) = (address(PEER), address("10.1.2.3:7000"));
    assert_eq!(ann.bind(&mut lab, 0x4000, public), None);
    assert_eq!(ann.permit(&mut lab, private), Some(403));
    let policy = AddressPolicy {
        allow: vec!["10.1.0.0/16".parse().unwrap()],
        allowed_only: true,
        own: Vec::new(),
    };
    lab.server.reconfigure(&Config { policy, ..config() });
    assert_eq!(to_peer(&mut lab, &ann, public), 0);
    lab.sent.clear();
    lab.datagram(LISTENERS_MAX, public, b"back");
    assert_eq!(lab.sent, []);
    assert_eq!(ann.permit(&mut lab, public), Some(403));
    assert_eq!(ann.permit(&mut lab, private), None);
    assert_eq!(to_peer(&mut lab, &ann, private), 1);
    lab.server.reconfigure(&config());
    assert_eq!(to_peer(&mut lab, &ann, private), 0);
    assert_eq!(ann.permit(&mut lab, public), None);
    assert_eq!(to_peer(&mut lab, &ann, public), 1);
}

#[test]
fn secrets_follow_one_another() {
    let timed = |secret: &str, at: &str| {
        let username = format!("{}:carol", WALLCLOCK.as_secs() + 3600);
        let password = crate::turn::rest_password(secret.as_bytes(), &username);
        Client::new(at, &username, &password)
    };
    let with = |secrets: &[&str]| Config {
        secrets: secrets.iter().map(|own| (*own).to_owned()).collect(),
        ..config()
    };
    let mut lab = Lab::new(with(&[]));
    let mut first = timed("one", "192.0.2.1:5000");
    assert_eq!(first.code(&mut lab, Method::ALLOCATE, &[UDP]), Some(401));
    lab.server.reconfigure(&with(&["one"]));
    // What a nonce says of the server has changed with it.
    first.nonce.clear();
    first.allocate(&mut lab);
    lab.server.reconfigure(&with(&["one", "two"]));
    timed("two", "192.0.2.2:5000").allocate(&mut lab);
    lab.server.reconfigure(&with(&["two"]));
    assert_eq!(first.code(&mut lab, Method::REFRESH, &[]), Some(401));
    assert_eq!(lab.server.allocation_count(), 2);
}
