//! Reading a trace again: line by line, so that a trace of any length is read in little memory.

use std::{borrow::Cow, io::BufRead, str};

use serde::Deserialize;
use twinway_protocol::{EventId, flow::Traced, time::Timestamp};

use super::{FORMAT, VERSION};

/// Bytes that a line of a trace may have.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// What a line of a trace says.
#[derive(Clone, Copy, Debug)]
pub enum Read<'l> {
    /// An event; its place is the line.
    Event(Traced<'l>),
    /// So many events are missing from here on.
    Lost(u64),
}

/// What a line of a trace says, with all that it has.
#[derive(Clone, Copy, Debug)]
pub enum Recorded<'l> {
    /// The first line; when the recording began, if it says so.
    Begun(Option<Timestamp>),
    /// An event.
    Event {
        /// As flows judge it; its place is the line.
        traced: Traced<'l>,
        /// Who sent it, such as `Dts/0`.
        from: &'l str,
        /// Who handled it.
        to: &'l str,
        /// Nanoseconds since the recording began, about; 0 where the line has none.
        at_ns: u64,
    },
    /// So many events are missing from here on.
    Lost(u64),
}

/// Why a trace cannot be read, and where.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct TraceError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

#[derive(Deserialize)]
struct Header<'l> {
    #[serde(borrow)]
    format: Cow<'l, str>,
    version: u32,
    #[serde(borrow)]
    begun: Option<Cow<'l, str>>,
}

#[derive(Deserialize)]
struct Line<'l> {
    lost: Option<u64>,
    #[serde(borrow)]
    event: Option<Cow<'l, str>>,
    #[serde(borrow)]
    cause: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    joined: Vec<Cow<'l, str>>,
    #[serde(borrow)]
    from: Option<Cow<'l, str>>,
    #[serde(borrow)]
    to: Option<Cow<'l, str>>,
    #[serde(borrow)]
    flow: Option<Cow<'l, str>>,
    #[serde(borrow)]
    step: Option<Cow<'l, str>>,
    #[serde(borrow)]
    message: Option<Cow<'l, str>>,
    #[serde(rename = "atNs")]
    at_ns: Option<u64>,
}

