//! What a third-party system may register (FGMV-29 8.2.1), with the place of every mistake.

use std::collections::BTreeSet;

use twinway_protocol::{
    Problem, ProblemKind,
    registry::{Api, Reach, ServiceCharge, ServiceLevel, ThirdPartyDescription},
    spatial::{PLACE_PROPERTY, ServicePlace},
};

use crate::sif::mapping;

/// The longest type, title, currency, unit or operation, in bytes.
pub const LABEL_BYTES_MAX: usize = 512;
/// The longest description or webhook address, in bytes.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// How many operations one system may register.
pub const APIS_MAX: usize = 1_000;
/// How many properties one system may register.
pub const PROPERTIES_MAX: usize = 1_000;
/// The largest property of a system, in bytes.
pub const PROPERTY_BYTES_MAX: usize = 64 * 1024;

fn refuse(pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::InvalidDocument, detail).at(pointer)
}

fn at_most(pointer: &str, length: usize, limit: usize, unit: &str) -> Result<(), Problem> {
    if length > limit { Err(refuse(pointer, format!("at most {limit} {unit} are allowed here"))) } else { Ok(()) }
}

fn label(pointer: &str, text: &str) -> Result<(), Problem> {
    if text.trim().is_empty() {
        return Err(refuse(pointer, "text is expected here"));
    }
    at_most(pointer, text.len(), LABEL_BYTES_MAX, "bytes")
}

fn text(pointer: &str, text: Option<&str>) -> Result<(), Problem> {
    at_most(pointer, text.map_or(0, str::len), TEXT_BYTES_MAX, "bytes")
}

/// A number that is one (not infinite, not NaN) and not below zero.
fn amount(pointer: &str, number: f64) -> Result<(), Problem> {
    if number.is_finite() && number >= 0.0 { Ok(()) } else { Err(refuse(pointer, "a number from 0 is expected here")) }
}

/// RFC 6901: `~` and `/` are escaped.
fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn charge(charge: &ServiceCharge) -> Result<(), Problem> {
    amount("/serviceCharge/amount", charge.amount)?;
    label("/serviceCharge/currency", &charge.currency)?;
    charge.per.as_deref().map_or(Ok(()), |per| label("/serviceCharge/per", per))
}

pub(crate) fn level(level: &ServiceLevel) -> Result<(), Problem> {
    // A NaN is in no range.
    if level.availability.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
        return Err(refuse("/serviceLevel/availability", "a share between 0 and 1 is expected here"));
    }
    level.p99_ms.map_or(Ok(()), |ms| amount("/serviceLevel/p99Ms", ms))?;
    text("/serviceLevel/description", level.description.as_deref())
}

fn apis(apis: &[Api]) -> Result<(), Problem> {
    at_most("/apis", apis.len(), APIS_MAX, "operations")?;
    let mut operations = BTreeSet::new();
    for (index, api) in apis.iter().enumerate() {
        let pointer = format!("/apis/{index}/operation");
        label(&pointer, &api.operation)?;
        if !operations.insert(&api.operation) {
            return Err(refuse(pointer, format!("`{}` is listed before", api.operation)));
        }
        text(&format!("/apis/{index}/description"), api.description.as_deref())?;
        if let Some(mapping) = &api.mapping {
            mapping::check(mapping, &format!("/apis/{index}/mapping"), true)?;
        }
    }
    Ok(())
}

/// Checks all that a registration collects.
///
/// # Errors
/// [`ProblemKind::InvalidDocument`] at the first place that is not acceptable.
pub(super) fn check(description: &ThirdPartyDescription) -> Result<(), Problem> {
    label("/type", &description.system_type)?;
    label("/title", &description.title)?;
    text("/description", Some(&description.description))?;
    at_most("/properties", description.properties.len(), PROPERTIES_MAX, "properties")?;
    for (name, value) in &description.properties {
        let pointer = format!("/properties/{}", token(name));
        label(&pointer, name)?;
        at_most(&pointer, value.as_str().len(), PROPERTY_BYTES_MAX, "bytes")?;
    }
    // FGMV-28 7.3.3: where it offers its services.
    ServicePlace::read(description.properties.get(PLACE_PROPERTY)).map_err(|problem| {
        let at = format!("/properties/{PLACE_PROPERTY}{}", problem.pointer.as_deref().unwrap_or_default());
        problem.at(at)
    })?;
    description.service_charge.as_ref().map_or(Ok(()), charge)?;
    description.service_level.as_ref().map_or(Ok(()), level)?;
    apis(&description.apis)?;
    match &description.reach {
        Reach::Session => Ok(()),
        Reach::Webhook(url) if url.starts_with("http://") || url.starts_with("https://") => {
            text("/reach/webhook", Some(url))
        }
        Reach::Webhook(_) => {
            Err(refuse("/reach/webhook", "an address that starts with http:// or https:// is expected"))
        }
    }
}
