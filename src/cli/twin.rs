//! `twinway twin`: the digital twins.

use clap::Subcommand;
use twinway::{
    client::{Client, ClientError},
    protocol::{
        JsonDoc, ProblemKind, SystemId, TwinId, UserId,
        access::Right,
        lease::Token,
        message::{ChangeTerms, PropertyValues, WhatToDo},
        registry::PAGE_ITEMS_MAX,
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
    /// Lists the twins.
    List {
        /// Only those of this twin system.
        #[arg(long)]
        system: Option<SystemId>,
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
    /// Lists the twins whose id, title, system or object contains a text.
    Search {
        /// The text, whatever the case.
        text: String,
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

pub(crate) async fn run(client: Client, command: TwinCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        TwinCommand::List { system } => show_all(&list(&client, system.as_ref()).await?, output),
        TwinCommand::Search { text } => {
            let mut found = list(&client, None).await?;
            found.retain(|twin| matches(twin, &text));
            show_all(&found, output)
        }
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

async fn list(client: &Client, system: Option<&SystemId>) -> Result<Vec<TwinListing>, ClientError> {
    all(async |cursor: Option<String>| client.list_twins(system, cursor.as_deref(), Some(PAGE_ITEMS_MAX)).await).await
}

fn matches(twin: &TwinListing, text: &str) -> bool {
    let text = text.to_lowercase();
    let object = twin.physical_object.as_ref().map_or("", |object| object.as_str());
    [twin.id.as_str(), &twin.title, twin.system.as_str(), object].iter().any(|it| it.to_lowercase().contains(&text))
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
