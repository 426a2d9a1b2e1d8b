//! Commands that talk to a running daemon.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use twinway::{
    client::{Client, ClientError},
    protocol::{ProblemKind, SystemId, registry::Page},
};

use super::exit::{Exit, Failure};

/// Which daemon, and with which token.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// Where the daemon is.
    #[arg(long, global = true, env = "TWINWAY_URL", value_parser = url, default_value = "http://127.0.0.1:7400")]
    url: String,
    /// The token to use; without one, that of the token file.
    #[arg(long, global = true, env = "TWINWAY_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Where `twinway serve` has left an operator's token.
    #[arg(long, global = true, value_name = "FILE", default_value = "twinway-data/token")]
    token_file: PathBuf,
    /// Act as this system (with an operator's token).
    #[arg(long = "as", global = true, value_name = "SYSTEM")]
    acting_as: Option<SystemId>,
    /// How long a request may take, in milliseconds.
    #[arg(long, global = true, value_name = "MS", default_value_t = twinway::client::REQUEST_MS_MAX)]
    timeout_ms: u64,
}

/// An address that is none is a mistake of usage, not a daemon that cannot be reached.
fn url(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some(("http", rest)) if !rest.is_empty() => Ok(text.to_owned()),
        Some(("https", _)) => Err("this build speaks no TLS; write `http://…`".to_owned()),
        _ => Err(format!("write `http://{text}`, if that is where the daemon is")),
    }
}

impl Remote {
    /// Runs a command with a client of the daemon, until Ctrl-C.
    pub(crate) fn run<F>(self, command: impl FnOnce(Client) -> F) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        self.run_to_end(async |client| {
            tokio::select! {
                done = command(client) => done,
                // Whoever watches ends it so.
                _ = tokio::signal::ctrl_c() => Ok(()),
            }
        })
    }

    /// Runs a command with a client of the daemon; what Ctrl-C means is its own affair.
    pub(crate) fn run_to_end<F>(self, command: impl FnOnce(Client) -> F) -> Result<(), Failure>
    where
        F: Future<Output = Result<(), Failure>>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::other(format!("no runtime: {error}")))?;
        let missing = (self.token.is_none() && !self.token_file.exists()).then(|| self.token_file.clone());
        let client = self.client()?;
        let done = runtime.block_on(command(client));
        done.map_err(|failure| Self::explained(missing.as_deref(), failure))
    }

    /// What the daemon says about a missing token helps those who write requests; who uses commands gives it so.
    fn explained(missing: Option<&Path>, failure: Failure) -> Failure {
        match (missing, failure) {
            (Some(file), Failure::Client(ClientError::Problem(mut problem)))
                if problem.kind() == Some(ProblemKind::Unauthenticated) =>
            {
                problem.detail = format!(
                    "give one by --token or TWINWAY_TOKEN; `twinway serve` leaves an operator's token in its data \
                     directory, for --token-file ({} is not there)",
                    file.display()
                );
                Failure::Client(ClientError::Problem(problem))
            }
            (_, failure) => failure,
        }
    }

    fn client(self) -> Result<Client, Failure> {
        let token = match self.token {
            Some(token) => token,
            None => match fs::read_to_string(&self.token_file) {
                Ok(text) => text.trim().to_owned(),
                // The daemon says what is missing, if it misses it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(Failure::other(format!("{}: {error}", self.token_file.display()))),
            },
        };
        let client = Client::new(self.url, token).within(Duration::from_millis(self.timeout_ms));
        Ok(match self.acting_as {
            Some(system) => client.acting_as(system),
            None => client,
        })
    }
}

/// All pages of a list.
pub(crate) async fn all<T, F>(mut page: impl FnMut(Option<String>) -> F) -> Result<Vec<T>, ClientError>
where
    F: Future<Output = Result<Page<T>, ClientError>>,
{
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let next = page(cursor).await?;
        items.extend(next.items);
        match next.next {
            Some(next) => cursor = Some(next),
            None => return Ok(items),
        }
    }
}

pub(crate) fn not_found(what: &str, id: &impl std::fmt::Display) -> Failure {
    Failure::Other(Exit::NotFound, format!("there is no {what} `{id}`"))
}
