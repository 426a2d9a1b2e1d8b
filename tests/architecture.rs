//! The rules that hold the house up, checked on the manifests and sources themselves.
//!
//! Each test first shows that its rule finds a planted violation, then that the project has none.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fs,
    io::Write as _,
    path::PathBuf,
    process::Command,
};

use serde_json::Value;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Who may import whom within the workspace; a crate that is not here must be added with its place.
const IMPORTS: [(&str, &[&str]); 4] = [
    ("twinway-protocol", &[]),
    ("twinway-actors", &["twinway-protocol"]),
    ("twinway-scenarios", &["twinway-protocol", "twinway-actors"]),
    ("twinway", &["twinway-protocol", "twinway-actors", "twinway-scenarios"]),
];

/// Crates that act, wait or touch the world: the protocol crate reaches none of them, not even through others.
const IMPURE: [&str; 16] = [
    "actix",
    "actix-rt",
    "actix-web",
    "async-std",
    "crossbeam-channel",
    "getrandom",
    "hyper",
    "mio",
    "parking_lot",
    "rand",
    "reqwest",
    "rusqlite",
    "smol",
    "socket2",
    "tokio",
    "tracing-subscriber",
];

/// What a behaviour never names: clocks, I/O, threads, runtimes, and order that differs from run to run.
const IMPURE_NAMES: [&str; 12] = [
    "HashMap",
    "HashSet",
    "Instant::now",
    "SystemTime",
    "now_utc",
    "std::env",
    "std::fs",
    "std::net",
    "std::thread",
    "tokio::",
    "rusqlite",
    "bincode",
];

/// Lines a source file may have; more only with a reason.
const FILE_LINES_MAX: usize = 500;

/// Source files that are longer, and why.
const LONG_FILES: [(&str, &str); 3] = [
    ("actors/tests/runtime.rs", "a list of guarantees over one small system, which two files would have to share"),
    ("tests/journal_contract.rs", "one contract: every adapter passes all of it"),
    ("tests/journal_sqlite.rs", "a list of what can happen to the files of one journal"),
];

/// Folders whose every file implements clauses of the texts.
const CLAUSE_FOLDERS: [&str; 3] = ["actors/src/sif/", "actors/src/dtif/", "actors/src/external/"];

/// Beginnings of paths that only one machine has. Written in two halves, so that this file has none.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];

#[test]
fn imports_within_the_workspace_run_one_way() -> Outcome {
    let planted =
        [Package::planted("twinway-protocol", "twinway-actors", Kind::Dev), Package::planted("new", "x", Kind::Normal)];
    assert_eq!(imports_against_the_way(&planted).len(), 2);

    let packages = workspace()?;
    assert_eq!(packages.len(), IMPORTS.len(), "IMPORTS lists crates that are gone");
    assert_eq!(imports_against_the_way(&packages), NONE);
    Ok(())
}

#[test]
fn only_the_actors_crate_uses_actix_and_benches_measure_it_raw() -> Outcome {
    let planted = [
        Package::planted("twinway", "actix", Kind::Normal),
        Package::planted("twinway-scenarios", "actix", Kind::Dev),
        Package::planted("twinway", "actix", Kind::Dev),
        Package::planted("twinway-actors", "actix", Kind::Normal),
    ];
    assert_eq!(users_of_actix(&planted).len(), 2);
    let actix = concat!("use acti", "x::Actor;");
    assert_eq!(named_actix(&[source("tests/x.rs", actix), source("benches/x.rs", actix)]).len(), 1);

    assert_eq!(users_of_actix(&workspace()?), NONE);
    let Some(files) = tracked()? else { return skipped("only_the_actors_crate_uses_actix_and_benches_measure_it_raw") };
    assert_eq!(named_actix(&files), NONE);
    Ok(())
}

#[test]
fn the_protocol_crate_reaches_nothing_that_acts_or_waits() -> Outcome {
    let lock = Lock::from([("slab".into(), vec!["inner".into()]), ("inner".into(), vec!["tokio".into()])]);
    assert_eq!(impure_reach(&[Package::planted("twinway-protocol", "slab", Kind::Normal)], &lock).len(), 1);
    assert_eq!(impure_reach(&[Package::planted("twinway-protocol", "slab", Kind::Dev)], &lock), NONE);

    assert_eq!(impure_reach(&workspace()?, &lock_file()?), NONE);
    Ok(())
}

#[test]
fn every_dependency_comes_from_the_default_registry() -> Outcome {
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    let sources = lock_packages()?.into_iter().filter_map(|package| {
        let source = package.get("source")?.as_str()?.to_owned();
        (source != registry).then_some(source)
    });
    assert_eq!(sources.collect::<Vec<_>>(), NONE);
    Ok(())
}

