//! Queues and lists that grow by little: of a server's many connections each has several, and one that doubles is
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

/// Adds an element to a list that mostly has no more than one.
pub(crate) fn push<T>(list: &mut Vec<T>, element: T) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.push(element);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_takes_the_room_of_one() {
        let mut list = Vec::new();
        push(&mut list, 1_u64);
        assert_eq!(list.capacity(), 1);
        push(&mut list, 2);
        assert_eq!(list, [1, 2]);
    }

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
