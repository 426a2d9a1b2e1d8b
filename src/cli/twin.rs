//! `twinway twin`: the digital twins.

use clap::{Args, Subcommand};
use twinway::{
    actors::discovery::TWIN_FILTER_HELP,
    client::{Client, ClientError},
    protocol::{
        JsonDoc, ProblemKind, SystemId, TwinId, UserId,
        access::Right,
        lease::Token,
        message::{ChangeTerms, PropertyValues, WhatToDo},
        registry::{PAGE_ITEMS_MAX, TwinQuery},
        twin::{TwinClass, TwinListing, TwinView},
    },
};

use super::{
    exit::Failure,
    history::{self, HistoryArgs},
    lease::permitted,
    output::{Format, Output},
    remote::all,
    watch,
};

#[derive(Debug, Subcommand)]
pub(crate) enum TwinCommand {
    /// Lists the twins (FGMV-29 9.2 step 6).
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Shows one, with the values of its properties.
    Show {
        /// Its id.
        id: TwinId,
        /// Only its Thing Description, byte for byte.
        #[arg(long)]
        description: bool,
        /// No value may be older, in milliseconds: the twin's system is asked, if need be.
        #[arg(long, conflicts_with = "description")]
        max_age_ms: Option<u64>,
        /// For this user, where the twin's system is asked.
        #[arg(long, env = "TWINWAY_USER", default_value = "operator")]
        user: UserId,
    },
    /// Searches for twins by words of id, title or description.
    Search {
        /// The beginnings of words, whatever the case: all of them.
        text: String,
        #[command(flatten)]
        which: Which,
    },
    /// Shows what happens to twins as it happens, until Ctrl-C. It selects them (FGMV-29 9.2 step 6).
    Watch {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<TwinId>,
        #[command(flatten)]
        wanted: watch::WatchArgs,
    },
    /// Shows what a twin was (FGMV-29 8.3.4): between two moments, or at one.
    History(HistoryArgs),
    /// Asks that the object of a twin be changed (FGMV-29 9.2 steps 15 to 18), and for the permission, if it is missing.
    Set {
        /// The twin's id.
        id: TwinId,
        /// What shall be, as `name=value`; a value that is not JSON is text.
        #[arg(required = true, value_name = "NAME=VALUE")]
        values: Vec<String>,
        /// For this user.
        #[arg(long, env = "TWINWAY_USER", default_value = "operator")]
        user: UserId,
        /// Under the user's sync lease with this token; without one the change takes a lease for itself.
        #[arg(long, value_name = "TOKEN", env = "TWINWAY_LEASE_TOKEN")]
        lease: Option<Token>,
        /// The device must not act on it after so many milliseconds.
        #[arg(long, value_name = "MS")]
        deadline: Option<u32>,
        /// Only if the twin is still of this version.
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
    },
    /// Has the object of a twin carry an action out (FGMV-29 8.3.4), and asks for the permission, if it is missing.
    Action {
        /// The twin's id.
        id: TwinId,
        /// The action's name.
        name: String,
        /// Its input, as JSON.
        #[arg(long, value_name = "JSON")]
        input: Option<String>,
        /// For this user.
        #[arg(long, env = "TWINWAY_USER", default_value = "operator")]
        user: UserId,
        /// Under the user's sync lease with this token; without one the action takes a lease for itself.
        #[arg(long, value_name = "TOKEN", env = "TWINWAY_LEASE_TOKEN")]
        lease: Option<Token>,
        /// The device must have ended it after so many milliseconds.
        #[arg(long, value_name = "MS")]
        deadline: Option<u32>,
    },
    /// Has the twin system asked now what a twin's values are (FGMV-28 REQ-DT-07).
    Refresh {
        /// The twin's id.
        id: TwinId,
        /// For this user.
        #[arg(long, env = "TWINWAY_USER", default_value = "operator")]
        user: UserId,
    },
}

