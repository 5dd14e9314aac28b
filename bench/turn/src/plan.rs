//! What is measured.

use std::fmt;

/// One load.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Clients, each with an allocation and a channel.
    pub allocations: usize,
    /// Of a packet, without the header of its channel.
    pub bytes: usize,
    /// Packets that a client sends at once.
    pub train: usize,
    /// Of all clients, per second.
    pub rate: u64,
    /// How long.
    pub seconds: u64,
    /// How often each server is measured.
    pub rounds: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            allocations: 100,
            bytes: 500,
            train: 1,
            rate: 50_000,
            seconds: 5,
            rounds: 4,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            allocations,
            bytes,
            train,
            rate,
            seconds,
            ..
        } = self;
        write!(
            f,
            "{allocations} allocations, {bytes} bytes, trains of {train}, {rate} packets/s for {seconds} s"
        )
    }
}

impl Plan {
    /// Those of the table, as long and as often as `like`.
    pub fn of_table(like: &Self) -> Vec<Self> {
        let mut all = Vec::new();
        for (bytes, train, rate) in [(100, 1, 50_000), (500, 1, 50_000), (1200, 8, 80_000)] {
            for allocations in [1, 100, 1000, 10_000] {
                all.push(Self {
                    allocations,
                    bytes,
                    train,
                    rate,
                    ..like.clone()
                });
            }
        }
        all
    }
}

/// What was asked for.
#[derive(Debug)]
pub struct Arguments {
    /// The binary.
    pub twocan: String,
    /// Whether all rows of the table are measured.
    pub table: bool,
    /// What is measured otherwise, and how long each row is.
    pub plan: Plan,
}

impl Arguments {
    /// Reads the command line.
    pub fn parse(mut all: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            twocan: all.next().ok_or("which twocan?")?,
            table: false,
            plan: Plan::default(),
        };
        while let Some(name) = all.next() {
            if name == "--table" {
                arguments.table = true;
                continue;
            }
            let text = all.next().ok_or(format!("{name} needs a number"))?;
            let number: u64 = text
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .ok_or(format!("{name} {text}: not a number from 1"))?;
            let plan = &mut arguments.plan;
            match name.as_str() {
                "--allocations" => plan.allocations = number as usize,
                "--bytes" => plan.bytes = number as usize,
                "--train" => plan.train = number as usize,
                "--rate" => plan.rate = number,
                "--seconds" => plan.seconds = number,
                "--rounds" => plan.rounds = number as usize,
                _ => return Err(format!("{name} is not known")),
            }
        }
        Ok(arguments)
    }
}
