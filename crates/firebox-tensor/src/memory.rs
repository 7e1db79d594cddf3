//! How much memory this process and this machine use.

use sysinfo::{MemoryRefreshKind, System};

/// Memory of this process that is resident in RAM, mapped weight files included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessMemory {
    /// Resident now; 0 where the system does not say.
    pub rss_bytes: u64,
    /// Largest resident size since the start, or since [`reset_peak`]. Only Linux keeps it;
    /// elsewhere it equals [`ProcessMemory::rss_bytes`].
    pub peak_rss_bytes: u64,
}

/// Memory of the machine; zeros where the system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemMemory {
    /// Installed RAM, or the limit of the control group where there is a lower one.
    pub total_bytes: u64,
    /// What can be taken without swapping.
    pub available_bytes: u64,
}

/// Reads this process's memory.
///
/// # Examples
/// ```
/// let memory = firebox_tensor::memory::process();
/// assert!(memory.peak_rss_bytes >= memory.rss_bytes);
/// ```
pub fn process() -> ProcessMemory {
    from_proc_status().unwrap_or_else(from_sysinfo)
}

/// Reads the machine's memory. A control group's limit (a container) counts as the machine's.
pub fn system() -> SystemMemory {
    let Ok(mut system) = System::new() else {
        return SystemMemory::default();
    };
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let machine = SystemMemory {
        total_bytes: system.total_memory(),
        available_bytes: system.available_memory(),
    };
    match system.cgroup_limits() {
        Some(limits) if limits.total_memory > 0 => SystemMemory {
            total_bytes: machine.total_bytes.min(limits.total_memory),
            // Cached files count as used by the group, and are given up when memory is wanted.
            available_bytes: machine
                .available_bytes
                .min(limits.total_memory.saturating_sub(limits.rss)),
        },
        _ => machine,
    }
}

/// Starts a new measurement of [`ProcessMemory::peak_rss_bytes`]. Says whether the system could.
pub fn reset_peak() -> bool {
    cfg!(target_os = "linux") && std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Linux: `VmRSS` and `VmHWM`, in KiB.
fn from_proc_status() -> Option<ProcessMemory> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let rss_bytes = field_bytes(&status, "VmRSS:")?;
    // The kernel updates the peak lazily, so that it may trail the present size.
    let peak_rss_bytes = field_bytes(&status, "VmHWM:")?.max(rss_bytes);
    Some(ProcessMemory {
        rss_bytes,
        peak_rss_bytes,
    })
}

/// The value of a line such as `VmRSS:      1234 kB`.
fn field_bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn from_sysinfo() -> ProcessMemory {
    let (Ok(pid), Ok(mut system)) = (sysinfo::get_current_pid(), System::new()) else {
        return ProcessMemory::default();
    };
    system.refresh_processes(sysinfo::ProcessesToUpdate::Some(&[pid]), false);
    let rss_bytes = system.process(pid).map_or(0, sysinfo::Process::memory);
    ProcessMemory {
        rss_bytes,
        peak_rss_bytes: rss_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_fields_are_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t     512 kB\n";
        assert_eq!(field_bytes(status, "VmRSS:"), Some(512 * 1024));
        assert_eq!(field_bytes(status, "VmHWM:"), Some(2048 * 1024));
        assert_eq!(field_bytes(status, "VmPeak:"), None);
    }

    #[test]
    fn the_machine_has_memory_and_not_more_free_than_in_all() {
        let memory = system();
        assert!(memory.total_bytes > 0 && memory.available_bytes <= memory.total_bytes);
    }
}