#[test]
fn behaviours_name_no_clock_no_io_and_no_unordered_map() -> Outcome {
    let text = "use std::collections::HashMap;\n// tokio::spawn is not for us\n#[cfg(test)]\nuse std::fs;\n";
    assert_eq!(impure_names(&[source("actors/src/sif/x.rs", text), source("src/x.rs", text)]).len(), 1);

    let Some(files) = tracked()? else { return skipped("behaviours_name_no_clock_no_io_and_no_unordered_map") };
    assert_eq!(impure_names(&files), NONE);
    Ok(())
}

#[test]
fn source_files_are_short_or_say_why_not() -> Outcome {
    let long = "\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(too_long(&[source("src/x.rs", &long), source("x.md", &long)], &[]).len(), 1);
    assert_eq!(too_long(&[source("src/x.rs", "")], &[("src/x.rs", "no longer long")]).len(), 1);

    let Some(files) = tracked()? else { return skipped("source_files_are_short_or_say_why_not") };
    assert_eq!(too_long(&files, &LONG_FILES), NONE);
    Ok(())
}

#[test]
fn every_entity_cites_the_text_that_it_implements() -> Outcome {
    let planted =
        [source("actors/src/sif/x.rs", "//! An entity."), source("actors/src/dtif/y.rs", "//! FGMV-29 8.3.1")];
    assert_eq!(uncited(&planted).len(), 1);

    let Some(files) = tracked()? else { return skipped("every_entity_cites_the_text_that_it_implements") };
    let entities = files.iter().filter(|file| in_clause_folder(file)).count();
    assert!(entities >= 16, "only {entities} files of entities found: did the folders move?");
    assert_eq!(uncited(&files), NONE);
    Ok(())
}

#[test]
fn tracked_files_name_no_path_of_one_machine() -> Outcome {
    let [first, second, ..] = MACHINE_PATHS;
    let planted = format!("see {first}x\n(\"{second}me\")\nhttps://example.org{second}page\n");
    assert_eq!(machine_paths(&[source("README.md", &planted)]).len(), 2);

    let Some(files) = tracked()? else { return skipped("tracked_files_name_no_path_of_one_machine") };
    assert_eq!(machine_paths(&files), NONE);
    Ok(())
}

#[test]
fn every_message_of_a_step_says_in_its_documentation_which() -> Outcome {
    let planted = "/// 9.1 step 14: wrong.\n#[derive(Debug)]\npub struct A;\n/// FGMV-29 9.1 step 1x.\npub struct B;\n\
                   steps! {\n    tell A = \"9.1\" \"1\";\n    ask B -> C = \"9.1\" \"1x\" or \"14\";\n    tell Gone = \"9.1\" \"2\";\n}\n";
    let (steps, wrong) = steps_undocumented(&source("m.rs", planted));
    assert_eq!((steps, wrong.len()), (3, 2));

    let Some(files) = tracked()? else { return skipped("every_message_of_a_step_says_in_its_documentation_which") };
    let messages = files.iter().filter(|file| file.path.starts_with("actors/protocol/src/message"));
    let (counts, wrong): (Vec<_>, Vec<_>) = messages.map(steps_undocumented).unzip();
    let steps: usize = counts.iter().sum();
    assert!(steps >= 37, "only {steps} messages of steps found: did `steps!` change its form?");
    assert_eq!(wrong.concat(), NONE);
    Ok(())
}

/// No violations.
const NONE: [&str; 0] = [];

/// A crate of the workspace, as its manifest says.
struct Package {
    name: String,
    dependencies: Vec<(String, Kind)>,
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Dev,
    Build,
}

impl Package {
    fn planted(name: &str, dependency: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), dependencies: vec![(dependency.to_owned(), kind)] }
    }
}

/// What each locked crate depends on, by name, in any of its versions.
type Lock = BTreeMap<String, Vec<String>>;

/// A tracked text file.
struct Source {
    /// Relative to the workspace, with `/`.
    path: String,
    text: String,
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

fn imports_against_the_way(packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages {
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!("{} has no place in IMPORTS", package.name));
            continue;
        };
        let within = package.dependencies.iter().filter(|(to, _)| IMPORTS.iter().any(|(name, _)| name == to));
        for (to, kind) in within.filter(|(to, _)| !allowed.contains(&to.as_str())) {
            wrong.push(format!("{} -> {to} ({kind:?})", package.name));
        }
    }
    wrong
}

