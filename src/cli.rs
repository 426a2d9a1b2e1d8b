//! The command line.

mod access;
mod acquisition;
mod config;
mod conformance;
mod exit;
mod flow;
mod history;
mod hold;
mod input;
mod journal;
mod lease;
mod log;
mod map;
mod output;
mod remote;
mod scenario;
mod serve;
mod service;
mod simulate;
mod system;
mod trace;
mod twin;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use exit::{Exit, Failure};
use output::{Format, Output};

/// Twinway joins virtual worlds to the physical one: the integration enabler of ITU-T FGMV-29.
#[derive(Debug, Parser)]
#[command(name = "twinway", version, propagate_version = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How results are written; errors go to the other stream, as text or as a problem document.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Format,
}

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 denied, 5 held by another, \
                          6 unreachable, 7 timeout, 8 check failed";

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon until it is told to stop.
    Serve(serve::ServeOptions),
    /// Shows the registered systems of a running daemon.
    System {
        #[command(flatten)]
        remote: remote::Remote,
        #[command(subcommand)]
        command: system::SystemCommand,
    },
    /// Shows and changes the digital twins of a running daemon.
    Twin {
        #[command(flatten)]
        remote: remote::Remote,
        #[command(subcommand)]
        command: twin::TwinCommand,
    },
    /// Shows, asks for and gives back sync leases: who drives a physical object (FGMV-28 7.1.3).
    Lease {
        #[command(flatten)]
        remote: remote::Remote,
        #[command(subcommand)]
        command: lease::LeaseCommand,
    },
    /// Runs, shows and cancels chains of third-party systems (FGMV-29 8.2.4).
    Service {
        #[command(flatten)]
        remote: remote::Remote,
        #[command(subcommand)]
        command: service::ServiceCommand,
    },
    /// Who may do what with a twin, and what it can be asked at all: for its twin system (FGMV-29 8.3.5).
    Access {
        #[command(flatten)]
        remote: remote::Remote,
        #[command(subcommand)]
        command: access::AccessCommand,
    },
    /// Information of twins for a third-party system: once, and as subscriptions (FGMV-29 8.2.5).
    Acquisition {
        #[command(flatten)]
        remote: remote::Remote,
        #[command(subcommand)]
        command: acquisition::AcquisitionCommand,
    },
    /// Shows and exports the spatial maps of a metaverse system, and what is at a place (FGMV-28 7.3).
    Map {
        #[command(flatten)]
        remote: remote::Remote,
        #[command(subcommand)]
        command: map::MapCommand,
    },
    /// Checks, shows and saves the journal of a data directory.
    Journal {
        #[command(subcommand)]
        command: journal::JournalCommand,
    },
    /// Checks and shows configurations.
    Config {
        #[command(subcommand)]
        command: config::ConfigCommand,
    },
    /// Runs a procedure in a simulated world, in many orders, and shows the shortest one in which a rule does not hold.
    Simulate(simulate::SimulateOptions),
    /// Shows the flows of the texts, and checks traces against them.
    Flow {
        #[command(subcommand)]
        command: flow::FlowCommand,
    },
    /// Runs the use cases of FGMV-28 for real: a daemon, and each external system as a process of its own.
    Scenario {
        #[command(subcommand)]
        command: scenario::ScenarioCommand,
    },
    /// Runs what answers the two texts, clause by clause, and says of each clause what came of it. Ends with 0 only if every
    /// clause holds, with 8 if one is broken or open.
    Conformance(conformance::ConformanceOptions),
    /// Hands recorded traces on to other tools.
    Trace {
        #[command(subcommand)]
        command: trace::TraceCommand,
    },
    /// Writes the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Reads the arguments and does what they say.
pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Help and version are no errors, and clap tells them apart; a reader that hung up is none either.
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let mut output = Output::new(arguments.output);
    let done = match arguments.command {
        Command::Serve(options) => return serve::serve(options),
        Command::System { remote, command } => remote.run(|client| system::run(client, command, &mut output)),
        Command::Twin { remote, command } => remote.run(|client| twin::run(client, command, &mut output)),
        Command::Lease { remote, command } if command.ends_itself() => {
            remote.run_to_end(|client| lease::run(client, command, &mut output))
        }
        Command::Lease { remote, command } => remote.run(|client| lease::run(client, command, &mut output)),
        Command::Service { remote, command } => remote.run(|client| service::run(client, command, &mut output)),
        Command::Access { remote, command } => remote.run(|client| access::run(client, command, &mut output)),
        Command::Acquisition { remote, command } => remote.run(|client| acquisition::run(client, command, &mut output)),
        Command::Map { remote, command } => remote.run(|client| map::run(client, command, &mut output)),
        Command::Journal { command } => journal::run(command, &mut output),
        Command::Config { command } => config::run(&command, &mut output),
        Command::Simulate(options) => simulate::run(&options, &mut output),
        Command::Flow { command } => flow::run(&command, &mut output),
        Command::Scenario { command } => scenario::run(command, &mut output),
        Command::Conformance(options) => conformance::run(&options, &mut output),
        Command::Trace { command } => trace::run(&command, &mut output),
        Command::Completions { shell } => completions(shell, &mut output),
    };
    output.finish(done)
}

fn completions(shell: clap_complete::Shell, output: &mut Output) -> Result<(), Failure> {
    // Into memory first: the generator panics when its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "twinway", &mut script);
    output.bytes(&script)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        super::Arguments::command().debug_assert();
    }
}
