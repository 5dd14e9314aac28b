//! Queues that grow by little: of a server's many connections each has several, and one that doubles is
//! half empty most of the time.

use std::collections::VecDeque;

/// Room that is made beyond an eighth, in elements.
const STEP_MIN: usize = 16;

/// Makes room for one element more.
pub(crate) fn reserve_one<T>(queue: &mut VecDeque<T>) {
    if queue.len() == queue.capacity() {
        queue.reserve_exact(queue.len() / 8 + STEP_MIN);
    }
}

/// Adds an element at the end.
pub(crate) fn push_back<T>(queue: &mut VecDeque<T>, element: T) {
    reserve_one(queue);
    queue.push_back(element);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_more_is_taken_than_is_used() {
        let mut queue = VecDeque::new();
        for count in 1..10_000 {
            push_back(&mut queue, count);
            assert!(
                queue.capacity() <= queue.len() * 9 / 8 + STEP_MIN,
                "{count}"
            );
        }
    }
}
