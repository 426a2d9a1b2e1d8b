//! `twinway system`: what is registered, and how it stands.

mod standing;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use twinway::{
    actors::discovery::FILTER_HELP,
    client::{Client, ClientError, Registered},
    protocol::{
        JsonDoc, ProblemKind, SystemId,
        registry::{PAGE_ITEMS_MAX, Reach, ServiceLevel, Standing, SystemQuery, ThirdPartyListing, TwinSystemListing},
        time::Timestamp,
    },
};

use super::{
    exit::{Exit, Failure},
    input::document,
    output::{Format, Output},
    remote::{all, not_found},
    watch,
};

/// The kinds of systems that register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Digital twin systems (FGMV-29 9.2).
    TwinSystem,
    /// Third-party systems (FGMV-29 9.1).
    ThirdParty,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Lists the registered systems.
    List(Which),
    /// Shows one.
    Show {
        /// Its id.
        id: SystemId,
        /// Only a system of this kind.
        #[arg(long, value_enum)]
        kind: Option<Kind>,
    },
    /// Shows how the registered systems stand: health, calls, error rate, times, and what was promised.
    Status(Which),
    /// Changes a registration by a JSON merge patch (RFC 7396), read from a file, or from standard input as `-`.
    Update {
        #[command(flatten)]
        one: One,
        /// The patch.
        patch: std::path::PathBuf,
        /// Only if the registration has this version.
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
    },
    /// Ends a registration, and everything that it maintained.
    Deregister {
        #[command(flatten)]
        one: One,
        /// Only if the registration has this version.
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
    },
    /// Renews a registration.
    Renew {
        #[command(flatten)]
        one: One,
        /// For how long from now on, in milliseconds; otherwise as it registered.
        #[arg(long, value_name = "MS")]
        lifetime_ms: Option<u64>,
    },
    /// Registers a Thing Model, by which the twin system's lists describe twins.
    RegisterModel {
        /// The name by which the lists refer to it.
        id: String,
        /// The model, in a file, or on standard input as `-`.
        model: std::path::PathBuf,
    },
    /// Shows a Thing Model that the twin system registered.
    Model {
        /// Its name.
        id: String,
    },
    /// Searches as a metaverse system does (FGMV-29 9.1 and 9.2, steps 4 and 5).
    Search {
        /// The beginnings of words of id, title or description.
        text: Option<String>,
        #[command(flatten)]
        which: Which,
    },
    /// Shows registrations as they come, change and go, until Ctrl-C.
    Watch {
        #[command(flatten)]
        which: Which,
        /// How often to look, in milliseconds.
        #[arg(long, value_name = "MS", default_value_t = 1000)]
        every_ms: u64,
    },
}

/// One system.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// Its id.
    id: SystemId,
    /// Its kind, where both kinds have one of this id.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
}

/// Which systems.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Only systems of this kind.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Only systems of this type, such as `home`.
    #[arg(long = "type", value_name = "TYPE")]
    system_type: Option<String>,
    /// Only third-party systems that offer this operation.
    #[arg(long)]
    operation: Option<String>,
    /// Only twin systems with a twin of this object.
    #[arg(long, value_name = "URI")]
    physical_object: Option<String>,
    /// Only systems for which this CEL expression is true: `charge.amount < 5 && performance.p99_ms < 200`.
    #[arg(long, value_name = "EXPRESSION", long_help = FILTER_HELP)]
    filter: Option<String>,
    /// In the order of these fields, with `-` before those that go down: `performance.p99_ms,-charge.amount`.
    #[arg(long, value_name = "FIELDS", allow_hyphen_values = true)]
    sort: Option<String>,
}

/// A system of either kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Listing {
    TwinSystem(Kinded<TwinSystemListing>),
    ThirdParty(Kinded<ThirdPartyListing>),
}

/// A listing that says what it lists.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Kinded<T> {
    kind: Kind,
    #[serde(flatten)]
    listing: T,
}

impl Listing {
    fn of_twin_system(listing: TwinSystemListing) -> Self {
        Self::TwinSystem(Kinded { kind: Kind::TwinSystem, listing })
    }

