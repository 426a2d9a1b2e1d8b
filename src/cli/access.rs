//! `twinway access`: who may do what with a twin, and what it can be asked at all (FGMV-29 8.3.5).

use std::path::PathBuf;

use clap::{Args, Subcommand};
use twinway::{
    client::{Client, ClientError, TwinRules},
    protocol::{
        JsonDoc, PermissionId, ProblemKind, SystemId, TwinId, UserId,
        access::{Right, TwinPermission},
        lease::Synchronization,
        message::PermissionGrant,
        registry::PAGE_ITEMS_MAX,
        time::Timestamp,
    },
};

use super::{
    exit::Failure,
    history::moment,
    input::document,
    output::{Format, Output},
    remote::all,
};

/// What such a document looks like.
const PRIORITIES: &str = r#"For example, so that Ana comes before the staff, and all others after them (all fields: `Synchronization` in /openapi.json):

  {"priorities": [{"user": "ana", "priority": 20}, {"role": "staff", "priority": 10}], "graceMs": 2000}

Priorities, from 0 to 255, count at once; the rest counts for what is asked for from then on."#;

#[derive(Debug, Subcommand)]
pub(crate) enum AccessCommand {
    /// Shows what a twin can be asked at all, who may read it, and who is synchronized with its object before whom.
    Show {
        /// The twin's id.
        twin: TwinId,
    },
    /// Says anew what a twin can be asked, by a JSON merge patch (RFC 7396): `changeable`, `invocable`, `access`, `periodMs`.
    Update {
        /// The twin's id.
        twin: TwinId,
        /// The patch, in a file, or on standard input as `-`.
        patch: PathBuf,
    },
    /// Says anew who is synchronized with a twin's object before whom: by user, role and world (FGMV-28 REQ-DT-08).
    #[command(after_help = PRIORITIES)]
    Priorities {
        /// The twin's id.
        twin: TwinId,
        /// The rules and terms as a JSON document, in a file, or on standard input as `-`.
        rules: PathBuf,
    },
    /// Lists who may do what with a twin.
    List {
        /// The twin's id.
        twin: TwinId,
    },
    /// Lists what a user of the metaverse system may do with twins.
    Of {
        /// The user.
        user: UserId,
    },
    /// Permits a user something, in place of what was permitted before.
    Grant(Grant),
    /// Takes a permission back; a sync lease that is held under it is revoked.
    Revoke {
        /// The twin's id.
        twin: TwinId,
        /// The permission's id.
        permission: PermissionId,
    },
}

/// A permission to give.
#[derive(Debug, Args)]
pub(crate) struct Grant {
    /// The twin's id.
    twin: TwinId,
    /// The metaverse system through which the user acts.
    #[arg(long, value_name = "SYSTEM")]
    metaverse: SystemId,
    /// The user.
    #[arg(long)]
    user: UserId,
    /// What the user may do: `read`, `change`, `message` or `stop`; may be given again.
    #[arg(long = "right", value_name = "RIGHT", required = true, value_parser = right)]
    rights: Vec<Right>,
    /// What the user is to the twin, for its rules of priority.
    #[arg(long)]
    role: Option<String>,
    /// When it ends, such as 2026-01-31T12:00:00Z; otherwise when it is revoked.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

fn right(text: &str) -> Result<Right, String> {
    let known = [Right::Read, Right::Change, Right::Message, Right::Stop];
    let found = known.into_iter().find(|right| word(*right) == text);
    found.ok_or_else(|| "`read`, `change`, `message` or `stop`".to_owned())
}

const fn word(right: Right) -> &'static str {
    match right {
        Right::Read => "read",
        Right::Change => "change",
        Right::Message => "message",
        Right::Stop => "stop",
    }
}

pub(crate) async fn run(client: Client, command: AccessCommand, output: &mut Output) -> Result<(), Failure> {
    ask(&client, command, output).await.map_err(of_its_own_system)
}

