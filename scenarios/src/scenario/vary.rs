//! A scenario as one of its variants has it, with what chance has drawn.

use serde_json::Value;

use super::{Act, Place, Scenario, Variant};
use crate::driver::Chance;

/// The name by which expressions speak of the seed.
const SEED: &str = "seed";

pub(super) fn varied(scenario: &Scenario, variant: Option<&str>, seed: u64) -> Result<Scenario, String> {
    let mut varied = scenario.clone();
    draw(&mut varied, seed);
    let Some(name) = variant else { return Ok(varied) };
    let Some(variant) = scenario.variant(name) else {
        let known: Vec<&str> = scenario.variants.iter().map(|variant| variant.name.as_str()).collect();
        return Err(format!("`{}` has no variant `{name}`; known are: {}", scenario.name, known.join(", ")));
    };
    varied.values.extend(variant.values.clone());
    for (party, answer) in variant.answers.iter().rev() {
        for party in varied.parties.iter_mut().filter(|known| known.name == *party) {
            party.answers.insert(0, answer.clone());
        }
    }
    varied.acts = acts(std::mem::take(&mut varied.acts), variant);
    Ok(varied)
}

/// Every name of the scenario's chance becomes one of its values: the same for the same seed.
fn draw(scenario: &mut Scenario, seed: u64) {
    let mut chance = Chance(seed);
    for (name, values) in &scenario.chance {
        if let Some(drawn) = values.get(chance.below(values.len())) {
            scenario.values.insert(name.clone(), drawn.clone());
        }
    }
    scenario.values.insert(SEED.to_owned(), Value::from(seed));
}

fn acts(of_scenario: Vec<Act>, variant: &Variant) -> Vec<Act> {
    let mut acts = Vec::new();
    for act in of_scenario {
        let name = act.name.clone();
        let put = |place: &dyn Fn(String) -> Place, acts: &mut Vec<Act>| {
            let wanted = place(name.clone());
            let here = variant.acts.iter().filter(|(known, _)| !name.is_empty() && *known == wanted);
            let before = acts.len();
            acts.extend(here.map(|(_, act)| act.clone()));
            acts.len() > before
        };
        put(&Place::Before, &mut acts);
        if !put(&Place::Of, &mut acts) && (name.is_empty() || !variant.without.contains(&name)) {
            acts.push(act);
        }
        put(&Place::After, &mut acts);
    }
    if let Some(last) = &variant.until
        && let Some(at) = acts.iter().position(|act| act.name == *last)
    {
        acts.truncate(at + 1);
    }
    acts
}
