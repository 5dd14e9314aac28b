//! `twocan-lab LEFT RIGHT [SEED]`: makes two TUN interfaces of these names and joins them.
//!
//! A line `READY` says that they are there, to be moved into network namespaces and given
//! addresses. Each line of standard input changes the link, for example `{"right": {"delay_ms": 50,
//! "rate_kbps": 2000, "queue_ms": 300}, "left": {"delay_ms": 50}}`. Twenty times a second a line
//! of JSON says what passed. It ends with its input.
#![forbid(unsafe_code)]

/// Why it ends early.
type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (left, right, seed) = match words.as_slice() {
        [left, right] => (left, right, 1),
        [left, right, seed] => (left, right, seed.parse()?),
        _ => return Err("usage: twocan-lab LEFT RIGHT [SEED]".into()),
    };
    lab::run(left, right, seed)
}

#[cfg(not(target_os = "linux"))]
mod lab {
    pub(crate) fn run(_: &str, _: &str, _: u64) -> Result<(), super::Failure> {
        Err("TUN interfaces and namespaces are Linux's".into())
    }
}

#[cfg(target_os = "linux")]
mod lab {
    use std::io::BufRead;
    use std::sync::Arc;
    use std::sync::mpsc::RecvTimeoutError;
    use std::time::{Duration, Instant};

    use tun_rs::{DeviceBuilder, SyncDevice};
    use twocan_lab::conditions::Change;
    use twocan_lab::wire::Wire;

    /// Between two lines of figures.
    const INTERVAL: Duration = Duration::from_millis(50);

    #[expect(clippy::print_stdout, reason = "whoever started it reads the lines")]
    pub(crate) fn run(left: &str, right: &str, seed: u64) -> Result<(), super::Failure> {
        let open = |name: &str| -> std::io::Result<Arc<SyncDevice>> {
            let device = DeviceBuilder::new().name(name).enable(false).build_sync()?;
            Ok(Arc::new(device))
        };
        let (left, right) = (open(left)?, open(right)?);
        let bytes = |which: u8| {
            let mut bytes = [which; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            bytes
        };
        let rightwards = Wire::start(left.clone(), right.clone(), bytes(1));
        let leftwards = Wire::start(right, left, bytes(2));
        println!("READY");
        let start = Instant::now();
        let (reports_right, reports_left) = (rightwards.clone(), leftwards.clone());
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let line = serde_json::json!({
                    "at_ms": start.elapsed().as_millis() as u64,
                    "right": reports_right.report(),
                    "left": reports_left.report(),
                });
                println!("{line}");
            }
        });
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let change: Change = serde_json::from_str(&line)
                .map_err(|error| format!("not a change of the link: {error}: {line}"))?;
            if let Some(conditions) = change.right {
                rightwards.change(conditions);
            }
            if let Some(conditions) = change.left {
                leftwards.change(conditions);
            }
        }
        drop(stop);
        Ok(())
    }
}
