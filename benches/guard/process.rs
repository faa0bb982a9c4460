//! What the kernel says about processes and the machine.

use std::fs;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::Result;

/// A tick of `/proc/<pid>/stat` on every Linux that foureyes runs on: `USER_HZ` is 100.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of all threads of a process, to 10 ms.
pub fn cpu(pid: &str) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may contain blanks; utime and stime are the 12th and 13th field after it.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || -> Result<u32> { Ok(fields.next().ok_or("stat is short")?.parse()?) };
    Ok(TICK * (ticks()? + ticks()?))
}

/// A line of `/proc/<pid>/status` in MB of 1,000,000 bytes: `VmRSS`, what is resident, or `VmHWM`, the most it was.
pub fn memory(pid: u32, line: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    let kibibytes: f64 = found.and_then(|text| text.split_whitespace().next()).ok_or("no such line")?.parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}

/// Keeps this process on one core.
pub fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cores)?)
}

/// What this was measured on, and how busy it was.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, name)| name);
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?");
    format!("{cores} × {model}, Linux {}, load {load}", kernel.trim())
}
