//! The checks that CI runs and Cargo does not have: `cargo xtask layers`, `cargo xtask size`.
#![expect(clippy::print_stdout, reason = "a command line tool")]

mod layers;
mod metadata;
mod size;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  layers    check that dependency arrows between the crates point down only
  size      list files and functions by length; fail where a file is past its limit";

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref()) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<&str>) -> Result<String> {
    match command {
        Some("layers") => layers::check(&metadata::read(workspace_root()?)?),
        Some("size") => size::check(workspace_root()?),
        Some("help" | "--help" | "-h") => Ok(USAGE.to_owned()),
        Some(unknown) => bail!("expected `layers` or `size`, found `{unknown}`\n\n{USAGE}"),
        None => bail!("expected a command\n\n{USAGE}"),
    }
}

fn workspace_root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lies in the workspace's folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_command_lists_the_known_ones() {
        let error = run(Some("layer")).unwrap_err().to_string();
        assert!(
            error.starts_with("expected `layers` or `size`, found `layer`"),
            "{error}"
        );
    }
}
