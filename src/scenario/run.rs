//! The director: tells each party when it is its turn, and what must have come of it.

use std::{path::PathBuf, time::Instant};

use serde::Serialize;
use serde_json::Value;
use twinway_scenarios::scenario::{Act, Scenario, Start, Variables, starts};

use super::{
    judge::{self, Verdict},
    order::{Done, Order, Told as PartyTold},
    stage::{Stage, trace_file},
};

/// How a scenario is run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The program whose `scenario party` plays a party: usually this one.
    pub program: PathBuf,
    /// How that program finds the scenario: its name, or a file.
    pub world: String,
    /// Which variant is run; absent: the scenario itself.
    pub variant: Option<String>,
    /// What chance the scenario has: what its `[chance]` draws, and in which order begins what is done at once. The same
    /// seed gives the same.
    pub seed: u64,
    /// Where the daemon's trace is kept, for `twinway flow check` and others; absent: it is not.
    pub trace: Option<PathBuf>,
}

/// What the director tells while it runs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Told {
    /// An act is done.
    Act(ActDone),
    /// A party was asked by the daemon.
    #[serde(rename_all = "camelCase")]
    Asked {
        /// Which party.
        party: String,
        /// The type of request.
        request: String,
        /// What it said, in short.
        said: String,
    },
}

/// An act that was done.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActDone {
    /// Its line in the world file.
    pub line: usize,
    /// The step of the flow that it is.
    pub step: Option<String>,
    /// Who did it.
    pub by: String,
    /// Whom it reached; empty: nobody.
    pub to: String,
    /// What was done.
    pub says: String,
    /// What it was done at the same time with, by a name of its own; absent: it was done alone.
    pub together: Option<String>,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What does not hold; absent: all does.
    pub failed: Option<String>,
}

/// What came of a scenario.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The scenario.
    pub scenario: String,
    /// The variant.
    pub variant: Option<String>,
    /// The seed, which gives the same course again.
    pub seed: u64,
    /// What it drew, by name.
    pub drawn: Variables,
    /// Whether every expectation and every order held.
    pub holds: bool,
    /// The acts that were done.
    pub acts: Vec<ActDone>,
    /// What the checker says of the daemon's trace.
    pub verdict: Verdict,
    /// How long the story took, in milliseconds, without the start of the processes.
    pub ms: u64,
}

/// Runs a scenario. `tell` hears of every act as it is done.
///
/// # Errors
/// What kept it from being run at all. That something did not hold is an [`Outcome`].
pub async fn run(scenario: &Scenario, options: &RunOptions, mut tell: impl FnMut(Told)) -> Result<Outcome, String> {
    let varied = scenario.varied(options.variant.as_deref(), options.seed)?;
    let mut stage = Stage::begin(&varied, options).await?;
    let began = Instant::now();
    let known = |(name, value): (&String, &Value)| (name.clone(), value.clone());
    let mut director = Director {
        scenario: &varied,
        seed: options.seed,
        variables: varied.values.iter().map(known).collect(),
        done: Vec::new(),
        tell: &mut tell,
    };
    let played = director.play(&mut stage).await;
    let acts = director.done;
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let directory = stage.end().await?;
    played?;
    if let Some(kept) = &options.trace {
        let copied = std::fs::copy(trace_file(directory.path()), kept);
        copied.map_err(|error| format!("{}: {error}", kept.display()))?;
    }
    let verdict = judge::judge(&varied, &acts, &trace_file(directory.path()))?;
    let holds = verdict.holds && acts.len() == varied.acts.len() && acts.iter().all(|act| act.failed.is_none());
    let drawn = varied.values.iter().filter(|(name, _)| varied.chance.contains_key(*name)).map(known).collect();
    let (scenario, variant, seed) = (scenario.name.clone(), options.variant.clone(), options.seed);
    Ok(Outcome { scenario, variant, seed, drawn, holds, acts, verdict, ms })
}

struct Director<'s> {
    scenario: &'s Scenario,
    seed: u64,
    variables: Variables,
    done: Vec<ActDone>,
    tell: &'s mut dyn FnMut(Told),
}