/// Which twins.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Only those that this twin system lists.
    #[arg(long)]
    system: Option<SystemId>,
    /// Only those that stand for this object.
    #[arg(long, value_name = "URI")]
    physical_object: Option<String>,
    /// Only those for which this CEL expression is true: `"brightness" in twin.properties`.
    #[arg(long, value_name = "EXPRESSION", long_help = TWIN_FILTER_HELP)]
    filter: Option<String>,
    /// In the order of these fields, with `-` before those that go down: `twin.system,-twin.title`.
    #[arg(long, value_name = "FIELDS", allow_hyphen_values = true)]
    sort: Option<String>,
}

pub(crate) async fn run(client: Client, command: TwinCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        TwinCommand::List { which } => show_all(&find(&client, which, None).await?, output),
        TwinCommand::Search { text, which } => show_all(&find(&client, which, Some(text)).await?, output),
        TwinCommand::Show { id, description: true, .. } => {
            let description = client.twin_description(&id).await?;
            output.bytes(description.as_str().as_bytes())?;
            // A terminal's next prompt begins a line; a program reads the same document.
            output.line("")
        }
        TwinCommand::Show { id, max_age_ms: None, .. } => show(&client.twin(&id).await?, output),
        TwinCommand::Show { id, max_age_ms, user, .. } => {
            let read = || client.twin_not_older(&id, &user, max_age_ms);
            let reading = permitted(&client, &user, std::slice::from_ref(&id), Right::Read, read).await?;
            show(&reading.view, output)
        }
        TwinCommand::Watch { ids, wanted } => watch::twins(&client, &ids, wanted, output).await,
        TwinCommand::History(args) => history::run(&client, args, output).await,
        TwinCommand::Set { id, values, user, lease, deadline, if_version } => {
            let terms = ChangeTerms { expects: if_version, within_ms: deadline };
            set(&client, &id, &values, &user, (lease, terms), output).await
        }
        TwinCommand::Action { id, name, input, user, lease, deadline } => {
            let input = input.map(JsonDoc::parse).transpose();
            let input = input.map_err(|error| Failure::usage(format!("--input: {error}")))?;
            let terms = ChangeTerms { expects: None, within_ms: deadline };
            act(&client, &id, WhatToDo { action: name, input }, &user, (lease, terms), output).await
        }
        TwinCommand::Refresh { id, user } => {
            let refresh = || client.refresh_twin(&user, &id);
            permitted(&client, &user, std::slice::from_ref(&id), Right::Read, refresh).await?;
            show(&client.twin(&id).await?, output)
        }
    }
}

async fn find(client: &Client, which: Which, text: Option<String>) -> Result<Vec<TwinListing>, ClientError> {
    let Which { system, physical_object, filter, sort } = which;
    let limit = Some(PAGE_ITEMS_MAX);
    let query = TwinQuery { system, physical_object, text, filter, sort, cursor: None, limit };
    all(async |cursor| client.search_twins(&TwinQuery { cursor, ..query.clone() }).await).await
}

fn class(class: TwinClass) -> &'static str {
    match class {
        TwinClass::Object => "object",
        TwinClass::Avatar => "avatar",
    }
}

fn show_all(found: &[TwinListing], output: &mut Output) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return output.json(found);
    }
    let row = |twin: &TwinListing| {
        let object = twin.physical_object.as_ref().map(ToString::to_string).unwrap_or_default();
        let class = class(twin.class).to_owned();
        vec![twin.id.to_string(), twin.system.to_string(), twin.title.clone(), class, object]
    };
    output.table(&["ID", "SYSTEM", "TITLE", "CLASS", "OBJECT"], found.iter().map(row))
}

