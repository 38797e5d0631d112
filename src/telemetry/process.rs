//! The figures of the process, under the names that Prometheus' client libraries use. On systems other than Linux they
//! stay 0.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

/// Registers the metrics, every series with 0.
pub(super) fn register_metrics() {
    describe_counter!(
        "process_cpu_seconds_total",
        Unit::Seconds,
        "Whole seconds of processor time that the process has used"
    );
    counter!("process_cpu_seconds_total").absolute(0);
    describe_gauge!("process_resident_memory_bytes", Unit::Bytes, "Memory of the process");
    describe_gauge!("process_virtual_memory_bytes", Unit::Bytes, "Address space of the process");
    describe_gauge!("process_open_fds", "Open files of the process");
    describe_gauge!("process_max_fds", "How many files the process may have open");
    describe_gauge!("process_threads", "Threads of the process");
    describe_gauge!(
        "process_start_time_seconds",
        Unit::Seconds,
        "When the process was started, in Unix time"
    );
    for name in [
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_threads",
        "process_start_time_seconds",
    ] {
        gauge!(name).set(0.0);
    }
}

/// Reads the figures. What can't be read keeps its value.
#[cfg(target_os = "linux")]
pub(super) fn update() {
    // An error means that /proc is not there.
    let _ = read();
}

#[cfg(not(target_os = "linux"))]
pub(super) fn update() {}

#[cfg(target_os = "linux")]
fn read() -> procfs::ProcResult<()> {
    use procfs::{
        boot_time_secs, page_size,
        process::{LimitValue, Process},
        ticks_per_second,
    };

    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = ticks_per_second();
    counter!("process_cpu_seconds_total").absolute((stat.utime + stat.stime) / ticks);
    gauge!("process_resident_memory_bytes").set(to_f64(stat.rss * page_size()));
    gauge!("process_virtual_memory_bytes").set(to_f64(stat.vsize));
    gauge!("process_threads").set(to_f64(u64::try_from(stat.num_threads).unwrap_or_default()));
    gauge!("process_open_fds").set(to_f64(process.fd_count()? as u64));
    if let LimitValue::Value(files) = process.limits()?.max_open_files.soft_limit {
        gauge!("process_max_fds").set(to_f64(files));
    }
    gauge!("process_start_time_seconds").set(to_f64(boot_time_secs()? + stat.starttime / ticks));
    Ok(())
}

/// Exact up to 2^53.
#[cfg(target_os = "linux")]
fn to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_this_process_can_be_read() {
        read().expect("/proc is there");
    }
}
