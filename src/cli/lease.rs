//! `twinway lease`: who is synchronized with a physical object (FGMV-28 7.1.3).

use std::collections::BTreeSet;

use clap::{Args, Subcommand, ValueEnum};
use twinway::{
    client::{Client, ClientError},
    protocol::{
        JsonDoc, ProblemKind, TwinId, UserId, WorldId,
        access::Right,
        lease::{HolderClass, Phase, Priority, RequestId, Token},
        message::{
            LeaseBooking, LeaseListing, LeaseMoment, LeaseParty, LeaseRequest, LeaseView, OperatorAct, SyncLease,
        },
        registry::PAGE_ITEMS_MAX,
        time::Timestamp,
    },
};

use super::{
    exit::Failure,
    hold,
    output::{Format, Output},
    remote::all,
    twin::for_user,
    watch,
};

#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Lists the objects that somebody has or waits for, or whose gate does not answer.
    List,
    /// Asks for the objects of twins, all or none, and writes the lease's token; with a command, keeps it meanwhile.
    Acquire(Acquire),
    /// Keeps a lease for longer.
    Renew {
        #[command(flatten)]
        shown: Shown,
        /// How long it lasts from now on without another renewal, in milliseconds.
        #[arg(long, value_name = "MS", default_value_t = TTL_MS)]
        ttl_ms: u32,
    },
    /// Gives the objects of a lease back.
    Release(Shown),
    /// Gives the object of a lease to somebody who asked for it.
    Yield {
        #[command(flatten)]
        shown: Shown,
        /// Says no instead.
        #[arg(long)]
        decline: bool,
    },
    /// Wants what waits no more.
    Cancel {
        /// The request's id.
        id: RequestId,
    },
    /// Shows what happens to leases as it happens, until Ctrl-C.
    Watch {
        /// Only these twins, which are selected (FGMV-29 9.2 step 6); none: what this system is told of all.
        ids: Vec<TwinId>,
    },
    /// Shows what happened lately to the lease of a twin's object.
    History {
        /// The twin.
        id: TwinId,
    },
    /// Says in words who holds a twin's object, why, who is next, and what may be done now.
    Explain {
        /// The twin.
        id: TwinId,
    },
    /// Shows who has a twin's object, and who waits for it.
    Queue {
        /// The twin.
        id: TwinId,
    },
    /// Has a twin's object kept for later, and writes the reservation's number.
    Reserve(Reserve),
    /// Wants a reservation no more.
    Unreserve {
        /// The twin.
        id: TwinId,
        /// The reservation's number.
        number: u64,
    },
    /// As an operator: ends a lease at once.
    Clear(Operate),
    /// As an operator: ends a lease with the grace of its terms.
    Revoke(Operate),
    /// As an operator: says that the device of an object in quarantine was seen to be at rest.
    ReplaceGate(Operate),
    /// Has a twin's object brought to a safe stop, whoever holds it.
    Stop {
        /// The twin.
        id: TwinId,
        #[command(flatten)]
        user: User,
    },
}

/// How long a lease lasts unless something else is said, in milliseconds.
const TTL_MS: u32 = 60_000;

/// For whom.
#[derive(Debug, Args)]
pub(crate) struct User {
    /// For this user.
    #[arg(long, env = "TWINWAY_USER", default_value = "operator")]
    pub(crate) user: UserId,
}

/// Which lease.
#[derive(Debug, Args)]
pub(crate) struct Shown {
    /// One of its twins.
    id: TwinId,
    /// Its token.
    #[arg(long = "lease", value_name = "TOKEN", env = "TWINWAY_LEASE_TOKEN")]
    lease: Token,
    #[command(flatten)]
    user: User,
}

/// The classes of requesters.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Class {
    /// A person.
    #[default]
    Person,
    /// A program that acts for a person.
    Service,
    /// Whoever averts harm; a rule has to admit it.
    Emergency,
}