    fn of_third_party(listing: ThirdPartyListing) -> Self {
        Self::ThirdParty(Kinded { kind: Kind::ThirdParty, listing })
    }

    fn kind_text(&self) -> &'static str {
        match self {
            Self::TwinSystem(_) => "twin-system",
            Self::ThirdParty(_) => "third-party",
        }
    }

    fn id(&self) -> &SystemId {
        match self {
            Self::TwinSystem(of) => &of.listing.system.id,
            Self::ThirdParty(of) => &of.listing.system.id,
        }
    }

    /// What tells two systems apart: the two kinds have ids of their own.
    pub(crate) fn key(&self) -> String {
        format!("{} {}", self.kind_text(), self.id())
    }

    /// How it stands, and what it promises.
    fn stands(&self) -> (&Standing, Option<&ServiceLevel>) {
        match self {
            Self::TwinSystem(of) => (&of.listing.standing, of.listing.system.service_level.as_ref()),
            Self::ThirdParty(of) => (&of.listing.standing, of.listing.system.service_level.as_ref()),
        }
    }

    fn version(&self) -> u64 {
        match self {
            Self::TwinSystem(of) => of.listing.version,
            Self::ThirdParty(of) => of.listing.version,
        }
    }

    fn registered_kind(&self) -> Registered {
        match self {
            Self::TwinSystem(_) => Registered::TwinSystem,
            Self::ThirdParty(_) => Registered::ThirdParty,
        }
    }

    fn registered_at(&self) -> Timestamp {
        match self {
            Self::TwinSystem(of) => of.listing.registered_at,
            Self::ThirdParty(of) => of.listing.registered_at,
        }
    }

    pub(crate) fn row(&self) -> Vec<String> {
        let (system_type, title, offers) = match self {
            Self::TwinSystem(of) => {
                let (system, count) = (&of.listing.system, of.listing.twin_count);
                let twins = if count == 1 { "1 twin".to_owned() } else { format!("{count} twins") };
                (&system.system_type, &system.title, twins)
            }
            Self::ThirdParty(of) => {
                let system = &of.listing.system;
                let operations: Vec<_> = system.apis.iter().map(|api| api.operation.as_str()).collect();
                (&system.system_type, &system.title, operations.join(", "))
            }
        };
        vec![
            self.id().to_string(),
            self.kind_text().to_owned(),
            system_type.clone(),
            title.clone(),
            offers,
            self.registered_at().to_string(),
        ]
    }

    fn details(&self) -> Vec<Vec<String>> {
        let [id, kind, system_type, title, offers, registered] = self.row().try_into().unwrap_or_default();
        let (description, reach) = match self {
            Self::TwinSystem(of) => (&of.listing.system.description, &of.listing.system.reach),
            Self::ThirdParty(of) => (&of.listing.system.description, &of.listing.system.reach),
        };
        let reach = match reach {
            Reach::Session => "its session".to_owned(),
            Reach::Webhook(url) => url.clone(),
        };
        let mut rows = vec![
            ("id", id),
            ("kind", kind),
            ("type", system_type),
            ("title", title),
            ("description", description.clone()),
            ("offers", offers),
            ("reached by", reach),
            ("registered", registered),
        ];
        if let Self::ThirdParty(of) = self
            && let Some(charge) = &of.listing.system.service_charge
        {
            let per = charge.per.as_deref().map(|per| format!(" per {per}")).unwrap_or_default();
            rows.push(("charge", format!("{} {}{per}", charge.amount, charge.currency)));
        }
        rows.push(("version", self.version().to_string()));
        rows.extend(standing::details(self.stands()));
        rows.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect()
    }
}

pub(crate) const HEAD: [&str; 6] = ["ID", "KIND", "TYPE", "TITLE", "OFFERS", "REGISTERED"];