/// A system has a say in its own twins only, and an operator speaks for none unless it is named.
fn of_its_own_system(failure: Failure) -> Failure {
    match failure {
        Failure::Client(ClientError::Problem(mut problem)) if problem.kind() == Some(ProblemKind::TwinUnknown) => {
            problem.detail.push_str("; `--as SYSTEM` names the one that lists it");
            Failure::Client(ClientError::Problem(problem))
        }
        other => other,
    }
}

async fn ask(client: &Client, command: AccessCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        AccessCommand::Show { twin } => show(&client.characteristics(&twin).await?, output),
        AccessCommand::Update { twin, patch } => {
            let patch: JsonDoc = document(&patch)?;
            show(&client.change_characteristics(&twin, &patch).await?, output)
        }
        AccessCommand::Priorities { twin, rules } => {
            let rules: Synchronization = document(&rules)?;
            client.set_synchronization(&twin, &rules).await?;
            show(&client.characteristics(&twin).await?, output)
        }
        AccessCommand::List { twin } => {
            let twin = &twin;
            let page = |cursor: Option<String>| async move {
                client.permissions_on(twin, cursor.as_deref(), Some(PAGE_ITEMS_MAX)).await
            };
            list(&all(page).await?, output)
        }
        AccessCommand::Of { user } => {
            let user = &user;
            let page = |cursor: Option<String>| async move {
                client.permissions(user, cursor.as_deref(), Some(PAGE_ITEMS_MAX)).await
            };
            list(&all(page).await?, output)
        }
        AccessCommand::Grant(Grant { twin, metaverse, user, rights, role, until }) => {
            let (rights, role) = (rights.into_iter().collect(), role.map(Into::into));
            let grant = PermissionGrant { metaverse, user, rights, expires_at: until, role };
            let given = client.grant_permission(&twin, &grant).await?;
            match output.format() {
                Format::Json => output.json(&given),
                Format::Table => list(&[given], output),
            }
        }
        AccessCommand::Revoke { twin, permission } => Ok(client.revoke_permission(&twin, &permission).await?),
    }
}

fn list(permissions: &[TwinPermission], output: &mut Output) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return output.json(permissions);
    }
    let row = |found: &TwinPermission| {
        let rights = found.rights.iter().map(|right| word(*right)).collect::<Vec<_>>().join(" ");
        let until = found.expires_at.map(|at| at.to_string()).unwrap_or_default();
        vec![
            found.id.to_string(),
            found.twin.to_string(),
            found.metaverse.to_string(),
            found.user.to_string(),
            rights,
            until,
        ]
    };
    output.table(&["ID", "TWIN", "METAVERSE", "USER", "RIGHTS", "UNTIL"], permissions.iter().map(row))
}

fn show(rules: &TwinRules, output: &mut Output) -> Result<(), Failure> {
    if output.format() == Format::Json {
        return output.json(rules);
    }
    let names = |named: &Option<std::collections::BTreeSet<String>>| match named {
        None => "all that its description has".to_owned(),
        Some(named) => named.iter().map(String::as_str).collect::<Vec<_>>().join(" "),
    };
    let TwinRules { characteristics: said, synchronization, unjudged } = rules;
    let access = said.access.iter().map(|(system, rights)| {
        let rights = rights.iter().map(|right| word(*right)).collect::<Vec<_>>().join(" ");
        vec!["access".to_owned(), format!("{system}: {rights}")]
    });
    let period = said.period_ms.map_or_else(|| "on request".to_owned(), |ms| format!("every {ms} ms"));
    let rows = [("changeable", names(&said.changeable)), ("invocable", names(&said.invocable)), ("period", period)];
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).chain(access);
    let text = synchronization.as_ref().map(serde_json::to_string).transpose();
    let text = text.map_err(|error| Failure::other(error.to_string()))?;
    let synchronization = text.map(|text| vec!["synchronization".to_owned(), text]);
    let unjudged = unjudged.iter().map(|one| vec!["unjudged".to_owned(), format!("{}: {}", one.pointer, one.why)]);
    output.table(&[], rows.chain(synchronization).chain(unjudged))
}