/// What is asked for.
#[derive(Debug, Args)]
pub(crate) struct Acquire {
    /// The twins.
    #[arg(required = true)]
    ids: Vec<TwinId>,
    #[command(flatten)]
    user: User,
    /// In this virtual world.
    #[arg(long)]
    world: Option<WorldId>,
    /// What kind of requester it is.
    #[arg(long, value_enum, default_value_t)]
    class: Class,
    /// At most this priority.
    #[arg(long)]
    priority: Option<Priority>,
    /// How long it lasts without a renewal, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = TTL_MS)]
    ttl_ms: u32,
    /// How long to wait if it cannot be had at once, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    wait_ms: u32,
    /// Ask the holder to yield, where nothing can be forced.
    #[arg(long)]
    ask: bool,
    /// After losing the objects to a higher priority, or to a gate that is silent, wait for them again.
    #[arg(long)]
    requeue: bool,
    /// The id of the request, a UUID: repeating it changes nothing.
    #[arg(long, value_name = "UUID")]
    request_id: Option<RequestId>,
    /// Keep it, renewing, until Ctrl-C or the end of the command; then give it back.
    #[arg(long)]
    pub(crate) hold: bool,
    /// What to run meanwhile, with the token in TWINWAY_LEASE_TOKEN. Its exit code is that of this command; if the
    /// lease was lost before its end and it says 0, that becomes 5.
    #[arg(last = true, requires = "hold")]
    pub(crate) command: Vec<String>,
}

impl Acquire {
    fn request(&self) -> LeaseRequest {
        LeaseRequest {
            user: self.user.user.clone(),
            world: self.world.clone(),
            class: match self.class {
                Class::Person => HolderClass::Person,
                Class::Service => HolderClass::Service,
                Class::Emergency => HolderClass::Emergency,
            },
            twins: self.ids.clone(),
            request_id: self.request_id,
            priority: self.priority,
            ttl_ms: self.ttl_ms,
            wait_ms: self.wait_ms,
            ask: self.ask,
            requeue: self.requeue,
        }
    }
}

/// What is reserved.
#[derive(Debug, Args)]
pub(crate) struct Reserve {
    /// The twin.
    id: TwinId,
    /// From when, such as `2026-01-31T08:00:00Z`.
    #[arg(long, value_parser = moment)]
    from: Timestamp,
    /// Until when.
    #[arg(long, value_parser = moment)]
    until: Timestamp,
    #[command(flatten)]
    user: User,
    /// In this virtual world.
    #[arg(long)]
    world: Option<WorldId>,
    /// At most this priority.
    #[arg(long)]
    priority: Option<Priority>,
    /// How long the lease lasts without a renewal, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = TTL_MS)]
    ttl_ms: u32,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "a time is written like `2026-01-31T08:00:00Z`".to_owned())
}

/// What an operator does something about.
#[derive(Debug, Args)]
pub(crate) struct Operate {
    /// A twin of the object.
    id: TwinId,
    /// Why; it is written down.
    #[arg(long)]
    reason: String,
}

impl LeaseCommand {
    /// Whether Ctrl-C is the command's own affair: what it began has to be ended in order.
    pub(crate) fn ends_itself(&self) -> bool {
        matches!(self, Self::Acquire(_))
    }
}

pub(crate) async fn run(client: Client, command: LeaseCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        LeaseCommand::List => list(&client, output).await,
        LeaseCommand::Acquire(acquire) => hold::acquire(&client, &acquire, acquire.request(), output).await,
        LeaseCommand::Renew { shown: Shown { id, lease, user }, ttl_ms } => {
            granted(&client.renew_lease(&user.user, &id, lease, ttl_ms).await?, output)
        }
        LeaseCommand::Release(Shown { id, lease, user }) => Ok(client.release_lease(&user.user, &id, lease).await?),
        LeaseCommand::Yield { shown: Shown { id, lease, user }, decline } => {
            Ok(client.yield_lease(&user.user, &id, lease, !decline).await?)
        }
        LeaseCommand::Cancel { id } => Ok(client.cancel_lease_request(id).await?),
        LeaseCommand::Watch { ids } => watch::leases(&client, &ids, output).await,
        LeaseCommand::History { id } => history(&view(&client, &id).await?, output),
        LeaseCommand::Explain { id } => explain(&view(&client, &id).await?, output),
        LeaseCommand::Queue { id } => queue(&view(&client, &id).await?, output),
        LeaseCommand::Reserve(booking) => reserve(&client, booking, output).await,
        LeaseCommand::Unreserve { id, number } => Ok(client.cancel_reservation(&id, number).await?),
        LeaseCommand::Clear(what) => operate(&client, &what, OperatorAct::Clear).await,
        LeaseCommand::Revoke(what) => operate(&client, &what, OperatorAct::Revoke).await,
        LeaseCommand::ReplaceGate(what) => operate(&client, &what, OperatorAct::ReplaceGate).await,
        LeaseCommand::Stop { id, user: User { user } } => stop(&client, &id, &user, output).await,
    }
}

