//! `twinway twin history`: what a twin was.

use clap::Args;
use twinway::{
    client::Client,
    history::{HistoryItem, HistoryKind, HistoryQuery, Shortened},
    protocol::{TwinId, registry::PAGE_ITEMS_MAX, time::Timestamp},
};

use super::{
    exit::Failure,
    output::{Format, Output},
};

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The twin's id.
    id: TwinId,
    /// Only this property.
    #[arg(long)]
    property: Option<String>,
    /// Only this.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<HistoryKind>,
    /// What the properties were at this moment, such as 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with_all = ["kind", "from", "to", "limit"])]
    at: Option<Timestamp>,
    /// Not before this moment.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Not behind this moment.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
    /// At most this many, from the first on.
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

fn kind(text: &str) -> Result<HistoryKind, String> {
    HistoryKind::parse(text).ok_or_else(|| "`properties`, `actions` or `events`".to_owned())
}

pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "no RFC 3339 moment, such as 2026-01-31T12:00:00Z".to_owned())
}

pub(crate) async fn run(client: &Client, args: HistoryArgs, output: &mut Output) -> Result<(), Failure> {
    match args.at {
        Some(at) => show_moment(client, &args, at, output).await,
        None => show_all(client, args, output).await,
    }
}

async fn show_moment(client: &Client, args: &HistoryArgs, at: Timestamp, output: &mut Output) -> Result<(), Failure> {
    let moment = client.twin_at(&args.id, args.property.as_deref(), at).await?;
    if !moment.complete {
        incomplete(moment.kept_from, &moment.shortened, output);
    }
    if output.format() == Format::Json {
        return output.json(&moment);
    }
    let rows = moment.properties.iter().map(|(name, value)| {
        vec![name.clone(), value.value.as_str().to_owned(), value.version.to_string(), value.at.to_string()]
    });
    output.table(&["PROPERTY", "VALUE", "VERSION", "SINCE"], rows)
}

/// Page by page: a history can be longer than what one would keep.
async fn show_all(client: &Client, args: HistoryArgs, output: &mut Output) -> Result<(), Failure> {
    let HistoryArgs { id, kind, property, from, to, limit, .. } = args;
    let mut query = HistoryQuery { kind, property, from, to, ..HistoryQuery::default() };
    let mut left = limit;
    loop {
        query.limit = Some(left.unwrap_or(PAGE_ITEMS_MAX).min(PAGE_ITEMS_MAX));
        let is_first = query.cursor.is_none();
        let page = client.twin_history(&id, &query).await?;
        if is_first && !page.complete {
            incomplete(page.kept_from, &page.shortened, output);
        }
        for item in &page.items {
            match output.format() {
                Format::Json => output.json_line(item)?,
                Format::Table => output.line(&super::output::printable(&line(item)))?,
            }
        }
        left = left.map(|left| left.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX)));
        query.cursor = page.next;
        if query.cursor.is_none() || left == Some(0) {
            return Ok(());
        }
    }
}

/// Results are data only: what was let go is told beside them.
fn incomplete(kept_from: Timestamp, shortened: &[Shortened], output: &Output) {
    output.note(&format!("not all is known of the time before {kept_from}"));
    for Shortened { name, dropped, kept_from, .. } in shortened {
        output.note(&format!("{name}: the oldest {dropped} were let go; it is known since {kept_from}"));
    }
}

fn line(item: &HistoryItem) -> String {
    let HistoryItem { at, version, property, value, action, event, missed, gone } = item;
    let what = match (property, value, missed) {
        (Some(property), Some(value), _) => format!("{property} = {}", value.as_str()),
        (_, _, Some(missed)) if missed.events > 0 => format!("{} events were not kept", missed.events),
        (_, _, Some(missed)) => {
            let (first, last) = (missed.first_version, missed.last_version);
            format!("{} versions between {first} and {last} were not kept", missed.missed)
        }
        _ if *gone => "the twin was listed no more".to_owned(),
        _ => match (action, event) {
            (Some(invocation), _) => format!("action {} {}: {:?}", invocation.action, invocation.id, invocation.state),
            (_, Some(event)) => format!("event {} {}", event.name, event.data.as_str()),
            _ => String::new(),
        },
    };
    format!("{at}  {version:>6}  {what}")
}
