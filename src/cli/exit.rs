//! How a command ends.

use std::{io, process::ExitCode};

use twinway::{
    client::{ClientError, ProblemDocument},
    protocol::ProblemKind,
};

/// The exit codes: what scripts build on, so they never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It is done.
    Ok = 0,
    /// It failed for a reason that has no code of its own.
    Failure = 1,
    /// The arguments are not understood.
    Usage = 2,
    /// What was named is not there.
    NotFound = 3,
    /// The token, or the user, may not.
    Denied = 4,
    /// Somebody else has it.
    Held = 5,
    /// The daemon, or the external system behind it, cannot be reached.
    Unreachable = 6,
    /// No answer in time.
    Timeout = 7,
    /// A check was carried out and found something. Only the commands that check end with it.
    CheckFailed = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The daemon was asked in vain.
    Client(ClientError),
    /// It has an exit code of its own, and a sentence that says why.
    Other(Exit, String),
    /// The output cannot be written.
    Output(io::Error),
    /// A command that was run for the caller ended so, and has said why itself.
    Status(u8),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl Failure {
    pub(crate) fn usage(why: impl Into<String>) -> Self {
        Self::Other(Exit::Usage, why.into())
    }

    pub(crate) fn other(why: impl Into<String>) -> Self {
        Self::Other(Exit::Failure, why.into())
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Client(ClientError::Problem(problem)) => of_problem(problem),
            Self::Client(ClientError::Unreachable(_)) => Exit::Unreachable,
            Self::Client(ClientError::Timeout) => Exit::Timeout,
            Self::Client(ClientError::Protocol(_)) => Exit::Failure,
            Self::Other(exit, _) => *exit,
            // Whoever read has enough, as with `head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Output(_) | Self::Status(_) => Exit::Failure,
        }
    }

    pub(crate) fn document(&self) -> ProblemDocument {
        match self {
            Self::Client(error) => error.to_document(),
            Self::Other(exit, why) => {
                let (status, title) = match exit {
                    Exit::Usage => (400, "What was given is not acceptable"),
                    Exit::NotFound => (404, "Not found"),
                    Exit::CheckFailed => (422, "The check failed"),
                    _ => (500, "The command failed"),
                };
                ProblemDocument::blank(status, title, why)
            }
            Self::Status(code) => ProblemDocument::blank(500, "The command failed", format!("it ended with {code}")),
            Self::Output(error) => ProblemDocument::blank(500, "The output cannot be written", error.to_string()),
        }
    }
}

fn of_problem(problem: &ProblemDocument) -> Exit {
    match problem.kind() {
        Some(
            ProblemKind::ObjectOwned
            | ProblemKind::TwinListedElsewhere
            | ProblemKind::LeaseHeld
            | ProblemKind::LeaseLost
            | ProblemKind::LeaseRevoking
            | ProblemKind::LeaseWaitOver
            | ProblemKind::LeaseDeclined
            | ProblemKind::LeaseDisplaced
            | ProblemKind::ReservationTaken,
        ) => Exit::Held,
        Some(ProblemKind::OutsideUnreachable) => Exit::Unreachable,
        // What this build does not know is told by its status. 423 and `lease-held` are what leases answer with.
        _ if problem.status == 423 || problem.problem_type.ends_with("/lease-held") => Exit::Held,
        _ => match problem.status {
            401 | 403 => Exit::Denied,
            404 | 410 => Exit::NotFound,
            408 | 504 => Exit::Timeout,
            _ => Exit::Failure,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use twinway::{
        client::{ClientError, ProblemDocument},
        protocol::{Problem, ProblemKind},
    };

    use super::{Exit, Failure};

    fn exit_of(kind: ProblemKind) -> Exit {
        let document = ProblemDocument::from(Problem::new(kind, "this time"));
        Failure::Client(ClientError::Problem(Box::new(document))).exit()
    }

    #[test]
    fn every_kind_of_problem_ends_with_the_code_that_the_help_names() {
        use ProblemKind as Kind;
        for &kind in Kind::ALL {
            let expected = match kind {
                Kind::Unauthenticated
                | Kind::NotAllowed
                | Kind::PermissionMissing
                | Kind::PermissionExpired
                | Kind::PermissionDenied
                | Kind::BehaviourNotPermitted
                | Kind::LeaseNotYours => Exit::Denied,
                Kind::SystemUnknown
                | Kind::TwinUnknown
                | Kind::PropertyUnknown
                | Kind::RequestUnknown
                | Kind::RouteUnknown
                | Kind::LeaseRequestUnknown
                | Kind::CursorExpired
                | Kind::MapUnknown
                | Kind::MapEntryUnknown
                | Kind::ObservationUnknown
                | Kind::ActionUnknown
                | Kind::InvocationUnknown
                | Kind::PermissionUnknown
                | Kind::EventUnknown
                | Kind::ModelUnknown
                | Kind::SubscriptionUnknown => Exit::NotFound,
                Kind::ObjectOwned
                | Kind::TwinListedElsewhere
                | Kind::LeaseHeld
                | Kind::LeaseLost
                | Kind::LeaseRevoking
                | Kind::LeaseWaitOver
                | Kind::LeaseDeclined
                | Kind::LeaseDisplaced
                | Kind::ReservationTaken => Exit::Held,
                Kind::OutsideUnreachable => Exit::Unreachable,
                Kind::OutsideTimeout | Kind::DeadlineOver => Exit::Timeout,
                _ => Exit::Failure,
            };
            assert_eq!(exit_of(kind), expected, "{kind}");
        }
    }

    #[test]
    fn a_lease_that_somebody_holds_has_its_own_code_even_if_this_build_does_not_know_the_problem() {
        let mut document = ProblemDocument::blank(409, "Held", "by another");
        document.problem_type = "/problems/lease-held".to_owned();
        assert_eq!(Failure::Client(ClientError::Problem(Box::new(document))).exit(), Exit::Held);
    }

    #[test]
    fn what_is_no_problem_of_the_daemon_has_its_code_too() {
        assert_eq!(Failure::Client(ClientError::Unreachable(String::new())).exit(), Exit::Unreachable);
        assert_eq!(Failure::Client(ClientError::Timeout).exit(), Exit::Timeout);
        assert_eq!(Failure::Output(io::ErrorKind::BrokenPipe.into()).exit(), Exit::Ok);
        assert_eq!(Failure::Output(io::ErrorKind::StorageFull.into()).exit(), Exit::Failure);
        assert_eq!(Failure::usage("so not").exit() as u8, 2);
        assert_eq!(Exit::CheckFailed as u8, 8);
    }
}
