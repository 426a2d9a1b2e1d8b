//! What a party answers when the daemon asks it something.

use serde_json::json;
use twinway_protocol::message::OutsideAnswer;
use twinway_scenarios::scenario::{Answer, Party, Reply, Variables};

/// What a party says when it is asked.
pub(super) struct Said {
    pub(super) answer: Answered,
    /// After so many milliseconds.
    pub(super) after_ms: u64,
    /// In short.
    pub(super) said: String,
}

pub(super) enum Answered {
    With(OutsideAnswer),
    Silent,
    Cut,
}

impl Said {
    fn failed(why: String) -> Self {
        Self { answer: Answered::With(OutsideAnswer::Failed(why.clone())), after_ms: 0, said: why }
    }
}

/// What `party` says to this type of request: the first answer of the scenario that fits. What it is to remember, it does.
pub(super) fn said(party: &Party, remembered: &mut Variables, kind: &str, variables: &Variables) -> Said {
    let fits = |answer: &&Answer| {
        answer.to == kind
            && answer.when.as_ref().is_none_or(|when| when.evaluate(variables).is_ok_and(|fits| fits == json!(true)))
    };
    let Some(answer) = party.answers.iter().find(fits) else {
        return Said::failed(format!("`{}` does not do that", party.name));
    };
    for (name, value) in &answer.remember {
        match value.fill(variables) {
            Ok(value) => {
                remembered.insert(name.clone(), value);
            }
            Err(why) => return Said::failed(why),
        }
    }
    let after_ms = answer.after_ms;
    match &answer.reply {
        Reply::Silent => Said { answer: Answered::Silent, after_ms, said: "nothing".to_owned() },
        Reply::Cut => Said { answer: Answered::Cut, after_ms, said: "nothing, its network is cut".to_owned() },
        Reply::Failed(why) => Said { after_ms, ..Said::failed(why.text(variables).unwrap_or_else(|why| why)) },
        Reply::With(with) => {
            let said = with.fill(variables).and_then(|said| {
                let answer = serde_json::from_value(json!({ kind: said.clone() }));
                let with = |answer| Said { answer: Answered::With(answer), after_ms, said: said.to_string() };
                answer.map(with).map_err(|error| error.to_string())
            });
            said.unwrap_or_else(Said::failed)
        }
    }
}
