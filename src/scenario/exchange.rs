//! The calls of an act: a route of the daemon, used once or many times, and what can be spoken of afterwards.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;
use twinway_scenarios::scenario::{Call, Variables};

use crate::client::Client;

/// Makes the call as often as it says, each time with its number as `n`. What is given is of the last one, with all
/// `statuses` that came.
pub(super) async fn calls(client: &Client, call: &Call, variables: &Variables) -> Result<Variables, String> {
    let began = Instant::now();
    let (mut statuses, mut last) = (BTreeSet::new(), Variables::new());
    for n in 1..=call.times {
        tokio::time::sleep_until(began + Duration::from_millis(call.every_ms) * (n - 1)).await;
        let mut variables = variables.clone();
        variables.insert("n".to_owned(), json!(n));
        let status;
        (status, last) = once(client, call, &variables).await?;
        statuses.insert(status);
    }
    last.insert("statuses".to_owned(), json!(statuses));
    Ok(last)
}

async fn once(client: &Client, call: &Call, variables: &Variables) -> Result<(u16, Variables), String> {
    let path = call.path.text(variables)?;
    let mut headers = Vec::new();
    for (name, value) in &call.headers {
        headers.push((name.clone(), value.text(variables)?));
    }
    let body = match (&call.bytes, &call.body) {
        (Some(bytes), _) => Some(bytes.to_vec()),
        (None, Some(body)) => Some(body.fill(variables)?.to_string().into_bytes()),
        (None, None) => None,
    };
    let answer = client.exchange(&call.method, &path, &headers, body).await.map_err(|error| error.to_string())?;
    if let Some(wanted) = &call.download {
        same_bytes(answer.status, &answer.body, wanted)?;
    }
    let body = match serde_json::from_slice(&answer.body) {
        Ok(body) => body,
        Err(_) => Value::String(String::from_utf8_lossy(&answer.body).into_owned()),
    };
    let headers: Variables = answer.headers.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    let spoken = Variables::from_iter([
        ("status".to_owned(), json!(answer.status)),
        ("body".to_owned(), body),
        ("headers".to_owned(), Value::Object(headers)),
    ]);
    Ok((answer.status, spoken))
}

/// What was fetched is the file, byte for byte.
fn same_bytes(status: u16, got: &[u8], wanted: &[u8]) -> Result<(), String> {
    if got == wanted {
        return Ok(());
    }
    let same = got.iter().zip(wanted).take_while(|(got, wanted)| got == wanted).count();
    let (got, wanted) = (got.len(), wanted.len());
    Err(format!(
        "status {status}: of {got} bytes that came, and {wanted} that are wanted, the first {same} are the same"
    ))
}

#[cfg(test)]
mod tests {
    use super::same_bytes;

    #[test]
    fn bytes_are_compared_to_the_last_one() {
        assert_eq!(same_bytes(200, b"\x89PNG", b"\x89PNG"), Ok(()));
        for other in [b"\x89PN".as_slice(), b"\x89PNG\n", b"\x89PnG", b""] {
            assert!(same_bytes(200, other, b"\x89PNG").is_err(), "{other:?}");
        }
    }
}
