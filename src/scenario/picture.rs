//! A run as a picture: the parties, the daemon between them, and what was said in its order.

use twinway_scenarios::{
    flow::{Picture, Row},
    scenario::{Deed, Kind, Party, Scenario},
};

use super::{ActDone, Told};

/// How much of what is said stands in the picture, in characters.
const LABEL_CHARS_MAX: usize = 90;
/// The daemon's name among the columns.
const DAEMON: &str = "daemon";

/// What was `told` of a run of `scenario`, which is as its variant has it ([`Scenario::varied`]): virtual worlds and users on
/// the left, the physical side and third parties on the right.
#[must_use]
pub fn picture(scenario: &Scenario, told: &[Told]) -> Picture {
    let is_left = |kind: Kind| matches!(kind, Kind::Metaverse | Kind::UserDevice);
    let side = |left: bool| scenario.parties.iter().filter(move |party| is_left(party.kind) == left);
    let named = |party: &Party| (party.name.clone(), party.title.clone());
    let daemon = (DAEMON.to_owned(), "the integration enabler".to_owned());
    let columns: Vec<_> = side(true).map(named).chain([daemon]).chain(side(false).map(named)).collect();
    let column = |name: &str| columns.iter().position(|(known, _)| known == name);
    let daemon = column(DAEMON).unwrap_or_default();
    let rows = told.iter().filter_map(|told| match told {
        Told::Act(act) => {
            let by = column(&act.by)?;
            let deed = scenario.acts.iter().find(|known| known.line == act.line).map(|known| &known.deed);
            let (from, to) = match deed {
                Some(Deed::Call(_)) => (by, daemon),
                Some(Deed::Hear(_)) => (daemon, by),
                // What only people see of each other.
                Some(Deed::Think) => (by, column(&act.to).unwrap_or(by)),
                _ => (by, by),
            };
            Some(Row { from, to, label: label(act), dashed: act.failed.is_some() || matches!(deed, Some(Deed::Think)) })
        }
        Told::Asked { party, request, said } => {
            Some(Row { from: daemon, to: column(party)?, label: short(&format!("{request}: {said}")), dashed: false })
        }
    });
    let rows = rows.collect();
    Picture { title: format!("{} {}", scenario.name, scenario.title), columns, rows }
}

fn label(ActDone { step, says, ms, failed, .. }: &ActDone) -> String {
    let step = step.as_ref().map(|step| format!("{step} ")).unwrap_or_default();
    let failed = if failed.is_some() { "DOES NOT HOLD: " } else { "" };
    short(&format!("{step}{failed}{says} ({ms} ms)"))
}

fn short(text: &str) -> String {
    let mut short: String = text.chars().take(LABEL_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
