//! `twinway lease acquire`: a lease for a script, or for as long as a command runs.

use std::process::{Command, ExitStatus};

use twinway::{
    client::{Client, ClientError, HeldLease, LeaseState},
    protocol::{ProblemKind, access::Right, message::LeaseRequest},
};

use super::{
    exit::{Exit, Failure},
    lease::{Acquire, granted, permitted},
    output::Output,
};

/// How shells tell that Ctrl-C ended a command: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// FGMV-28 7.1.3 steps 6 to 11.
pub(super) async fn acquire(
    client: &Client,
    acquire: &Acquire,
    mut request: LeaseRequest,
    output: &mut Output,
) -> Result<(), Failure> {
    request.request_id = request.request_id.or_else(twinway::client::chance_request_id);
    if acquire.hold {
        let work = || client.hold(request.clone());
        let held = interrupted(client, &request, permitted(client, &request.user, &request.twins, Right::Change, work));
        return keep(held.await?, &acquire.command, output).await;
    }
    let work = || client.request_lease(&request);
    let lease = interrupted(client, &request, permitted(client, &request.user, &request.twins, Right::Change, work));
    granted(&lease.await?, output)
}

/// Waits for a lease; Ctrl-C takes the request back.
async fn interrupted<T>(
    client: &Client,
    request: &LeaseRequest,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        done = work => Ok(done?),
        _ = tokio::signal::ctrl_c() => {
            if let Some(id) = request.request_id {
                match client.cancel_lease_request(id).await {
                    Err(error) if error.kind() != Some(ProblemKind::LeaseRequestUnknown) => return Err(error.into()),
                    _ => {}
                }
            }
            Err(Failure::Status(INTERRUPTED))
        }
    }
}

/// Keeps a lease while a command runs, or until Ctrl-C.
async fn keep(held: HeldLease, command: &[String], output: &mut Output) -> Result<(), Failure> {
    let Some((program, arguments)) = command.split_first() else {
        granted(held.lease(), output)?;
        let lost = tokio::select! {
            why = told(&held, output) => Some(why),
            _ = tokio::signal::ctrl_c() => None,
        };
        return match lost {
            Some(why) => Err(why.into()),
            None => Ok(held.release().await?),
        };
    };
    let mut child = Command::new(program);
    child.args(arguments).env("TWINWAY_LEASE_TOKEN", held.token().to_string());
    let mut child = match child.spawn() {
        Ok(child) => child,
        Err(error) => {
            held.release().await?;
            return Err(Failure::Other(Exit::Failure, format!("`{program}` cannot be started: {error}")));
        }
    };
    let ended = tokio::task::spawn_blocking(move || child.wait());
    tokio::pin!(ended);
    let mut lost = None;
    let status = loop {
        tokio::select! {
            biased;
            ended = &mut ended => break ended,
            why = told(&held, output), if lost.is_none() => {
                output.note(&format!("the lease is lost: {why}"));
                lost = Some(why);
            }
            // The command hears it too, and decides; the lease is given back when it has ended.
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let released = match &lost {
        Some(_) => Ok(()),
        None => held.release().await,
    };
    let failed = |error: String| Failure::other(format!("`{program}`: {error}"));
    let status = status.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
    match (code(status), lost) {
        (0, None) => released.map_err(Failure::from),
        // What it said it did may not have reached the object.
        (0, Some(_)) => Err(Failure::Status(Exit::Held as u8)),
        (code, _) => Err(Failure::Status(code)),
    }
}

/// Tells of a revocation, and gives why the lease was lost.
async fn told(held: &HeldLease, output: &Output) -> ClientError {
    let mut state = held.watch();
    loop {
        match &*state.borrow_and_update() {
            LeaseState::Held => {}
            LeaseState::Revoking { ends_in_ms } => {
                output.note(&format!("the lease is being revoked, and ends in {ends_in_ms} ms"));
            }
            LeaseState::Lost(why) => return why.clone(),
        }
        if state.changed().await.is_err() {
            return held.lost().await;
        }
    }
}

/// How shells tell how a command ended.
fn code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal);
    #[cfg(not(unix))]
    let signal = None;
    let code = status.code().or(signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
