//! What processes cost, from `/proc`: processor time and resident memory.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;

/// The kernel reports processor times in this unit on every Linux platform (`USER_HZ` is 100).
const CLOCK_TICK: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pid(pub u32);

impl Pid {
    pub fn own() -> Self {
        Self(std::process::id())
    }

    /// The process that listens at this address, if this user may see it.
    pub fn listening(address: SocketAddr) -> Option<Self> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
        let inode = tables.iter().find_map(|table| listener_inode(&fs::read_to_string(table).ok()?, address.port()))?;
        let link = format!("socket:[{inode}]");
        fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let mut files = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
            files
                .any(|file| fs::read_link(file.path()).is_ok_and(|found| found.as_os_str() == link.as_str()))
                .then_some(Self(pid))
        })
    }

    /// Time on the processors so far, all threads, user and system.
    pub fn processor_time(self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        ticks(&stat).map(|ticks| CLOCK_TICK * ticks).ok_or_else(|| io::Error::other("unreadable /proc/PID/stat"))
    }

    /// Time on the processors so far of this process, of those that it started and that still run, and of those that have
    /// ended: what PostgreSQL took, whose every connection is a process.
    pub fn processor_time_with_children(self) -> io::Result<Duration> {
        let unreadable = || io::Error::other("unreadable /proc/PID/stat");
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        let own = ticks(&stat).and_then(|own| own.checked_add(ticks_of_the_ended(&stat)?)).ok_or_else(unreadable)?;
        let others = fs::read_dir("/proc")?.flatten();
        let stats = others.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
        let children: u32 = stats.filter(|stat| parent(stat) == Some(self.0)).filter_map(|stat| ticks(&stat)).sum();
        Ok(CLOCK_TICK * (own + children))
    }

    pub fn resident_bytes(self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        resident(&status).ok_or_else(|| io::Error::other("unreadable /proc/PID/status"))
    }
}

fn ticks(stat: &str) -> Option<u32> {
    field(stat, 11)?.checked_add(field(stat, 12)?)
}

fn ticks_of_the_ended(stat: &str) -> Option<u32> {
    field(stat, 13)?.checked_add(field(stat, 14)?)
}

fn parent(stat: &str) -> Option<u32> {
    field(stat, 1)
}

/// The name in parentheses may hold blanks and parentheses itself: fields are counted from its end.
fn field(stat: &str, place: usize) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(place)?.parse().ok()
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn listener_inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == LISTEN).then(|| fields.get(9)?.parse().ok())?
    })
}

/// The processes whose time is taken beside the generator's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    pub server: Option<Pid>,
    pub gateway: Option<Pid>,
    /// With all that it starts.
    pub database: Option<Pid>,
}

struct Sample {
    at: Instant,
    done: u64,
    generator: Option<Duration>,
    server: Option<Duration>,
    gateway: Option<Duration>,
    database: Option<Duration>,
    resident: Option<u64>,
}

/// What was done in a stretch of time, and what it cost per piece.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Stretch {
    pub seconds: f64,
    pub done: u64,
    pub per_second: f64,
    pub generator_us: Option<f64>,
    pub server_us: Option<f64>,
    pub gateway_us: Option<f64>,
    pub database_us: Option<f64>,
    /// Processors that the generator kept busy.
    pub generator_processors: Option<f64>,
    pub server_resident_before: Option<u64>,
    pub server_resident_after: Option<u64>,
}

impl Watch {
    fn sample(self, done: u64) -> Sample {
        let time = |pid: Option<Pid>| pid.and_then(|pid| pid.processor_time().ok());
        Sample {
            at: Instant::now(),
            done,
            generator: time(Some(Pid::own())),
            server: time(self.server),
            gateway: time(self.gateway),
            database: self.database.and_then(|pid| pid.processor_time_with_children().ok()),
            resident: self.server.and_then(|pid| pid.resident_bytes().ok()),
        }
    }

    /// Looks twice: at `from` and at `until`.
    pub async fn stretch(self, from: Instant, until: Instant, done: impl Fn() -> u64) -> Stretch {
        tokio::time::sleep_until(from.into()).await;
        let first = self.sample(done());
        tokio::time::sleep_until(until.into()).await;
        let last = self.sample(done());
        Stretch::between(&first, &last)
    }

    /// Like `stretch`, but as long as the work takes.
    pub async fn during(self, done: impl Fn() -> u64, work: impl Future<Output = ()>) -> Stretch {
        let first = self.sample(done());
        work.await;
        Stretch::between(&first, &self.sample(done()))
    }
}

impl Stretch {
    fn between(first: &Sample, last: &Sample) -> Self {
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        let done = last.done.saturating_sub(first.done);
        let spent = |first: Option<Duration>, last: Option<Duration>| Some(last?.saturating_sub(first?).as_secs_f64());
        let each = |spent: Option<f64>| spent.filter(|_| done > 0).map(|spent| spent * 1e6 / done as f64);
        let generator = spent(first.generator, last.generator);
        Self {
            seconds,
            done,
            per_second: done as f64 / seconds.max(f64::EPSILON),
            generator_us: each(generator),
            server_us: each(spent(first.server, last.server)),
            gateway_us: each(spent(first.gateway, last.gateway)),
            database_us: each(spent(first.database, last.database)),
            generator_processors: generator.map(|spent| spent / seconds.max(f64::EPSILON)),
            server_resident_before: first.resident,
            server_resident_after: last.resident,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!((ticks(stat), ticks_of_the_ended(stat), parent(stat)), (Some(300), Some(0), Some(1)));
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t1\n"), Some(2 * 1024 * 1024));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn only_the_listener_of_the_port_is_taken() {
        let table = "  sl  local_address rem_address st ...\n\
             0: 0100007F:1F90 0100007F:9999 01 0:0 00:0 0 0 0 111 1\n\
             1: 0100007F:1F91 00000000:0000 0A 0:0 00:0 0 0 0 222 1\n\
             2: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 333 1\n";
        assert_eq!(listener_inode(table, 8080), Some(333));
        assert_eq!(listener_inode(table, 80), None);
    }

    #[test]
    fn finds_itself() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(Pid::listening(listener.local_addr().unwrap()), Some(Pid::own()));
        assert!(Pid::own().resident_bytes().unwrap() > 0);
        assert!(Pid::own().processor_time().is_ok());
    }

    #[test]
    fn the_time_of_children_counts_running_or_ended() {
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; read line";
        let piped = std::process::Stdio::piped;
        let before = Pid::own().processor_time_with_children().unwrap();
        let mut child =
            std::process::Command::new("sh").args(["-c", busy]).stdin(piped()).stdout(piped()).spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 5]).unwrap();
        let of_child = Pid(child.id()).processor_time().unwrap();
        assert!(of_child >= CLOCK_TICK, "the child was busy");
        let running = Pid::own().processor_time_with_children().unwrap();
        child.wait().unwrap();
        let ended = Pid::own().processor_time_with_children().unwrap();
        assert!(running >= before + of_child && ended >= running, "{before:?} {of_child:?} {running:?} {ended:?}");
    }
}