impl Director<'_> {
    /// Does one act after the other, and those that belong together at once, until one fails.
    async fn play(&mut self, stage: &mut Stage) -> Result<(), String> {
        let mut next = 0;
        while let Some(first) = self.scenario.acts.get(next) {
            let together = |act: &&Act| first.together.is_some() && act.together == first.together;
            let count = self.scenario.acts.iter().skip(next).take_while(together).count().max(1);
            let acts = next..next + count;
            for Start { which, after_ms } in starts(self.seed, next, count) {
                self.order(stage, next + which, after_ms).await?;
            }
            let mut answered: Vec<Done> = Vec::new();
            while answered.len() < count {
                match stage.told().await? {
                    (_, PartyTold::Done(done)) if acts.contains(&done.act) => answered.push(*done),
                    (party, PartyTold::Asked { kind, said }) => {
                        let party = self.name(party);
                        (self.tell)(Told::Asked { party, request: kind, said });
                    }
                    (party, PartyTold::Failed(why)) => return Err(format!("`{}`: {why}", self.name(party))),
                    (_, PartyTold::Ready | PartyTold::Done(_)) => {}
                }
            }
            answered.sort_by_key(|done| done.act);
            for done in answered {
                self.conclude(done);
            }
            if self.done.iter().any(|act| act.failed.is_some()) {
                return Ok(());
            }
            next += count;
        }
        Ok(())
    }

    fn name(&self, party: usize) -> String {
        self.scenario.parties.get(party).map(|party| party.name.clone()).unwrap_or_default()
    }

    async fn order(&self, stage: &mut Stage, act: usize, after_ms: u64) -> Result<(), String> {
        let Some(of) = self.scenario.acts.get(act) else { return Err(format!("there is no act {act}")) };
        let by = of.by.text(&self.variables).map_err(|why| format!("line {}: {why}", of.line))?;
        let party = self.scenario.parties.iter().position(|party| party.name == by);
        let party = party.ok_or_else(|| format!("line {}: there is no party `{by}`", of.line))?;
        stage.order(party, &Order { act, after_ms, variables: self.variables.clone() }).await
    }

    /// What must hold after an act, and what later acts can speak of.
    fn conclude(&mut self, done: Done) {
        let Some(act) = self.scenario.acts.get(done.act) else { return };
        let mut variables = self.variables.clone();
        variables.extend(done.variables);
        let failed = match done.error {
            Some(error) => Some(error),
            None => self.judge(act, &mut variables),
        };
        let says = act.says.text(&variables).unwrap_or_else(|why| why);
        let by = act.by.text(&variables).unwrap_or_else(|why| why);
        let (to, step, together) = (act.to.clone(), act.step.clone(), act.together.clone());
        let done = ActDone { line: act.line, step, by, to, says, together, ms: done.ms, failed };
        (self.tell)(Told::Act(done.clone()));
        self.done.push(done);
    }

    fn judge(&mut self, act: &Act, variables: &mut Variables) -> Option<String> {
        // What is kept can be spoken of by what is expected.
        for (name, value) in &act.keep {
            match value.evaluate(variables) {
                Ok(value) => {
                    variables.insert(name.clone(), value.clone());
                    self.variables.insert(name.clone(), value);
                }
                Err(problem) => return Some(format!("`{name}`: {}{}", problem, shown(variables))),
            }
        }
        let expect = act.expect.as_ref()?;
        match expect.evaluate(variables) {
            Ok(Value::Bool(true)) => None,
            Ok(_) => Some(format!("`{}` does not hold{}", expect.text(), shown(variables))),
            Err(problem) => Some(format!("`{}`: {}{}", expect.text(), problem, shown(variables))),
        }
    }
}

/// What came of an act, in short.
fn shown(variables: &Variables) -> String {
    let part = |name: &str| variables.get(name).map(|value| format!("; {name}: {value}")).unwrap_or_default();
    let text = ["status", "body", "event", "heard"].map(part).concat();
    text.chars().take(1_000).collect()
}