pub(crate) async fn run(client: Client, command: SystemCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        SystemCommand::List(which) => show_all(&find(&client, &which, None).await?, output),
        SystemCommand::Search { text, which } => show_all(&find(&client, &which, text).await?, output),
        SystemCommand::Status(which) => standing::show_all(&find(&client, &which, None).await?, output),
        SystemCommand::Update { one, patch, if_version } => {
            standing::update(&client, &one, &patch, if_version, output).await
        }
        SystemCommand::Deregister { one, if_version } => {
            let found = needed(&client, &one).await?;
            Ok(client.deregister(found.registered_kind(), &one.id, if_version).await?)
        }
        SystemCommand::Renew { one, lifetime_ms } => standing::renew(&client, &one, lifetime_ms, output).await,
        SystemCommand::RegisterModel { id, model } => {
            let model: JsonDoc = document(&model)?;
            Ok(client.register_thing_model(&id, &model).await?)
        }
        SystemCommand::Model { id } => output.line(client.thing_model(&id).await?.as_str()),
        SystemCommand::Show { id, kind } => show(&client, &id, kind, output).await,
        SystemCommand::Watch { which, every_ms } => watch::systems(&client, &which, every_ms, output).await,
    }
}

/// All systems that match, by kind, and by id or as they are sorted.
pub(crate) async fn find(client: &Client, which: &Which, text: Option<String>) -> Result<Vec<Listing>, ClientError> {
    let query = SystemQuery {
        system_type: which.system_type.clone(),
        text,
        filter: which.filter.clone(),
        sort: which.sort.clone(),
        operation: which.operation.clone(),
        physical_object: which.physical_object.clone(),
        cursor: None,
        limit: Some(PAGE_ITEMS_MAX),
    };
    let after = |cursor| SystemQuery { cursor, ..query.clone() };
    // An operation is a third party's and an object a twin system's: who asks for one asks for that kind.
    let twin_systems = which.kind != Some(Kind::ThirdParty) && which.operation.is_none();
    let third_parties = which.kind != Some(Kind::TwinSystem) && which.physical_object.is_none();
    // So does a filter with a field that only one kind has: the other kind refuses it.
    let mut found = Vec::new();
    let mut answered = false;
    if twin_systems {
        match all(async |cursor| client.search_twin_systems(&after(cursor)).await).await {
            Ok(systems) => {
                answered = true;
                found.extend(systems.into_iter().map(Listing::of_twin_system));
            }
            Err(error) if third_parties && is_invalid(&error) => {}
            Err(error) => return Err(error),
        }
    }
    if third_parties {
        match all(async |cursor| client.search_third_party_systems(&after(cursor)).await).await {
            Ok(systems) => found.extend(systems.into_iter().map(Listing::of_third_party)),
            Err(error) if answered && is_invalid(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn is_invalid(error: &ClientError) -> bool {
    error.kind() == Some(ProblemKind::InvalidQuery)
}

fn show_all(found: &[Listing], output: &mut Output) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json(found),
        Format::Table => output.table(&HEAD, found.iter().map(Listing::row)),
    }
}

async fn show(client: &Client, id: &SystemId, kind: Option<Kind>, output: &mut Output) -> Result<(), Failure> {
    let found = one(client, id, kind).await?.ok_or_else(|| not_found("system", id))?;
    match output.format() {
        Format::Json => output.json(&found),
        Format::Table => output.table(&[], found.details()),
    }
}

async fn needed(client: &Client, which: &One) -> Result<Listing, Failure> {
    one(client, &which.id, which.kind).await?.ok_or_else(|| not_found("system", &which.id))
}

async fn one(client: &Client, id: &SystemId, kind: Option<Kind>) -> Result<Option<Listing>, ClientError> {
    if kind != Some(Kind::ThirdParty) {
        match client.twin_system(id).await {
            Ok(listing) => return Ok(Some(Listing::of_twin_system(listing))),
            Err(error) if is_unknown(&error) => {}
            Err(error) => return Err(error),
        }
    }
    if kind != Some(Kind::TwinSystem) {
        match client.third_party_system(id).await {
            Ok(listing) => return Ok(Some(Listing::of_third_party(listing))),
            Err(error) if is_unknown(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn is_unknown(error: &ClientError) -> bool {
    Failure::Client(error.clone()).exit() == Exit::NotFound
}
