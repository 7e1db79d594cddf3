//! Runs a command and watches how much memory it takes.

use std::ffi::OsString;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How often the memory is read: rarely enough to cost the command nothing. The kernel keeps the peak, so
/// only growth in the last moments can be missed.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// What a command left.
pub(crate) struct Output {
    pub(crate) stdout: String,
    /// The most resident memory it had; 0 where the system does not tell.
    pub(crate) peak_rss_bytes: u64,
}

/// Runs it to its end; what it says on stderr is shown only when it fails.
pub(crate) fn run(command: &[OsString]) -> Result<Output> {
    let Some((program, arguments)) = command.split_first() else {
        bail!("expected a command")
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {}", program.display()))?;
    let stdout = child.stdout.take().map(read_in_background);
    let stderr = child.stderr.take().map(read_in_background);
    let peak_rss_bytes = watch(&mut child)?;
    let status = child
        .wait()
        .with_context(|| format!("wait for {}", program.display()))?;
    let text = |thread: Option<thread::JoinHandle<String>>| {
        thread
            .and_then(|thread| thread.join().ok())
            .unwrap_or_default()
    };
    let (stdout, stderr) = (text(stdout), text(stderr));
    ensure!(
        status.success(),
        "{} ended with {status} and said:\n{stderr}",
        program.display()
    );
    Ok(Output {
        stdout,
        peak_rss_bytes,
    })
}

/// A pipe that nobody empties would stop the command.
fn read_in_background(mut pipe: impl std::io::Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn watch(child: &mut Child) -> Result<u64> {
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak_rss_bytes = 0;
    while child.try_wait().context("wait for the command")?.is_none() {
        if let Some(bytes) = fs::read_to_string(&status_file)
            .ok()
            .as_deref()
            .and_then(peak_rss)
        {
            peak_rss_bytes = peak_rss_bytes.max(bytes);
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(peak_rss_bytes)
}

/// `VmHWM` of a `/proc/PID/status`, in bytes.
fn peak_rss(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Vec<OsString> {
        ["sh", "-c", script].map(OsString::from).to_vec()
    }

    #[test]
    fn the_peak_is_read_from_the_status_file() {
        assert_eq!(
            peak_rss("Name:\tx\nVmHWM:\t    1234 kB\nVmRSS:\t 1 kB\n"),
            Some(1_263_616)
        );
        assert_eq!(peak_rss("Name:\tx\n"), None);
    }

    #[test]
    fn output_larger_than_a_pipe_arrives_whole() {
        let output = run(&sh("head -c 300000 /dev/zero | tr '\\0' a; sleep 0.1")).unwrap();
        assert_eq!(output.stdout.len(), 300_000);
    }

    #[test]
    fn a_failing_command_shows_what_it_said() {
        let error = run(&sh("echo no model >&2; exit 3"))
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("no model"), "{error}");
    }
}