/// Reads a whole trace and hands over what each line says.
///
/// # Errors
/// The first line that cannot be understood, and why: it is not UTF-8, no JSON, too long, no event, or cut off.
pub fn read(input: impl BufRead, mut take: impl FnMut(Read<'_>)) -> Result<(), TraceError> {
    read_recorded(input, |recorded| {
        match recorded {
            Recorded::Begun(_) => {}
            Recorded::Event { traced, .. } => take(Read::Event(traced)),
            Recorded::Lost(events) => take(Read::Lost(events)),
        }
        Ok(())
    })
}

/// As [`read()`], with all that the lines have; whoever takes it can end the reading.
///
/// # Errors
/// Those of [`read()`], and what `take` fails with.
pub fn read_recorded<E: From<TraceError>>(
    mut input: impl BufRead,
    mut take: impl FnMut(Recorded<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (mut buffer, mut joined) = (Vec::new(), Vec::new());
    let mut line = 0_u64;
    loop {
        line += 1;
        let wrong = |why: String| TraceError { line, why };
        let whole = next_line(&mut input, &mut buffer).map_err(wrong)?;
        if buffer.is_empty() && !whole {
            // Even an empty run has its first line.
            return if line == 1 { Err(wrong("it is empty, and no trace".to_owned()).into()) } else { Ok(()) };
        }
        let cut_off = |why: String| if whole { why } else { format!("the trace ends within this line ({why})") };
        let text = str::from_utf8(&buffer)
            .map_err(|error| wrong(cut_off(format!("byte {} is not UTF-8", error.valid_up_to() + 1))))?;
        if line == 1 {
            let begun = header(text).map_err(|why| wrong(cut_off(why)))?;
            take(Recorded::Begun(begun))?;
        } else {
            let said: Line<'_> =
                serde_json::from_str(text).map_err(|error| wrong(cut_off(format!("it is no event: {error}"))))?;
            take(event(&said, line, &mut joined).map_err(|why| wrong(cut_off(why)))?)?;
        }
    }
}

/// Reads a line without its end; tells whether it had one.
fn next_line(input: &mut impl BufRead, buffer: &mut Vec<u8>) -> Result<bool, String> {
    buffer.clear();
    // One byte more than the limit shows that the limit is passed.
    let mut limited = std::io::Read::take(&mut *input, LINE_BYTES_MAX as u64 + 1);
    limited.read_until(b'\n', buffer).map_err(|error| format!("it cannot be read: {error}"))?;
    if buffer.last() == Some(&b'\n') {
        buffer.pop();
        return Ok(true);
    }
    if buffer.len() > LINE_BYTES_MAX {
        return Err(format!("it is longer than {LINE_BYTES_MAX} bytes"));
    }
    Ok(false)
}

fn header(text: &str) -> Result<Option<Timestamp>, String> {
    let expected = format!("the first line of a trace is {{\"format\":\"{FORMAT}\",\"version\":{VERSION}}}");
    let header: Header<'_> = serde_json::from_str(text).map_err(|error| format!("{expected}: {error}"))?;
    if header.format != FORMAT {
        return Err(format!("{expected}, and this is `{}`", shortened(&header.format)));
    }
    if header.version != VERSION {
        return Err(format!("the trace has version {}, and this program reads version {VERSION}", header.version));
    }
    let Some(begun) = header.begun else { return Ok(None) };
    let moment = Timestamp::parse(&begun);
    moment.map(Some).ok_or_else(|| format!("`{}`, when it was begun, is no RFC 3339 moment", shortened(&begun)))
}

fn event<'l>(line: &'l Line<'l>, place: u64, joined: &'l mut Vec<EventId>) -> Result<Recorded<'l>, String> {
    if let Some(lost) = line.lost {
        if line.event.is_some() {
            return Err("it is either an event or says how many were lost".to_owned());
        }
        return Ok(Recorded::Lost(lost));
    }
    joined.clear();
    for parent in &line.joined {
        joined.push(id(parent)?);
    }
    let needed = |name: &str| format!("it is no event: `{name}` is missing");
    let step = match (&line.flow, &line.step) {
        (Some(flow), Some(step)) => Some((flow.as_ref(), step.as_ref())),
        (None, None) => None,
        _ => return Err("it is no event: `flow` and `step` go together".to_owned()),
    };
    let event = id(line.event.as_deref().ok_or_else(|| needed("event"))?)?;
    let from = line.from.as_deref().ok_or_else(|| needed("from"))?;
    let to = line.to.as_deref().ok_or_else(|| needed("to"))?;
    let traced = Traced {
        event,
        cause: line.cause.as_deref().map_or(Ok(EventId::NONE), id)?,
        joined,
        from: kind(from),
        to: kind(to),
        step,
        name: line.message.as_deref().ok_or_else(|| needed("message"))?,
        place,
    };
    Ok(Recorded::Event { traced, from, to, at_ns: line.at_ns.unwrap_or(0) })
}

/// `3.17`: the actor, and the number of the event there.
fn id(text: &str) -> Result<EventId, String> {
    let read = |text: &str| {
        let (actor, count) = text.split_once('.')?;
        let (actor, count): (u32, u64) = (actor.parse().ok()?, count.parse().ok()?);
        // What does not fit would be another event.
        let fits = actor < 1 << 24 && count < 1 << 40;
        Some(EventId::new(actor, count)).filter(|event| fits && *event != EventId::NONE)
    };
    read(text).ok_or_else(|| format!("`{}` is no event's id", shortened(text)))
}

/// `Dts/0` is of the kind `Dts`.
fn kind(entity: &str) -> &str {
    entity.split_once('/').map_or(entity, |(kind, _)| kind)
}

fn shortened(text: &str) -> String {
    text.chars().take(40).filter(|c| !c.is_control()).collect()
}
