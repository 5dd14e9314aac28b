//! How far it has come, for who looks on.

use std::io::{IsTerminal as _, Write as _};

/// Characters of the bar.
const WIDTH: u32 = 30;

/// A bar on standard error, where that is a terminal; gone when it is dropped.
pub(super) struct Progress {
    what: &'static str,
    done: u32,
    all: u32,
    is_shown: bool,
}

impl Progress {
    /// A bar of `all` steps.
    pub(super) fn new(what: &'static str, all: u32) -> Self {
        let own = Self {
            what,
            done: 0,
            all,
            is_shown: std::io::stderr().is_terminal(),
        };
        own.show();
        own
    }

    /// One step further.
    pub(super) fn step(&mut self) {
        self.done = (self.done + 1).min(self.all);
        self.show();
    }

    fn show(&self) {
        if self.is_shown {
            let line = bar(self.what, self.done, self.all);
            // Who has closed it does not look.
            let _ = write!(std::io::stderr(), "\r{line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            // The line is cleared (ECMA-48 §8.3.41).
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn bar(what: &str, done: u32, all: u32) -> String {
    let full = (u64::from(WIDTH) * u64::from(done) / u64::from(all.max(1))) as usize;
    let rest = WIDTH as usize - full.min(WIDTH as usize);
    format!(
        "{what:<9} [{}{}] {done}/{all}",
        "#".repeat(full),
        " ".repeat(rest)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        assert_eq!(
            bar("viewers", 0, 4),
            format!("viewers   [{}] 0/4", " ".repeat(30))
        );
        let half = format!("viewers   [{}{}] 2/4", "#".repeat(15), " ".repeat(15));
        assert_eq!(bar("viewers", 2, 4), half);
        assert_eq!(
            bar("viewers", 4, 4),
            format!("viewers   [{}] 4/4", "#".repeat(30))
        );
        assert_eq!(
            bar("warm-up", 0, 0),
            format!("warm-up   [{}] 0/0", " ".repeat(30))
        );
    }
}
