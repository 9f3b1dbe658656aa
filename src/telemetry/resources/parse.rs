//! The formats of the kernel's files (proc(5), and the kernel's documentation of PSI and cgroup v2).

use std::time::Duration;

/// Clock ticks, of which there are usually 100 a second.
pub(super) type Ticks = u64;

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// User and system time.
    pub(super) cpu: Ticks,
    /// Since the boot.
    pub(super) started: Ticks,
    pub(super) resident_pages: i64,
}

pub(super) fn process(stat: &str) -> Option<Process> {
    // The name, in parentheses, may hold anything; fields are counted from behind it, at 3.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Process {
        cpu: field(14)? + field(15)?,
        started: field(22)?,
        resident_pages: i64::try_from(field(24)?).ok()?,
    })
}

/// Seconds since 1970, of `/proc/stat`.
pub(super) fn boot_time(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

/// Time of all cores together by mode, of `/proc/stat`. That of guests is in user and nice already.
pub(super) fn host_cpu(stat: &str) -> impl Iterator<Item = (&'static str, Ticks)> {
    const MODES: [&str; 8] = [
        "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
    ];
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "));
    let ticks = line.unwrap_or_default().split_ascii_whitespace();
    MODES
        .into_iter()
        .zip(ticks)
        .filter_map(|(mode, ticks)| Some((mode, ticks.parse().ok()?)))
}

/// Cores, of `/proc/stat`.
pub(super) fn cores(stat: &str) -> i64 {
    let is_core = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    let cores = stat.lines().filter(is_core).count();
    i64::try_from(cores).unwrap_or(i64::MAX)
}

/// Bytes, of `/proc/meminfo`.
pub(super) fn memory_total(meminfo: &str) -> Option<i64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The path of the group below the root of cgroup v2, of `/proc/self/cgroup`.
pub(super) fn control_group(cgroup: &str) -> Option<&str> {
    let line = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(line.trim_end_matches(" (deleted)"))
}

/// One of `TcpExt`, of `/proc/net/netstat`: a line of names and a line of numbers.
pub(super) fn tcp_counter(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat
        .lines()
        .filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let index = names.split(' ').position(|one| one == name)?;
    numbers.split(' ').nth(index)?.parse().ok()
}

/// How long some and all tasks have waited, of a file in `/proc/pressure`.
pub(super) fn pressure(text: &str) -> impl Iterator<Item = (&'static str, Duration)> {
    text.lines().filter_map(|line| {
        let kind = match line.split_once(' ')?.0 {
            "some" => "some",
            "full" => "full",
            _ => return None,
        };
        let (_, microseconds) = line.rsplit_once("total=")?;
        Some((kind, Duration::from_micros(microseconds.parse().ok()?)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_be_named_like_its_own_fields() {
        let stat = "7 (a) R 1 (b) S 1 7 7 0 -1 4194304 100 0 0 0 12 34 0 0 20 0 1 0 446312 3133440 359 184 1";
        let process = process(stat).unwrap();
        assert_eq!((process.cpu, process.started), (46, 446_312));
        assert_eq!(process.resident_pages, 359);
        assert_eq!(super::process("7 (a) R"), None);
    }

    #[test]
    fn host_time_is_told_by_mode_and_cores_are_counted() {
        let stat = "cpu  1 2 3 4 5 6 7 8 9 9\ncpu0 1 1\ncpu1 1 1\nintr 5\nbtime 1700000000\n";
        let modes: Vec<_> = host_cpu(stat).collect();
        assert_eq!(modes.len(), 8);
        assert_eq!(modes[7], ("steal", 8));
        assert_eq!(cores(stat), 2);
        assert_eq!(boot_time(stat), Some(1_700_000_000.0));
    }

    #[test]
    fn a_tcp_counter_is_found_by_its_name() {
        let netstat = "TcpExt: A ListenDrops B\nTcpExt: 1 22 3\nIpExt: ListenDrops\nIpExt: 5\n";
        assert_eq!(tcp_counter(netstat, "ListenDrops"), Some(22));
        assert_eq!(tcp_counter(netstat, "C"), None);
    }

    #[test]
    fn groups_pressure_and_memory_are_read() {
        assert_eq!(control_group("4:memory:/x\n0::/a/b\n"), Some("a/b"));
        assert_eq!(control_group("4:memory:/x\n"), None);
        assert_eq!(memory_total("MemTotal:  2 kB\nMemFree: 1 kB\n"), Some(2048));
        let text =
            "some avg10=1.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 total=2\n";
        let told: Vec<_> = pressure(text).collect();
        assert_eq!(told[0], ("some", Duration::from_millis(1500)));
        assert_eq!(told[1].0, "full");
    }
}