/// Does something with twins; if the user has no permission yet, asks for it first (FGMV-29 9.2 steps 6 to 12).
pub(super) async fn permitted<T, F>(
    client: &Client,
    user: &UserId,
    twins: &[TwinId],
    right: Right,
    mut work: impl FnMut() -> F,
) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    match work().await {
        Err(error) if matches!(error.kind(), Some(ProblemKind::PermissionMissing | ProblemKind::PermissionExpired)) => {
            client.select_twins(twins, &[]).await?;
            client.request_permission(user, twins, &BTreeSet::from([Right::Read, right])).await?;
            work().await.map_err(|error| for_user(error, user))
        }
        done => done,
    }
}

/// An operator sees everything, unless it acts as a system; a system what it may.
async fn view(client: &Client, id: &TwinId) -> Result<LeaseView, ClientError> {
    if client.acts_as().is_some() {
        return client.lease(id).await;
    }
    match client.inspect_lease(id).await {
        Err(error) if error.kind() == Some(ProblemKind::NotAllowed) => client.lease(id).await,
        done => done,
    }
}

async fn inspect_all(client: &Client) -> Result<Vec<LeaseListing>, ClientError> {
    let limit = Some(PAGE_ITEMS_MAX);
    let own = async || all(async |cursor: Option<String>| client.leases(cursor.as_deref(), limit).await).await;
    if client.acts_as().is_some() {
        return own().await;
    }
    match all(async |cursor: Option<String>| client.inspect_leases(cursor.as_deref(), limit).await).await {
        Err(error) if error.kind() == Some(ProblemKind::NotAllowed) => own().await,
        done => done,
    }
}

async fn list(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let found = inspect_all(client).await?;
    if output.format() == Format::Json {
        return output.json(&found);
    }
    let row = |listing: &LeaseListing| {
        let (holder, priority) = holder(listing.holder.as_ref());
        let expires = listing.expires_in_ms.map(seconds).unwrap_or_default();
        let (twin, object) = (listing.twin.to_string(), listing.object.to_string());
        vec![twin, phase(listing.phase).to_owned(), holder, priority, expires, listing.waiting.to_string(), object]
    };
    let head = ["TWIN", "STATE", "HOLDER", "PRIORITY", "EXPIRES", "WAITING", "OBJECT"];
    output.table(&head, found.iter().map(row))
}

/// Writes a lease that is there: for scripts that is its token, in a line of its own.
pub(super) fn granted(lease: &SyncLease, output: &mut Output) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json(lease),
        Format::Table => output.line(&lease.token.to_string()),
    }
}

fn explain(view: &LeaseView, output: &mut Output) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json(view),
        Format::Table => view.explanation.lines().try_for_each(|line| output.line(&super::output::printable(line))),
    }
}

fn history(view: &LeaseView, output: &mut Output) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return output.json(&view.history);
    }
    let row = |moment: &LeaseMoment| {
        let (party, priority) = moment.party.as_ref().map_or_else(Default::default, |party| holder(Some(party)));
        let why = match (moment.end, &moment.note) {
            (Some(end), None) => word(&end),
            (Some(end), Some(note)) => format!("{}, {note}", word(&end)),
            (None, note) => note.as_deref().unwrap_or_default().to_owned(),
        };
        let token = moment.token.map(|token| token.to_string()).unwrap_or_default();
        vec![moment.at.to_string(), moment.what.to_string(), party, priority, token, why]
    };
    output.table(&["AT", "WHAT", "WHO", "PRIORITY", "TOKEN", "WHY"], view.history.iter().map(row))
}

