//! What every bench prints and how it counts: medians of alternating rounds, on a machine that is named.

use std::process::Command;

/// Prints what the figures were measured on.
pub(crate) fn machine() {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = first_line("uname", &["-sr"]);
    let rustc = first_line("rustc", &["--version"]);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or(": unknown")
        .trim_start_matches(['\t', ':', ' ']);
    println!(
        "machine: {cores} cores, {cpu}, {kernel}, {rustc}, {} build",
        if cfg!(debug_assertions) { "debug" } else { "release" }
    );
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or("unknown").to_owned()
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How many rounds: one when a bench is only tried (`--test`), so that it cannot rot.
pub(crate) fn rounds(wanted: usize) -> usize {
    if std::env::args().any(|argument| argument == "--test") { 1 } else { wanted }
}

/// Prints one figure beside what it should reach.
pub(crate) fn verdict(what: &str, reached: f64, target: f64, at_most: bool) {
    let holds = if at_most { reached <= target } else { reached >= target };
    let sign = if at_most { "<=" } else { ">=" };
    println!("{what}: {reached:.2} (target {sign} {target:.2}: {})", if holds { "reached" } else { "NOT reached" });
}
