//! How often an address may ask.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use twocan_io::clock;

use super::{Shared, http, is_loopback};

/// Buckets, which addresses share by their hash: memory does not grow with who asks, and nobody can
/// choose with whom it shares.
const PLACES: usize = 16_384;

/// Why a request is not looked at.
const TOO_MANY: &str = "too many requests from this address";

/// Buckets of `per_second`, with twice as many at once.
pub(super) struct Rates {
    /// 0 is any number.
    per_second: u32,
    places: Mutex<Vec<Option<Bucket>>>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Rates {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            places: Mutex::new(vec![None; PLACES]),
            hasher: RandomState::new(),
        }
    }

    /// How long an address has to wait; `None` where it is answered now.
    fn wait(&self, now: Instant, address: IpAddr) -> Option<Duration> {
        if self.per_second == 0 {
            return None;
        }
        let rate = f64::from(self.per_second);
        let full = Bucket {
            tokens: 2.0 * rate,
            at: now,
        };
        let hash = self.hasher.hash_one(network(address));
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let len = u64::try_from(places.len()).ok()?;
        let place = usize::try_from(hash.checked_rem(len)?).ok()?;
        let bucket = places.get_mut(place)?.get_or_insert(full);
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * rate).min(2.0 * rate);
        bucket.at = bucket.at.max(now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return None;
        }
        Some(Duration::from_secs_f64((1.0 - bucket.tokens) / rate))
    }
}

/// Whoever has one address of IPv6 has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        own @ IpAddr::V4(_) => own,
    }
}

/// The answer with `Retry-After` to who asks too often; `None` for others. This machine may ask as
/// often as it likes: behind a proxy on it that nobody named, everybody has its address.
pub(super) fn refusal(
    shared: &Shared,
    remote: SocketAddr,
    headers: &HeaderMap,
) -> Option<Response> {
    // Those of whom a proxy does not say who they are share a place.
    let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let client = http::client_ip(shared, remote, headers).unwrap_or(nobody);
    if is_loopback(client) {
        return None;
    }
    let wait = shared.rates.wait(clock::now().monotonic, client)?;
    metrics::counter!("twocan_http_refused_total", "reason" => "rate").increment(1);
    let seconds = wait.as_secs_f64().ceil().max(1.0);
    let again = [(header::RETRY_AFTER, format!("{seconds:.0}"))];
    Some(
        (
            StatusCode::TOO_MANY_REQUESTS,
            again,
            format!("{TOO_MANY}\n"),
        )
            .into_response(),
    )
}

/// Before the administration.
pub(super) async fn limit(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    match refusal(&shared, remote, request.headers()) {
        Some(refused) => {
            let told = Json(json!({ "error": TOO_MANY })).into_response();
            let (mut parts, _) = refused.into_parts();
            parts.headers.extend(told.headers().clone());
            Response::from_parts(parts, told.into_body())
        }
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_for_its_turn_and_no_other() {
        let rates = Rates::new(2);
        let now = clock::now().monotonic;
        let [ada, same, bob]: [IpAddr; 3] = [
            "2001:db8::1".parse().unwrap(),
            "2001:db8::ffff:0:0:1".parse().unwrap(),
            "192.0.2.1".parse().unwrap(),
        ];
        let taken = |address, now| {
            (0..10)
                .filter(|_| rates.wait(now, address).is_none())
                .count()
        };
        assert_eq!(taken(ada, now), 4);
        assert_eq!(rates.wait(now, same), Some(Duration::from_millis(500)));
        let place = |own| rates.hasher.hash_one(network(own)) % 16_384;
        if place(ada) != place(bob) {
            assert_eq!(taken(bob, now), 4);
        }
        assert_eq!(taken(ada, now + Duration::from_millis(600)), 1);
        assert_eq!(taken(ada, now + Duration::from_secs(60)), 4);
        // A clock that seems to go back gives nothing.
        assert_eq!(taken(ada, now), 0);
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let rates = Rates::new(0);
        let now = clock::now().monotonic;
        assert!((0..1_000).all(|_| rates.wait(now, [192, 0, 2, 1].into()).is_none()));
    }
}
