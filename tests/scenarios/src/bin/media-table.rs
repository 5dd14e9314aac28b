//! Writes docs/media.md: `cargo xtask media`. Arguments: the file (default: to the terminal), the
//! number of seeds (default 5), and what the names of rows are to have in them (default: all).
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command-line program")]

use twocan_scenarios::media::table;

const HEAD: &str = "\
# Media over links of many kinds

What a call is like, in the simulator: `cargo xtask media` writes this page. A caller sends sound
(20 ms frames of 80 bytes) and thirty pictures a second, whose sizes follow the target rate, over
a link of 2 Mbit/s with a round trip of 100 ms and a queue of 300 ms, but for what a row says. The
callee does not send. Loss is repaired by retransmission and ULPFEC; sound has neither. Figures
are of 40 s that begin after 10 s (after the event in rows that have one), and means over the seeds.

- *in use*: the part of the link's capacity that is taken, headers included.
- *queue*: the waiting time at the link that 95 of 100 moments do not exceed.
- *in time*: pictures that were whole within 200 ms and the time of the way there.
- *freezes*: a minute, as `freezeCount` of webrtc-stats counts them, if every picture is shown as
  soon as it is whole.
- *sound missing*: frames that never came.
- *repaired*: packets that came by retransmission or were made from FEC, of all that came.

| link | in use | queue | in time | freezes | sound missing | repaired | |
|---|---|---|---|---|---|---|---|
";

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let page = arguments.next();
    let seeds = arguments.next().and_then(|text| text.parse().ok());
    let seeds = seeds.unwrap_or(5);
    let part = arguments.next().unwrap_or_default();
    let rows = table(seeds, &part);
    let text = format!("{HEAD}{rows}\nSeeds: 1 to {seeds}.\n");
    match page {
        Some(page) => std::fs::write(page, text),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}