fn users_of_actix(packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages {
        for (_, kind) in package.dependencies.iter().filter(|(to, _)| to == "actix") {
            let runtime = package.name == "twinway-actors";
            let benches = package.name == "twinway" && *kind == Kind::Dev;
            if !runtime && !benches {
                wrong.push(format!("{} -> actix ({kind:?})", package.name));
            }
        }
    }
    wrong
}

/// The root package has actix for its benches; its tests and examples must not reach around the runtime.
fn named_actix(files: &[Source]) -> Vec<String> {
    let runtime = |path: &str| path.starts_with("actors/") && !path.starts_with("actors/protocol/");
    let outside = files.iter().filter(|file| !runtime(&file.path) && !file.path.starts_with("benches/"));
    outside.flat_map(|file| code_naming(file, &file.text, concat!("acti", "x::"))).collect()
}

fn impure_reach(packages: &[Package], lock: &Lock) -> Vec<String> {
    let protocol = packages.iter().filter(|package| package.name == "twinway-protocol");
    let direct = protocol.flat_map(|package| &package.dependencies).filter(|(_, kind)| *kind != Kind::Dev);
    let mut open: Vec<&str> = direct.map(|(name, _)| name.as_str()).collect();
    let mut reached = BTreeSet::new();
    while let Some(name) = open.pop() {
        if reached.insert(name) {
            open.extend(lock.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    reached.into_iter().filter(|name| IMPURE.contains(name)).map(str::to_owned).collect()
}

fn impure_names(files: &[Source]) -> Vec<String> {
    let behaviours = files.iter().filter(|file| {
        let twin = file.path == "actors/src/twin.rs" || file.path.starts_with("actors/src/twin/");
        file.path.ends_with(".rs") && (twin || in_clause_folder(file))
    });
    let named = behaviours.flat_map(|file| {
        // Tests inside a file may do what they need.
        let text = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        IMPURE_NAMES.iter().flat_map(move |name| code_naming(file, text, name))
    });
    named.collect()
}

/// Lines of code that name something, not as the end of a longer name and not in a comment.
fn code_naming(file: &Source, text: &str, name: &str) -> Vec<String> {
    let names = |line: &str| {
        let mut found = line.match_indices(name).map(|(at, _)| line.get(..at).and_then(|before| before.chars().last()));
        found.any(|before| !before.is_some_and(|c| c.is_alphanumeric() || c == '_'))
    };
    let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    let rust = code.filter(|_| file.path.ends_with(".rs"));
    rust.filter(|(_, line)| names(line)).map(|(at, _)| format!("{}:{} names {name}", file.path, at + 1)).collect()
}

fn too_long(files: &[Source], reasons: &[(&str, &str)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let lines = file.text.lines().count();
        let excused = reasons.iter().any(|(path, _)| *path == file.path);
        if lines > FILE_LINES_MAX && !excused {
            wrong.push(format!("{} has {lines} lines, over {FILE_LINES_MAX}", file.path));
        } else if lines <= FILE_LINES_MAX && excused {
            wrong.push(format!("{} needs its place in LONG_FILES no longer", file.path));
        }
    }
    wrong
}

fn in_clause_folder(file: &Source) -> bool {
    file.path.ends_with(".rs") && CLAUSE_FOLDERS.iter().any(|folder| file.path.starts_with(folder))
}

fn uncited(files: &[Source]) -> Vec<String> {
    let written = files.iter().filter(|file| in_clause_folder(file));
    let cites = |file: &&Source| file.text.contains("FGMV-29") || file.text.contains("FGMV-28");
    written.filter(|file| !cites(file)).map(|file| format!("{} cites no clause", file.path)).collect()
}

fn machine_paths(files: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            for path in MACHINE_PATHS {
                let mut before = line.match_indices(path).filter_map(|(at, _)| line.get(..at));
                // The middle of an address or of a relative path is not a path of a machine.
                let inside = |c: char| c.is_alphanumeric() || "._-~}/".contains(c);
                if before.any(|before| before.ends_with("file://") || !before.ends_with(inside)) {
                    wrong.push(format!("{}:{} names {path}", file.path, number + 1));
                }
            }
        }
    }
    wrong
}

/// How many messages of steps a file declares, and which of them do not name their step where they are defined.
fn steps_undocumented(file: &Source) -> (usize, Vec<String>) {
    let (mut steps, mut wrong) = (0, Vec::new());
    let blocks = file.text.split("\nsteps! {\n").skip(1).filter_map(|rest| rest.split("\n}").next());
    for entry in blocks.flat_map(|block| block.split(';')) {
        let Some((message, numbers)) = entry.split_once('=') else { continue };
        let mut quoted = numbers.split('"').skip(1).step_by(2);
        let (Some(name), Some(flow), Some(step)) = (message.split_whitespace().nth(1), quoted.next(), quoted.next())
        else {
            wrong.push(format!("{}: cannot read `{}`", file.path, entry.trim()));
            continue;
        };
        steps += 1;
        let said = documentation(&file.text, name).is_some_and(|text| names_step(&text, flow, step));
        if !said {
            wrong.push(format!("{}: the documentation of {name} does not say `{flow} step {step}`", file.path));
        }
    }
    (steps, wrong)
}

/// The doc comment of a public type.
fn documentation(text: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let defines = |line: &&str| {
        let rest = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
        let rest = rest.and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let at = lines.iter().position(defines)?;
    let above = lines.get(..at)?.iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
    let mut comment: Vec<&str> = above.filter_map(|line| line.strip_prefix("/// ")).collect();
    comment.reverse();
    Some(comment.join(" "))
}

fn names_step(text: &str, flow: &str, step: &str) -> bool {
    let wanted = format!("{flow} step {step}");
    // `step 1` is not said by `step 14` or `step 1x`, nor `step 2` by `step 2.1`.
    let ends = |rest: &str| {
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        !rest.starts_with(char::is_alphanumeric)
    };
    text.match_indices(&wanted).any(|(at, found)| text.get(at + found.len()..).is_some_and(ends))
}

/// The checkout. As the runner says it, since checkouts that share a target folder may share this program.
fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

fn output(command: &mut Command) -> Outcome<Vec<u8>> {
    let output = command.current_dir(root()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(output.stdout)
}

/// The crates of the workspace and what they depend on directly.
fn workspace() -> Outcome<Vec<Package>> {
    let arguments = ["metadata", "--format-version", "1", "--offline", "--no-deps"];
    let metadata: Value = serde_json::from_slice(&output(Command::new(env!("CARGO")).args(arguments))?)?;
    let list = |value: &Value, key: &str| -> Outcome<Vec<Value>> {
        Ok(value.get(key).and_then(Value::as_array).ok_or("no such list in the metadata")?.clone())
    };
    let name = |value: &Value| -> Outcome<String> {
        Ok(value.get("name").and_then(Value::as_str).ok_or("no name in the metadata")?.to_owned())
    };
    let mut packages = Vec::new();
    for package in list(&metadata, "packages")? {
        let mut dependencies = Vec::new();
        for dependency in list(&package, "dependencies")? {
            let kind = match dependency.get("kind").and_then(Value::as_str) {
                None => Kind::Normal,
                Some("dev") => Kind::Dev,
                Some("build") => Kind::Build,
                Some(other) => return Err(format!("an unknown kind of dependency: {other}").into()),
            };
            dependencies.push((name(&dependency)?, kind));
        }
        packages.push(Package { name: name(&package)?, dependencies });
    }
    Ok(packages)
}

fn lock_packages() -> Outcome<Vec<toml::Table>> {
    let lock: toml::Table = fs::read_to_string(root().join("Cargo.lock"))?.parse()?;
    let packages = lock.get("package").and_then(toml::Value::as_array).ok_or("Cargo.lock lists no packages")?;
    Ok(packages.iter().filter_map(toml::Value::as_table).cloned().collect())
}

fn lock_file() -> Outcome<Lock> {
    let mut lock = Lock::new();
    for package in lock_packages()? {
        let name = package.get("name").and_then(toml::Value::as_str).ok_or("a package in Cargo.lock has no name")?;
        let dependencies = package.get("dependencies").and_then(toml::Value::as_array).into_iter().flatten();
        // `name`, or `name version` where there are several.
        let names = dependencies.filter_map(|dependency| dependency.as_str()?.split(' ').next());
        lock.entry(name.to_owned()).or_default().extend(names.map(str::to_owned));
    }
    Ok(lock)
}

/// Every tracked text file; `None` outside a git checkout.
fn tracked() -> Outcome<Option<Vec<Source>>> {
    if !root().join(".git").exists() {
        return Ok(None);
    }
    let listed = String::from_utf8(output(Command::new("git").args(["ls-files", "-z"]))?)?;
    let paths = listed.split('\0').filter(|path| !path.is_empty());
    // What is not UTF-8 is not text; what is tracked but deleted is on its way out.
    let read = |path: &str| Some(source(path, &fs::read_to_string(root().join(path)).ok()?));
    Ok(Some(paths.filter_map(read).collect()))
}

/// Tells `check.sh` that a test did not look, and why.
fn skipped(test: &str) -> Outcome {
    if let Some(path) = std::env::var_os("TWINWAY_SKIPS") {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "SKIPPED: architecture::{test}: not a git checkout, so what is tracked is unknown")?;
    }
    Ok(())
}
