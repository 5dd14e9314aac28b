use std::time::{Duration, Instant};

use proptest::prelude::*;
use twocan_wire::payload::PayloadError;
use twocan_wire::payload::telephone_event::TelephoneEvent;

use super::*;

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin")]
    Instant::now()
}

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A stream of sound that began at 1000.
fn clock(rate: u32, passed: Duration) -> RtpClock {
    let ticks = passed.as_nanos() * u128::from(rate) / 1_000_000_000;
    RtpClock {
        timestamp: 1000 + ticks as u32,
        rate,
    }
}

/// Everything that a player does until it rests, by a driver that comes `late`.
fn play(player: &mut Player, start: Instant, rate: u32, late: Duration) -> Vec<(Duration, Step)> {
    let mut all = Vec::new();
    while let Some(due) = player.deadline() {
        let now = due + late;
        let before = all.len();
        while let Some(step) = player.poll(now, clock(rate, now - start)) {
            all.push((now - start, step));
        }
        assert!(all.len() > before, "nothing at {:?}", now - start);
        assert!(all.len() < 10_000);
    }
    all
}

/// The packets of them: when each goes, its timestamp, marker and end, and its duration.
fn packets(steps: &[(Duration, Step)]) -> Vec<(u64, u32, bool, bool, u16)> {
    let packet = |(at, step): &(Duration, Step)| match step {
        Step::Packet(own) => Some((
            at.as_millis() as u64,
            own.timestamp,
            own.marker,
            own.event.end,
            own.event.duration,
        )),
        Step::ToneChange(_) => None,
    };
    steps.iter().filter_map(packet).collect()
}

fn changes(steps: &[(Duration, Step)]) -> Vec<(u64, Option<char>)> {
    let change = |(at, step): &(Duration, Step)| match step {
        Step::ToneChange(tone) => Some((at.as_millis() as u64, *tone)),
        Step::Packet(_) => None,
    };
    steps.iter().filter_map(change).collect()
}

fn payload(event: TelephoneEvent) -> Vec<u8> {
    let mut payload = Vec::new();
    event.write(&mut payload);
    payload
}

#[test]
fn a_tone_is_told_at_once_and_every_50_ms_and_its_end_three_times_in_the_gap() {
    let start = start();
    let mut player = Player::new();
    player
        .insert(start, "5", ms(120), GAP_DEFAULT)
        .expect("a tone");
    assert_eq!(player.tones(), "5");
    let steps = play(&mut player, start, 8000, Duration::ZERO);
    assert_eq!(
        packets(&steps),
        [
            (0, 1000, true, false, 160),
            (50, 1000, false, false, 400),
            (100, 1000, false, false, 800),
            (120, 1000, false, true, 960),
            (143, 1000, false, true, 960),
            (166, 1000, false, true, 960),
        ]
    );
    assert_eq!(changes(&steps), [(0, Some('5')), (190, None)]);
    assert!(player.is_empty());
}

#[test]
fn tones_follow_each_other_in_the_time_of_the_stream_and_a_comma_is_a_pause() {
    let start = start();
    let mut player = Player::new();
    player.insert(start, "a,#", ms(1), ms(1)).expect("tones");
    assert_eq!(player.tones(), "A,#");
    let steps = play(&mut player, start, 48_000, Duration::ZERO);
    // 40 ms and 30 ms are the least.
    let told = [
        (0, Some('A')),
        (70, Some(',')),
        (2070, Some('#')),
        (2140, None),
    ];
    assert_eq!(changes(&steps), told);
    let packets = packets(&steps);
    let first: Vec<_> = packets.iter().filter(|own| own.2).collect();
    assert_eq!(first[0].1, 1000);
    assert_eq!(first[1].1, 1000 + 2070 * 48);
    assert_eq!(first.len(), 2);
    assert!(
        packets
            .iter()
            .filter(|own| own.3)
            .all(|own| own.4 == 40 * 48)
    );
}

#[test]
fn new_tones_take_the_place_of_those_that_wait_and_what_is_no_tone_changes_nothing() {
    let start = start();
    let mut player = Player::new();
    player
        .insert(start, "123", DURATION_DEFAULT, GAP_DEFAULT)
        .expect("tones");
    while player.poll(start, clock(8000, Duration::ZERO)).is_some() {}
    assert_eq!(player.tones(), "23");
    let refused = player.insert(start, "4x", DURATION_DEFAULT, GAP_DEFAULT);
    assert_eq!(refused, Err(NoTone('x')));
    assert_eq!(player.tones(), "23");
    player
        .insert(start + ms(10), "9", DURATION_DEFAULT, GAP_DEFAULT)
        .expect("tones");
    // The first one goes on to its end.
    let steps = play(&mut player, start, 8000, Duration::ZERO);
    assert_eq!(changes(&steps), [(170, Some('9')), (340, None)]);
    assert_eq!(packets(&steps).iter().filter(|own| own.3).count(), 6);
    // Nothing at all ends what waits.
    player
        .insert(start, "12", DURATION_DEFAULT, GAP_DEFAULT)
        .expect("tones");
    while player.poll(start, clock(8000, Duration::ZERO)).is_some() {}
    player
        .insert(start, "", DURATION_DEFAULT, GAP_DEFAULT)
        .expect("no tones");
    let steps = play(&mut player, start, 8000, Duration::ZERO);
    assert_eq!(changes(&steps), [(170, None)]);
}