fn queue(view: &LeaseView, output: &mut Output) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return output.json(&view.queue);
    }
    let (who, priority) = holder(view.holder.as_ref());
    let expires = view.revoked_in_ms.or(view.expires_in_ms).map(seconds).unwrap_or_default();
    let first = vec![phase(view.phase).to_owned(), who, priority, expires];
    let rows = view.queue.iter().enumerate().map(|(n, waiting)| {
        let (who, priority) = holder(Some(&waiting.party));
        vec![format!("waiting {}", n + 1), who, priority, seconds(waiting.waits_ms)]
    });
    output.table(&["STATE", "WHO", "PRIORITY", "ENDS IN"], std::iter::once(first).chain(rows))?;
    let (shown, waiting) = (view.queue.len(), view.waiting as usize);
    if waiting > shown {
        output.note(&format!("{} more wait", waiting - shown));
    }
    Ok(())
}

async fn reserve(client: &Client, booking: Reserve, output: &mut Output) -> Result<(), Failure> {
    let Reserve { id, from, until, user: User { user }, world, priority, ttl_ms } = booking;
    let booking = LeaseBooking { user: user.clone(), world, from, until, ttl_ms, priority };
    let twins = std::slice::from_ref(&id);
    let number = permitted(client, &user, twins, Right::Change, || client.reserve(&id, &booking)).await?;
    match output.format() {
        Format::Json => output.json(&serde_json::json!({ "id": number })),
        Format::Table => output.line(&number.to_string()),
    }
}

async fn operate(client: &Client, what: &Operate, act: OperatorAct) -> Result<(), Failure> {
    client.operate_lease(&what.id, act, &what.reason).await?;
    // A script that goes on takes the device to be at rest.
    let seen = if act == OperatorAct::ReplaceGate { None } else { view(client, &what.id).await.ok() };
    match seen.filter(|seen| seen.phase == Phase::Quarantined) {
        None => Ok(()),
        Some(seen) => Err(Failure::other(format!(
            "the lease has ended, but the gate of `{}` does not answer: the device may still act, and the object is in quarantine until \
             it answers or `twinway lease replace-gate` says that somebody has seen to it",
            seen.object
        ))),
    }
}

async fn stop(client: &Client, id: &TwinId, user: &UserId, output: &mut Output) -> Result<(), Failure> {
    let stopped = permitted(client, user, std::slice::from_ref(id), Right::Stop, || client.stop_twin(user, id)).await?;
    if output.format() == Format::Json {
        return output.json(&stopped);
    }
    let row = |(name, value): (&String, &JsonDoc)| vec![name.clone(), value.as_str().to_owned()];
    output.table(&["PROPERTY", "VALUE"], stopped.iter().map(row))
}

/// What everybody is told of a moment, who it was about only as far as everybody may know.
pub(super) fn in_words(moment: &LeaseMoment) -> String {
    let mut words = moment.what.to_string();
    if let Some(party) = &moment.party {
        let who = party.user.as_ref().map_or("somebody", UserId::as_str);
        words.push_str(&format!(": {who} at priority {}", party.priority));
    }
    if let Some(end) = &moment.end {
        words.push_str(&format!(", {}", word(end)));
    }
    words
}

/// Who, as far as it may be known, and the priority.
fn holder(party: Option<&LeaseParty>) -> (String, String) {
    let Some(party) = party else { return ("nobody".to_owned(), String::new()) };
    let who = match (&party.user, &party.system) {
        (Some(user), Some(system)) => format!("{user} of {system}"),
        (Some(user), None) => user.to_string(),
        (None, Some(system)) => format!("somebody of {system}"),
        (None, None) => "somebody of another system".to_owned(),
    };
    (who, party.priority.to_string())
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Free => "free",
        Phase::Fencing => "fencing",
        Phase::Held => "held",
        Phase::Revoking => "revoking",
        Phase::Quarantined => "quarantined",
    }
}

/// A word of the interface, as it is written there.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}
