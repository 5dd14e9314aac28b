use std::time::{Duration, Instant};

use super::*;

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    Instant::now()
}

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// All blocks that go until nothing waits, each with when it went.
fn blocks(sender: &mut Sender, from: Instant) -> Vec<(Duration, String)> {
    let mut all = Vec::new();
    while let Some(due) = sender.deadline() {
        assert_eq!(sender.poll_block(due - milliseconds(1)), None, "{all:?}");
        let block = sender.poll_block(due);
        assert!(block.is_some(), "{all:?}");
        all.extend(block.map(|block| (due - from, block)));
    }
    all
}

#[test]
fn the_first_goes_at_once_and_the_next_when_the_interval_is_over() {
    let start = start();
    let mut sender = Sender::new(INTERVAL_DEFAULT, CPS_DEFAULT);
    assert_eq!(sender.deadline(), None);
    assert_eq!(sender.write(start, "h"), Ok(()));
    assert_eq!(sender.poll_block(start).as_deref(), Some("\u{feff}h"));
    for (at, text) in [(50, "e"), (100, "l"), (299, "lo")] {
        assert_eq!(sender.write(start + milliseconds(at), text), Ok(()));
    }
    let rest = blocks(&mut sender, start);
    assert_eq!(rest, [(milliseconds(300), "ello".to_owned())]);
    // After a pause there is nothing to wait for.
    let later = start + milliseconds(5000);
    assert_eq!(sender.write(later, "!"), Ok(()));
    assert_eq!(sender.poll_block(later).as_deref(), Some("!"));
}

#[test]
fn no_second_has_more_characters_than_the_receiver_takes() {
    for cps in [1, 2, 7, 30, 500] {
        for interval in [0, 10, 300, 9000] {
            let start = start();
            let mut sender = Sender::new(milliseconds(interval), cps);
            let text: String = ('a'..='z').cycle().take(200).collect();
            assert_eq!(sender.write(start, &text), Ok(()));
            let all = blocks(&mut sender, start);
            let sent: String = all.iter().map(|(_, block)| block.as_str()).collect();
            assert_eq!(sent.trim_start_matches('\u{feff}'), text);
            for (from, _) in &all {
                let second = all
                    .iter()
                    .filter(|(at, _)| *at >= *from && *at < *from + Duration::from_secs(1));
                let count: usize = second.map(|(_, block)| block.chars().count()).sum();
                // The byte order mark and one character go together in any case.
                let most = (cps as usize).max(2);
                assert!(count <= most, "{count} with {cps} and {interval}: {all:?}");
            }
            assert!(
                all.windows(2)
                    .all(|pair| { pair[1].0 - pair[0].0 >= milliseconds(interval.min(500)) })
            );
        }
    }
}

#[test]
fn what_waits_is_erased_here_and_what_went_is_erased_there() {
    let start = start();
    let mut sender = Sender::new(INTERVAL_DEFAULT, CPS_DEFAULT);
    assert_eq!(sender.write(start, "ab"), Ok(()));
    let first = sender.poll_block(start);
    assert_eq!(
        sender.write(start, "cd\u{8}\u{8}\u{8}x\r\ny\rz\n\u{1b}\u{9b}\u{feff}"),
        Ok(())
    );
    let rest = blocks(&mut sender, start);
    assert_eq!(rest[0].1, "\u{8}x\u{2028}y\u{2028}z\u{2028}");
    let mut receiver = Receiver::new();
    for block in first.iter().chain([&rest[0].1]) {
        receiver.receive(block);
    }
    assert_eq!(receiver.text(), "ax\ny\nz\n");
}

#[test]
fn too_much_is_refused_whole_and_a_new_channel_begins_with_the_mark() {
    let start = start();
    let mut sender = Sender::new(INTERVAL_DEFAULT, CPS_DEFAULT);
    let long = "x".repeat(WAITING_CHARS_MAX);
    assert_eq!(sender.write(start, &long), Ok(()));
    assert_eq!(sender.write(start, "y"), Err(Full));
    assert_eq!(sender.waiting(), WAITING_CHARS_MAX);
    let first = sender.poll_block(start);
    assert_eq!(
        first.map(|block| block.chars().count()),
        Some(CPS_DEFAULT as usize)
    );
    sender.begin_again();
    let next = sender.deadline().and_then(|due| sender.poll_block(due));
    assert!(next.is_some_and(|block| block.starts_with("\u{feff}x")));
}

#[test]
fn what_arrives_becomes_text() {
    let mut receiver = Receiver::new();
    let added = |text: &str| Change::Added(text.to_owned());
    assert_eq!(receiver.receive("\u{feff}helo"), [added("helo")]);
    let mended = receiver.receive("\u{8}lo\u{7}!");
    assert_eq!(
        mended,
        [Change::Erased(1), added("lo"), Change::Alert, added("!")]
    );
    // A line end in two blocks is one, and is erased as one.
    assert_eq!(receiver.receive("\r"), [added("\n")]);
    assert_eq!(receiver.receive("\n"), []);
    assert_eq!(
        receiver.receive("\u{8}\u{2028}ü"),
        [Change::Erased(1), added("\nü")]
    );
    assert_eq!(receiver.note_missing(), [added("\u{fffd}")]);
    assert_eq!(receiver.text(), "hello!\nü\u{fffd}");
    // There is no more to erase than there is.
    assert_eq!(receiver.receive(&"\u{8}".repeat(100)), [Change::Erased(9)]);
    assert_eq!(receiver.text(), "");
}

#[test]
fn control_sequences_are_passed_over_and_never_swallow_the_rest() {
    let mut receiver = Receiver::new();
    receiver.receive("a\u{9b}1;31");
    receiver.receive("mb\u{1b}ac\u{98}for an application\u{9c}d\u{1b}[0me\u{0}\u{85}");
    assert_eq!(receiver.text(), "abcde");
    for opening in ["\u{9b}", "\u{98}"] {
        let mut receiver = Receiver::new();
        receiver.receive(opening);
        receiver.receive(&"1".repeat(1000));
        assert!(receiver.text().len() > 700, "{opening:?}");
    }
}

#[test]
fn the_text_is_bounded() {
    let mut receiver = Receiver::new();
    for _ in 0..70 {
        receiver.receive(&"x".repeat(1000));
    }
    assert_eq!(receiver.text().chars().count(), TEXT_CHARS_MAX);
}
