//! The rooms in numbers, for `/metrics`.

use twocan_room::Hall;

/// Counters of rooms that changed shape; all others are of what was refused.
const MOVED: &str = "hall.moved_to_";

/// Sets the numbers.
pub(super) fn measure(hall: &Hall) {
    let forwarded = hall.forwarded_room_count();
    let meshes = hall.room_count().saturating_sub(forwarded);
    for (shape, count) in [("mesh", meshes), ("sfu", forwarded)] {
        metrics::gauge!("twocan_rooms", "topology" => shape).set(count as f64);
    }
    metrics::gauge!("twocan_participants").set(hall.peer_count() as f64);
    for (reason, count) in hall.counters().iter() {
        match reason.strip_prefix(MOVED) {
            Some(shape) => metrics::counter!("twocan_rooms_moved_total", "to" => shape),
            None => metrics::counter!("twocan_signaling_refused_total", "reason" => reason),
        }
        .absolute(count);
    }
}