fn show(twin: &TwinView, output: &mut Output) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return output.json(twin);
    }
    let object = twin.physical_object.as_ref().map(ToString::to_string).unwrap_or_default();
    let about = [
        ("id", twin.id.to_string()),
        ("system", twin.system.to_string()),
        ("class", class(twin.class).to_owned()),
        ("object", object),
        ("version", twin.version.to_string()),
    ];
    output.table(&[], about.into_iter().map(|(name, value)| vec![name.to_owned(), value]))?;
    output.line("")?;
    let row = |(name, value): (&String, &twinway::protocol::twin::PropertyValue)| {
        vec![name.clone(), value.value.as_str().to_owned(), value.version.to_string(), value.at.to_string()]
    };
    output.table(&["PROPERTY", "VALUE", "VERSION", "SINCE"], twin.properties.iter().map(row))
}

async fn set(
    client: &Client,
    id: &TwinId,
    values: &[String],
    user: &UserId,
    (lease, terms): (Option<Token>, ChangeTerms),
    output: &mut Output,
) -> Result<(), Failure> {
    let values = read_values(values)?;
    let change = || client.change_twin_on(user, id, &values, lease, terms);
    let changed = permitted(client, user, std::slice::from_ref(id), Right::Change, change).await?;
    if output.format() == Format::Json {
        return output.json(&changed);
    }
    let row = |(name, value): (&String, &JsonDoc)| vec![name.clone(), value.as_str().to_owned()];
    output.table(&["PROPERTY", "VALUE"], changed.iter().map(row))
}

async fn act(
    client: &Client,
    id: &TwinId,
    what: WhatToDo,
    user: &UserId,
    (lease, terms): (Option<Token>, ChangeTerms),
    output: &mut Output,
) -> Result<(), Failure> {
    let invoke = || client.invoke_action(user, id, &what, lease, terms);
    let invocation = permitted(client, user, std::slice::from_ref(id), Right::Change, invoke).await?;
    if output.format() == Format::Json {
        return output.json(&invocation);
    }
    output.line(&format!("{}  {} is on its way; `twin watch {id}` tells how it ends", invocation.id, invocation.action))
}

/// Whose permission is missing: the user is one that nobody named, as often as not.
pub(super) fn for_user(error: ClientError, user: &UserId) -> ClientError {
    match error {
        ClientError::Problem(mut problem) if problem.kind() == Some(ProblemKind::PermissionMissing) => {
            problem.detail = format!("{} for the user `{user}` (--user)", problem.detail);
            ClientError::Problem(problem)
        }
        other => other,
    }
}

fn read_values(texts: &[String]) -> Result<PropertyValues, Failure> {
    let mut values = PropertyValues::new();
    for text in texts {
        let (name, value) =
            text.split_once('=').ok_or_else(|| Failure::usage(format!("`{text}` is not `NAME=VALUE`")))?;
        let value = JsonDoc::parse(value).or_else(|_| JsonDoc::from_value(value));
        let value = value.map_err(|error| Failure::usage(format!("`{text}`: {error}")))?;
        if values.insert(name.to_owned(), value).is_some() {
            return Err(Failure::usage(format!("`{name}` is given twice")));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::read_values;
    use crate::cli::exit::Exit;

    #[test]
    fn a_value_is_json_where_it_can_be_and_text_where_not() {
        let texts = ["on=true", "joints=[0, 1.50]", "mode=eco", "note=a=b", "text=\"7\""].map(str::to_owned);
        let values = read_values(&texts).expect("they are understood");
        let written: Vec<_> = values.iter().map(|(name, value)| format!("{name} {}", value.as_str())).collect();
        assert_eq!(written, ["joints [0, 1.50]", "mode \"eco\"", "note \"a=b\"", "on true", "text \"7\""]);
    }

    #[test]
    fn a_value_without_a_name_or_given_twice_is_a_mistake_of_usage() {
        for texts in [vec!["on"], vec!["on=1", "on=2"]] {
            let texts: Vec<_> = texts.into_iter().map(str::to_owned).collect();
            assert_eq!(read_values(&texts).expect_err("it is refused").exit(), Exit::Usage);
        }
    }
}