#[test]
fn a_player_that_is_stopped_keeps_its_tones_until_there_are_others() {
    let start = start();
    let mut player = Player::new();
    player
        .insert(start, "12", DURATION_DEFAULT, GAP_DEFAULT)
        .expect("tones");
    while player.poll(start, clock(8000, Duration::ZERO)).is_some() {}
    player.stop();
    assert_eq!((player.deadline(), player.tones().as_str()), (None, "2"));
    assert_eq!(player.poll(start + ms(1000), clock(8000, ms(1000))), None);
    assert!(!player.is_empty());
    player
        .insert(start, "7", DURATION_DEFAULT, GAP_DEFAULT)
        .expect("tones");
    let steps = play(&mut player, start, 8000, Duration::ZERO);
    assert_eq!(changes(&steps), [(0, Some('7')), (170, None)]);
}

#[test]
fn a_long_tone_goes_in_segments_that_are_one_tone_again() {
    let start = start();
    let mut player = Player::new();
    player
        .insert(start, "*", ms(60_000), GAP_MIN)
        .expect("a tone");
    let steps = play(&mut player, start, 48_000, Duration::ZERO);
    let packets = packets(&steps);
    // 6 s are 288,000 ticks: four whole segments and a rest.
    let mut begins: Vec<u32> = packets.iter().map(|own| own.1).collect();
    begins.dedup();
    let expected: Vec<u32> = (0..5).map(|index| 1000 + index * 65_535).collect();
    assert_eq!(begins, expected);
    assert_eq!(packets.iter().filter(|own| own.2).count(), 1);
    assert_eq!(packets.iter().filter(|own| own.4 == 65_535).count(), 12);
    let last = packets.last().copied();
    let rest = (288_000 - 4 * 65_535) as u16;
    assert_eq!(last.map(|own| (own.3, own.4)), Some((true, rest)));

    let mut listener = Listener::new();
    let mut heard = Vec::new();
    for (at, step) in &steps {
        if let Step::Packet(own) = step {
            let now = start + *at;
            let told = listener.receive(now, own.timestamp, 48_000, &payload(own.event));
            heard.extend(told.expect("a payload"));
        }
    }
    let (tone, duration) = ('*', Duration::from_secs(6));
    assert_eq!(
        heard,
        [Heard::Began { tone }, Heard::Ended { tone, duration }]
    );
}

#[test]
fn what_is_late_or_there_twice_says_nothing_new() {
    let start = start();
    let packet = |event, end, duration| {
        payload(TelephoneEvent {
            event,
            end,
            volume: 10,
            duration,
        })
    };
    let mut listener = Listener::new();
    let mut take = |at: u64, timestamp, payload: &[u8]| {
        listener.receive(start + ms(at), timestamp, 8000, payload)
    };
    let ended = |tone, milliseconds| Heard::Ended {
        tone,
        duration: ms(milliseconds),
    };
    // The end comes first.
    let first = take(0, u32::MAX - 100, &packet(1, true, 800));
    assert_eq!(first, Ok(vec![Heard::Began { tone: '1' }, ended('1', 100)]));
    assert_eq!(take(1, u32::MAX - 100, &packet(1, false, 400)), Ok(vec![]));
    assert_eq!(take(2, u32::MAX - 100, &packet(1, true, 800)), Ok(vec![]));
    // The next is told by a packet in the middle of it, across the wrap of the clock.
    let next = take(150, 900, &packet(2, false, 400));
    assert_eq!(next, Ok(vec![Heard::Began { tone: '2' }]));
    assert_eq!(take(200, 900, &packet(2, false, 160)), Ok(vec![]));
    // All that told its end was lost: the next one tells.
    let third = take(290, 2200, &packet(3, false, 160));
    assert_eq!(third, Ok(vec![ended('2', 50), Heard::Began { tone: '3' }]));
    assert_eq!(take(300, 900, &packet(2, true, 800)), Ok(vec![]));
    // A flash of the hook is no tone, and ends the one before.
    assert_eq!(
        take(400, 4000, &packet(16, false, 10)),
        Ok(vec![ended('3', 20)])
    );
    // Two events in one packet, and something that is none.
    let mut both = packet(4, true, 400);
    both.extend(packet(5, false, 80));
    let two = take(450, 5000, &both);
    let expected = vec![
        Heard::Began { tone: '4' },
        ended('4', 50),
        Heard::Began { tone: '5' },
    ];
    assert_eq!(two, Ok(expected));
    assert_eq!(take(460, 6000, &[1, 2]), Err(PayloadError::TooShort));
    // Nothing more of it.
    assert_eq!(listener.deadline(), Some(start + ms(450) + SILENCE));
    assert_eq!(listener.handle_timeout(start + ms(500)), None);
    let silent = listener.handle_timeout(start + ms(700));
    assert_eq!(silent, Some(ended('5', 10)));
    assert_eq!(listener.deadline(), None);
}

