//! Takes turns, measures CPU time, prints a table.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What the command line says.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Turns of each engine.
    pub(crate) rounds: usize,
    /// The one engine to run, for a profiler.
    pub(crate) only: Option<String>,
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            rounds: 7,
            only: None,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--rounds" => options.rounds = arguments.next()?.parse().ok()?,
                "--only" => options.only = Some(arguments.next()?),
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Something that can be measured.
pub(crate) struct Engine<'a> {
    pub(crate) name: &'static str,
    /// Does the work once and answers its CPU time in ms per unit.
    pub(crate) work: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Engine<'a> {
    /// An engine of which all is measured; `work` answers how many units it did.
    pub(crate) fn whole(name: &'static str, mut work: impl FnMut() -> f64 + 'a) -> Self {
        Self {
            name,
            work: Box::new(move || {
                let mut units = 0.0;
                cpu_ms(|| units = work()) / units
            }),
        }
    }
}

/// The CPU time of this process that `work` takes, in ms.
pub(crate) fn cpu_ms(work: impl FnOnce()) -> f64 {
    let before = cpu_time();
    work();
    (cpu_time() - before).as_secs_f64() * 1e3
}

/// Runs the engines in turn and prints CPU time per unit: lowest, median, and the ratio of the
/// lowest to that of the first engine.
pub(crate) fn compare(title: &str, unit: &str, options: &Options, engines: Vec<Engine<'_>>) {
    let mut engines: Vec<(Engine<'_>, Vec<f64>)> = engines
        .into_iter()
        .filter(|engine| options.only.as_ref().is_none_or(|only| only == engine.name))
        .map(|engine| (engine, Vec::new()))
        .collect();
    for round in 0..=options.rounds {
        for (engine, times) in &mut engines {
            let took = (engine.work)();
            // The first round warms caches and allocator.
            if round > 0 {
                times.push(took);
            }
        }
    }
    println!("{title}: ms CPU per {unit}");
    let first = engines.first().map_or(f64::NAN, |(_, times)| lowest(times));
    for (engine, times) in &mut engines {
        times.sort_by(f64::total_cmp);
        println!(
            "  {:<12} min {:>9.3}  median {:>9.3}  {:>6.2}x",
            engine.name,
            lowest(times),
            times[times.len() / 2],
            lowest(times) / first,
        );
    }
}

fn lowest(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
