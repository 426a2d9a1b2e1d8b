//! `twinway scenario`: the use cases of FGMV-28 clause 7, run for real.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio::io::BufReader;
use twinway::{
    client::Client,
    scenario::{self, ActDone, Outcome, RunOptions, Told, Verdict},
    scenarios::scenario::{self as worlds, Scenario},
};

use super::{
    exit::{Exit, Failure},
    output::{Format, Output, printable},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ScenarioCommand {
    /// Lists the scenarios of FGMV-28 and their variants.
    List,
    /// Runs a scenario: a daemon of its own, each external system a process. Ends with 0 only if all holds, with 8 if not,
    /// and with 2 if the world file cannot be read.
    Run(ScenarioOptions),
    /// Plays one party of a scenario; `scenario run` starts these.
    #[command(hide = true)]
    Party {
        #[arg(value_name = "SCENARIO")]
        world: String,
        #[arg(long)]
        variant: Option<String>,
        #[arg(long, default_value_t = 0)]
        seed: u64,
        #[arg(long)]
        name: String,
        #[arg(long)]
        url: String,
        #[arg(long, env = "TWINWAY_TOKEN", hide_env_values = true)]
        token: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ScenarioOptions {
    /// Its name, such as 7.2.1, or a world file.
    #[arg(value_name = "SCENARIO", required_unless_present_any = ["all", "demo"])]
    name: Option<String>,
    /// Which variant: an unhappy path, as `scenario list` shows it.
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Runs the scenario and then each of its variants; without a name, all of all scenarios.
    #[arg(long, conflicts_with = "variant")]
    all: bool,
    /// Runs the seven scenarios of FGMV-28 in turn, each as it should go.
    #[arg(long, conflicts_with_all = ["name", "variant", "all"])]
    demo: bool,
    /// What chance the scenario has: who begins first, who ranks above whom, what there is. The same seed gives the same.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Keeps the daemon's trace, for `twinway flow check`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "demo"])]
    trace: Option<PathBuf>,
    /// Draws what was said between whom, as SVG.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "demo"])]
    picture: Option<PathBuf>,
    /// Writes a JSON document a line instead of text.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: ScenarioCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        ScenarioCommand::List => list(output),
        ScenarioCommand::Run(options) => run_all(&options, output),
        ScenarioCommand::Party { world, variant, seed, name, url, token } => {
            let scenario = find(&world)?.varied(variant.as_deref(), seed).map_err(Failure::usage)?;
            let input = BufReader::new(tokio::io::stdin());
            let playing = scenario::party(&scenario, &name, Client::new(url, token), input, tokio::io::stdout());
            blocking(async { playing.await.map_err(Failure::other) })
        }
    }
}

fn run_all(options: &ScenarioOptions, output: &mut Output) -> Result<(), Failure> {
    let wanted = wanted(options)?;
    let as_json = options.json || output.format() == Format::Json;
    blocking(async {
        let (all, mut bad) = (wanted.len(), Vec::new());
        for (world, variant) in wanted {
            let scenario = find(&world)?;
            let name = shown_name(&scenario.name, variant.as_deref());
            let picture = options.picture.as_deref();
            let options = RunOptions {
                program: std::env::current_exe().map_err(|error| Failure::other(format!("this program: {error}")))?,
                world,
                variant,
                seed: options.seed,
                trace: options.trace.clone(),
            };
            if !one(&scenario, &name, &options, picture, as_json, output).await? {
                bad.push(name);
            }
        }
        if all > 1 && !as_json {
            output.line(&format!("{} of {all} runs hold", all - bad.len()))?;
        }
        if bad.is_empty() {
            return Ok(());
        }
        Err(Failure::Other(Exit::CheckFailed, format!("does not hold: {}", bad.join(", "))))
    })
}

pub(super) fn blocking<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::other(format!("no runtime: {error}")))?;
    let done = runtime.block_on(work);
    // A thread that still reads the standard input is not waited for.
    runtime.shutdown_background();
    done
}

/// What is to be run: the scenario, or its file, and the variant.
fn wanted(options: &ScenarioOptions) -> Result<Vec<(String, Option<String>)>, Failure> {
    let names: Vec<String> = match &options.name {
        Some(name) => vec![name.clone()],
        None => worlds::embedded().iter().map(|scenario| scenario.name.clone()).collect(),
    };
    if !options.all {
        return Ok(names.into_iter().map(|name| (name, options.variant.clone())).collect());
    }
    let mut wanted = Vec::new();
    for name in names {
        let variants: Vec<_> = find(&name)?.variants.iter().map(|variant| Some(variant.name.clone())).collect();
        wanted.extend([None].into_iter().chain(variants).map(|variant| (name.clone(), variant)));
    }
    Ok(wanted)
}

/// A scenario of the texts, or one in a file.
fn find(name: &str) -> Result<Scenario, Failure> {
    if let Some(scenario) = worlds::find(name) {
        return Ok(scenario.clone());
    }
    let path: PathBuf = name.into();
    if path.extension().is_none_or(|extension| extension != "toml") && !Path::new(name).exists() {
        let known: Vec<&str> = worlds::embedded().iter().map(|scenario| scenario.name.as_str()).collect();
        let why = format!("there is no scenario `{}`: known are {}, or name a file", printable(name), known.join(", "));
        return Err(Failure::Other(Exit::NotFound, why));
    }
    worlds::load(&path).map_err(|error| Failure::usage(error.to_string()))
}

