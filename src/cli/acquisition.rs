//! `twinway acquisition`: what a third-party system may know of twins (FGMV-29 8.2.5; 9.1 steps 15 to 19).

use std::{collections::BTreeSet, time::Duration};

use clap::{Args, Subcommand};
use twinway::{
    client::{Client, EventStream, RefusedTwin},
    outside::{EventsFrom, SystemKind, WatchQuery},
    protocol::{
        SubscriptionId, TwinId,
        message::{SubscriptionTerms, TwinSubscription},
        time::Timestamp,
        twin::TwinView,
    },
};

use super::{
    exit::Failure,
    output::{Format, Output},
    remote::all,
    watch,
};

#[derive(Debug, Subcommand)]
pub(crate) enum AcquisitionCommand {
    /// Asks once.
    Read(What),
    /// Subscribes: the system is told by events `twin.information` from now on.
    Subscribe {
        #[command(flatten)]
        what: What,
        /// Tell what the twins are whenever so many milliseconds have passed; otherwise when something has changed.
        #[arg(long, value_name = "MS", conflicts_with = "min_interval_ms")]
        period_ms: Option<u64>,
        /// On change: at least so many milliseconds between two deliveries.
        #[arg(long, value_name = "MS")]
        min_interval_ms: Option<u64>,
        /// How long it lasts, in milliseconds; otherwise a day.
        #[arg(long, value_name = "MS")]
        lifetime_ms: Option<u64>,
        /// Show what is told until Ctrl-C, and renew meanwhile. The subscription stays until its lifetime is over.
        #[arg(long)]
        follow: bool,
    },
    /// Lists the system's subscriptions.
    List,
    /// Shows one.
    Show {
        /// Its id.
        id: SubscriptionId,
    },
    /// Has one last longer. It never ends earlier than it would have.
    Renew {
        /// Its id.
        id: SubscriptionId,
        /// For how long from now on, in milliseconds; otherwise a day.
        #[arg(long, value_name = "MS")]
        lifetime_ms: Option<u64>,
    },
    /// Ends one.
    End {
        /// Its id.
        id: SubscriptionId,
    },
}

/// Which twins, and what of them.
#[derive(Debug, Args)]
pub(crate) struct What {
    /// The ids of the twins.
    #[arg(required = true)]
    twins: Vec<TwinId>,
    /// Only this property; may be given again.
    #[arg(long = "property", value_name = "NAME")]
    properties: Vec<String>,
    /// All of the twins or none; otherwise those that may not be read are named.
    #[arg(long)]
    strict: bool,
}

impl What {
    fn properties(&self) -> Option<BTreeSet<String>> {
        (!self.properties.is_empty()).then(|| self.properties.iter().cloned().collect())
    }
}

pub(crate) async fn run(client: Client, command: AcquisitionCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        AcquisitionCommand::Read(what) => read(&client, &what, output).await,
        AcquisitionCommand::Subscribe { what, period_ms, min_interval_ms, lifetime_ms, follow } => {
            let (properties, strict) = (what.properties(), what.strict);
            let twins = what.twins;
            let terms = SubscriptionTerms { twins, properties, period_ms, min_interval_ms, lifetime_ms, strict };
            // Listening first: the first delivery follows the answer at once.
            let events = if follow { Some(listen(&client).await?) } else { None };
            let subscribed = client.subscribe_twin_information(&terms).await?;
            refused(&subscribed.refused, output);
            show(std::slice::from_ref(&subscribed.subscription), output)?;
            match events {
                Some(events) => tell(&client, subscribed.subscription, lifetime_ms, events, output).await,
                None => Ok(()),
            }
        }
        AcquisitionCommand::List => {
            let client = &client;
            let page = |cursor: Option<String>| async move { client.twin_subscriptions(cursor.as_deref(), None).await };
            let subscriptions = all(page).await?;
            match output.format() {
                Format::Json => output.json(&subscriptions),
                Format::Table => show(&subscriptions, output),
            }
        }
        AcquisitionCommand::Show { id } => show_one(&client.twin_subscription(&id).await?, output),
        AcquisitionCommand::Renew { id, lifetime_ms } => {
            show_one(&client.renew_twin_subscription(&id, lifetime_ms).await?, output)
        }
        AcquisitionCommand::End { id } => Ok(client.end_twin_subscription(&id).await?),
    }
}

async fn read(client: &Client, what: &What, output: &mut Output) -> Result<(), Failure> {
    let properties = what.properties();
    let twins = if what.strict {
        client.acquire_twin_information(&what.twins, properties.as_ref()).await?
    } else {
        let acquired = client.acquire_some_twin_information(&what.twins, properties.as_ref()).await?;
        refused(&acquired.refused, output);
        acquired.twins
    };
    if output.format() == Format::Json {
        return output.json(&twins);
    }
    let rows = twins.iter().flat_map(|twin: &TwinView| {
        twin.properties.iter().map(|(name, value)| {
            vec![twin.id.to_string(), name.clone(), value.value.as_str().to_owned(), value.at.to_string()]
        })
    });
    output.table(&["TWIN", "PROPERTY", "VALUE", "SINCE"], rows)
}

/// Results are data only: what is not there is told beside them.
fn refused(refused: &[RefusedTwin], output: &Output) {
    for RefusedTwin { twin, problem } in refused {
        output.note(&format!("{twin}: {}", problem.detail));
    }
}

fn show_one(subscription: &TwinSubscription, output: &mut Output) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json(subscription),
        Format::Table => show(std::slice::from_ref(subscription), output),
    }
}

fn show(subscriptions: &[TwinSubscription], output: &mut Output) -> Result<(), Failure> {
    if let (Format::Json, [one]) = (output.format(), subscriptions) {
        return output.json_line(one);
    }
    let row = |found: &TwinSubscription| {
        let when = match found.period_ms {
            Some(period_ms) => format!("every {period_ms} ms"),
            None => format!("on change, {} ms apart", found.min_interval_ms),
        };
        let properties = found.properties.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        let twins = found.twins.iter().map(TwinId::as_str).collect::<Vec<_>>().join(" ");
        vec![found.id.to_string(), when, found.expires_at.to_string(), properties, twins]
    };
    output.table(&["ID", "WHEN", "EXPIRES", "PROPERTIES", "TWINS"], subscriptions.iter().map(row))
}

async fn listen(client: &Client) -> Result<EventStream, Failure> {
    let wanted = WatchQuery { kind: Some("twin.information".to_owned()), ..WatchQuery::default() };
    Ok(client.watch(SystemKind::ThirdParty, EventsFrom::Now, &wanted).await?)
}

/// Shows what is told, and renews when a third of what was left is over.
async fn tell(
    client: &Client,
    mut subscription: TwinSubscription,
    lifetime_ms: Option<u64>,
    events: EventStream,
    output: &mut Output,
) -> Result<(), Failure> {
    let only = [subscription.id.as_str().to_owned()];
    let told = watch::tell(events, &only, output);
    tokio::pin!(told);
    let mut since = subscription.created_at;
    loop {
        let third = third(since, subscription.expires_at);
        tokio::select! {
            done = &mut told => return done,
            () = tokio::time::sleep(third) => {
                since = since.plus_ms(third.as_millis() as u64);
                subscription = client.renew_twin_subscription(&subscription.id, lifetime_ms).await?;
            }
        }
    }
}

/// A third of the time between two moments of the daemon's clock: ours may be another.
fn third(since: Timestamp, expires_at: Timestamp) -> Duration {
    Duration::from_millis(expires_at.unix_ms().saturating_sub(since.unix_ms()) / 3)
}
