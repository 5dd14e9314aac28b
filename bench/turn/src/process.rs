//! A server as a process: what it costs is read from `/proc`.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `twocan serve`.
    Twocan,
    /// coturn's `turnserver`.
    Coturn,
}

/// Ends when it is dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts it on loopback, without bounds that a load would meet.
    pub fn start(kind: Kind, twocan: &str) -> io::Result<Self> {
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let port = address.port().to_string();
        let mut command = match kind {
            Kind::Twocan => {
                let mut command = Command::new(twocan);
                command
                    .args(["serve", "--http", "127.0.0.1:0", "--stun"])
                    .arg(address.to_string())
                    .args(["--turn-user", "u:p", "--turn-allow", "127.0.0.0/8"])
                    .args([
                        "--turn-bandwidth",
                        "0",
                        "--turn-bandwidth-per-user",
                        "0",
                        "--turn-bandwidth-total",
                        "0",
                        "--turn-per-user",
                        "100000",
                    ])
                    .args(["--turn-total", "100000", "--turn-ports", "10000-32767"]);
                command
            }
            Kind::Coturn => {
                let mut command = Command::new("turnserver");
                command
                    .args(["-n", "--no-cli", "--log-file=/dev/null", "--no-stdout-log"])
                    .args([
                        "-L",
                        "127.0.0.1",
                        "-E",
                        "127.0.0.1",
                        "-r",
                        "twocan",
                        "-u",
                        "u:p",
                    ])
                    .args(["-a", "--no-tls", "--no-dtls", "--allow-loopback-peers"])
                    .args(["--min-port=10000", "--max-port=32767"])
                    .args(["--listening-port", &port]);
                command
            }
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self { child, address };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// Asks for its address until it is told.
    fn wait_until_it_answers(&self) -> io::Result<()> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            let _ = socket.send(&request);
            match socket.recv(&mut [0; 256]) {
                Ok(_) => return Ok(()),
                // Nobody is there yet: the system says so at once.
                Err(_) => std::thread::park_timeout(Duration::from_millis(20)),
            }
        }
        Err(io::Error::other("the server does not answer"))
    }

    /// CPU time of all of its threads.
    pub fn cpu(&self) -> io::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks: u64 = after_name
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        // A tick is a hundredth of a second on every Linux that there is.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> io::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
        resident.ok_or_else(|| io::Error::other("no VmRSS"))
    }
}