#[derive(Serialize)]
struct Listed<'s> {
    name: &'s str,
    variant: Option<&'s str>,
    clause: &'s str,
    title: &'s str,
}

fn list(output: &mut Output) -> Result<(), Failure> {
    let mut listed = Vec::new();
    for scenario in worlds::embedded() {
        let (name, clause) = (scenario.name.as_str(), scenario.clause.as_str());
        listed.push(Listed { name, variant: None, clause, title: &scenario.title });
        let variants = scenario.variants.iter();
        listed.extend(variants.map(|variant| Listed {
            name,
            variant: Some(&variant.name),
            clause,
            title: &variant.title,
        }));
    }
    if output.format() == Format::Json {
        return output.json(&listed);
    }
    let row = |listed: Listed<'_>| {
        [listed.name, listed.variant.unwrap_or(""), listed.clause, listed.title].map(str::to_owned).to_vec()
    };
    output.table(&["NAME", "VARIANT", "CLAUSE", "TITLE"], listed.into_iter().map(row))
}

fn shown_name(scenario: &str, variant: Option<&str>) -> String {
    variant.map_or_else(|| scenario.to_owned(), |variant| format!("{scenario} {variant}"))
}

async fn one(
    scenario: &Scenario,
    name: &str,
    options: &RunOptions,
    picture: Option<&Path>,
    as_json: bool,
    output: &mut Output,
) -> Result<bool, Failure> {
    if !as_json {
        let other = scenario.variants.iter().find(|other| Some(&other.name) == options.variant.as_ref());
        let title = other.map_or(&scenario.title, |other| &other.title);
        output.line(&printable(&format!("{name}  {title}  ({})", scenario.clause)))?;
    }
    let mut all = Vec::new();
    let tell = |told: Told| {
        if picture.is_some() {
            all.push(told.clone());
        }
        // Whoever reads may have hung up: the scenario goes on, and its exit code tells.
        let _ = if as_json { line(&told, output) } else { told_line(&told, output) };
    };
    let outcome =
        scenario::run(scenario, options, tell).await.map_err(|why| Failure::other(format!("{name}: {why}")))?;
    if let Some(file) = picture {
        let varied = scenario.varied(options.variant.as_deref(), options.seed).map_err(Failure::usage)?;
        let drawn = std::fs::write(file, scenario::picture(&varied, &all).svg());
        drawn.map_err(|error| Failure::other(format!("{}: {error}", file.display())))?;
    }
    if as_json {
        line(&outcome, output)?
    } else {
        conclude(&outcome, &again(options), output)?
    }
    Ok(outcome.holds)
}

/// The command that gives the same course again.
fn again(options: &RunOptions) -> String {
    let variant = options.variant.as_ref().map(|variant| format!(" --variant {variant}")).unwrap_or_default();
    format!("twinway scenario run {}{variant} --seed {}", options.world, options.seed)
}

fn line<T: Serialize>(value: &T, output: &mut Output) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::other(error.to_string()))?;
    output.line(&text)
}

fn told_line(told: &Told, output: &mut Output) -> Result<(), Failure> {
    match told {
        Told::Act(ActDone { step, by, to, says, together, ms, failed, .. }) => {
            let way = if to.is_empty() { by.clone() } else { format!("{by} → {to}") };
            let step = step.as_deref().unwrap_or("");
            let at_once = if together.is_some() { ", at once with others" } else { "" };
            output.line(&printable(&format!("  {step:>5}  {way:<32}  {says}  {ms} ms{at_once}")))?;
            match failed {
                Some(why) => output.line(&printable(&format!("         does not hold: {why}"))),
                None => Ok(()),
            }
        }
        Told::Asked { party, request, said } => {
            let said: String = said.chars().take(100).collect();
            output.line(&printable(&format!("         {:<32}  {request}: {said}", format!("daemon → {party}"))))
        }
    }
}

fn conclude(outcome: &Outcome, again: &str, output: &mut Output) -> Result<(), Failure> {
    let Verdict { flows, .. } = &outcome.verdict;
    for flow in flows {
        let verdict = if flow.holds { "holds" } else { "does not hold" };
        let counts = format!("{} satisfied, {} lucky, {} violated", flow.satisfied, flow.lucky, flow.violated);
        output.line(&format!("  flow {}: {verdict}: {} steps, {counts}", flow.flow, flow.steps))?;
        for finding in &flow.findings {
            output.line(&printable(&format!("    {finding}")))?;
        }
    }
    let drawn: Vec<String> = outcome.drawn.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let drawn = if drawn.is_empty() { String::new() } else { format!(" drew {}", drawn.join(", ")) };
    output.line(&printable(&format!("  seed {}{drawn}; the same again: {again}", outcome.seed)))?;
    let verdict = if outcome.holds { "holds" } else { "does not hold" };
    output.line(&format!("  {} acts in {} ms: {verdict}", outcome.acts.len(), outcome.ms))
}