#[test]
fn a_sender_that_begins_anew_is_heard_after_a_while() {
    let start = start();
    let mut listener = Listener::new();
    let one = payload(TelephoneEvent {
        event: 1,
        end: true,
        volume: 10,
        duration: 800,
    });
    let count = |told: Result<Vec<Heard>, PayloadError>| told.map(|heard| heard.len());
    assert_eq!(count(listener.receive(start, 1_000_000, 8000, &one)), Ok(2));
    assert_eq!(
        count(listener.receive(start + ms(100), 5, 8000, &one)),
        Ok(0)
    );
    assert_eq!(
        count(listener.receive(start + ms(6000), 5, 8000, &one)),
        Ok(2)
    );
}

proptest! {
    /// Whatever is lost, and however late the driver is: a tone of which a packet arrives is heard
    /// once, in its place, and no longer than it was.
    #[test]
    fn tones_are_heard_in_order_whatever_is_lost(
        tones in "[0-9A-D#*]{1,12}",
        duration in 40u64..3000,
        gap in 30u64..300,
        rate in prop::sample::select(vec![8000u32, 16_000, 48_000]),
        late in 0u64..60,
        lost in prop::collection::vec(prop::bool::weighted(0.4), 64),
    ) {
        let start = start();
        let mut player = Player::new();
        prop_assert_eq!(player.insert(start, &tones, ms(duration), ms(gap)), Ok(()));
        let steps = play(&mut player, start, rate, ms(late));
        let told: String = changes(&steps).into_iter().filter_map(|(_, tone)| tone).collect();
        prop_assert_eq!(&told, &tones);
        let (mut listener, mut heard, mut expected) = (Listener::new(), Vec::new(), String::new());
        let mut sounding = tones.chars();
        let mut counted = false;
        let mut tone = None;
        for (index, (at, step)) in steps.iter().enumerate() {
            let now = start + *at;
            heard.extend(listener.handle_timeout(now));
            match step {
                Step::ToneChange(_) => {
                    tone = sounding.next();
                    counted = false;
                }
                Step::Packet(_) if lost[index % lost.len()] => {}
                Step::Packet(own) => {
                    if !std::mem::replace(&mut counted, true) {
                        expected.extend(tone);
                    }
                    let told = listener.receive(now, own.timestamp, rate, &payload(own.event));
                    heard.extend(told.unwrap_or_default());
                }
            }
        }
        heard.extend(listener.handle_timeout(start + ms(1_000_000)));
        let began: String = heard.iter().filter_map(|own| match own {
            Heard::Began { tone } => Some(*tone),
            Heard::Ended { .. } => None,
        }).collect();
        let ended: String = heard.iter().filter_map(|own| match own {
            Heard::Ended { tone, .. } => Some(*tone),
            Heard::Began { .. } => None,
        }).collect();
        prop_assert_eq!(&began, &ended);
        prop_assert_eq!(&began, &expected);
        for own in &heard {
            if let Heard::Ended { duration: long, .. } = own {
                prop_assert!(*long <= ms(duration), "{:?} of {}", long, duration);
            }
        }
    }

    /// Anything at all is taken, and what began ends.
    #[test]
    fn hostile_packets_are_bounded(
        packets in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..40), 0u64..400), 0..60),
    ) {
        let start = start();
        let mut now = start;
        let mut listener = Listener::new();
        let mut balance = 0i32;
        for (timestamp, payload, wait) in packets {
            now += ms(wait);
            for heard in listener.receive(now, timestamp, 8000, &payload).unwrap_or_default() {
                balance += match heard { Heard::Began { .. } => 1, Heard::Ended { .. } => -1 };
                prop_assert!((0..2).contains(&balance));
            }
        }
    }
}
