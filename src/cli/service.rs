//! `twinway service`: chains of third-party systems (FGMV-29 8.2.4).

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;
use twinway::{
    client::Client,
    protocol::{
        ExecutionId, ProblemKind,
        collaboration::{Chain, Execution, ExecutionState, StepState},
    },
};

use super::{
    exit::{Exit, Failure},
    output::{Format, Output},
    remote::all,
};

/// How long one look at an execution waits for its end.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Runs a chain, and shows how it goes on until its end. Ctrl-C leaves it to go on alone.
    Run {
        /// The chain, as a JSON document; `-` reads it from standard input.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// The same key again is the same request: it shows what came of it.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
        /// Shows how it stands at once, and does not wait.
        #[arg(long)]
        no_wait: bool,
    },
    /// Shows one execution.
    Show {
        /// Its id.
        id: ExecutionId,
    },
    /// Lists the executions that are under way or ended not long ago.
    List,
    /// Has an execution go no further; what was done is undone.
    Cancel {
        /// Its id.
        id: ExecutionId,
    },
}

/// Carries a command out.
///
/// # Errors
/// What the daemon refuses; and, of `run`, an execution that did not succeed.
pub(crate) async fn run(client: Client, command: ServiceCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        ServiceCommand::Run { file, idempotency_key, no_wait } => {
            let chain = read(&file)?;
            let mut execution = client.run_chain(&chain, idempotency_key.as_deref(), Duration::ZERO).await?;
            if !no_wait {
                let mut progress = output.progress("steps");
                while !execution.state.has_ended() {
                    progress(settled(&execution), execution.steps.len() as u64);
                    execution = client.execution(&execution.id, LOOK).await?;
                }
            }
            show(&execution, output)?;
            let failed = execution.state.has_ended() && execution.state != ExecutionState::Succeeded;
            if failed { Err(failure(&execution)) } else { Ok(()) }
        }
        ServiceCommand::Show { id } => show(&client.execution(&id, Duration::ZERO).await?, output),
        ServiceCommand::Cancel { id } => show(&client.cancel_execution(&id).await?, output),
        ServiceCommand::List => {
            let client = &client;
            let page = |cursor: Option<String>| async move { client.executions(None, cursor.as_deref(), None).await };
            let executions = all(page).await?;
            match output.format() {
                Format::Json => output.json(&executions),
                Format::Table => {
                    let row = |execution: &Execution| {
                        let Execution { id, user, started_at, .. } = execution;
                        vec![id.to_string(), user.to_string(), word(&execution.state), started_at.to_string()]
                    };
                    output.table(&["ID", "USER", "STATE", "STARTED"], executions.iter().map(row))
                }
            }
        }
    }
}

fn read(file: &PathBuf) -> Result<Chain, Failure> {
    let failed = |error: std::io::Error| Failure::other(format!("{}: {error}", file.display()));
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).map_err(failed)?
    } else {
        std::fs::read_to_string(file).map_err(failed)?
    };
    serde_json::from_str(&text).map_err(|error| Failure::Other(Exit::Usage, format!("{}: {error}", file.display())))
}

/// How many steps need nothing more before the chain has ended forwards.
fn settled(execution: &Execution) -> u64 {
    let open = |state| matches!(state, StepState::Waiting | StepState::Running | StepState::Retrying);
    execution.steps.iter().filter(|step| !open(step.state)).count() as u64
}

fn show(execution: &Execution, output: &mut Output) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return output.json(execution);
    }
    output.line(&format!("{}: {}", execution.id, word(&execution.state)))?;
    let rows = execution.steps.iter().map(|step| {
        let said = step.problem.as_ref().map_or_else(String::new, |problem| problem.detail.clone());
        vec![step.name.clone(), step.system.to_string(), word(&step.state), step.attempts.to_string(), said]
    });
    output.table(&["STEP", "SYSTEM", "STATE", "ATTEMPTS", "PROBLEM"], rows)?;
    match &execution.output {
        Some(document) => output.line(document.as_str()),
        None => Ok(()),
    }
}

fn failure(execution: &Execution) -> Failure {
    let (kind, said) = match &execution.problem {
        Some(problem) => (problem.kind, problem.detail.as_str()),
        None => (ProblemKind::Internal, "nobody knows why"),
    };
    let exit = match kind {
        ProblemKind::PermissionMissing | ProblemKind::PermissionExpired | ProblemKind::PermissionDenied => Exit::Denied,
        ProblemKind::OutsideTimeout => Exit::Timeout,
        _ => Exit::Failure,
    };
    Failure::Other(exit, format!("it ended {}: {said}", word(&execution.state)))
}

/// A state as JSON has it.
fn word<T: serde::Serialize>(state: &T) -> String {
    serde_json::to_value(state).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}
