//! Past failures as files: what a run broke a rule by, to be replayed by tests for ever after.
//!
//! `scenarios/regressions/README.md` explains the form of the files.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use twinway_protocol::message::Wire;

use crate::{
    explore::{self, Failure},
    fault::Faults,
    run::{Run, Schedule},
    world::World,
    worlds,
};

/// Bytes that a file may have.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Characters that are kept of what a rule said.
const SAID_CHARS_MAX: usize = 300;

/// A schedule by which a rule did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// The name of its [world](worlds::WORLDS).
    pub world: String,
    /// The faults that a run may have: a schedule means nothing without them.
    pub faults: Faults,
    /// What repeats the run.
    pub schedule: Schedule,
    /// What was violated, for readers.
    pub violated: Vec<String>,
    /// The bug that a test planted to get there, if it was no real one.
    pub planted: Option<String>,
}

/// Why a file is no regression.
#[derive(Debug, thiserror::Error)]
pub enum RegressionError {
    /// It cannot be read.
    #[error("{file} cannot be read: {error}")]
    Unreadable {
        /// Its name.
        file: String,
        /// Why.
        error: io::Error,
    },
    /// It is longer than [`FILE_BYTES_MAX`], no TOML, or not of this form.
    #[error("{file} is no past failure: {why}")]
    Malformed {
        /// Its name.
        file: String,
        /// Why, with the line.
        why: String,
    },
    /// No world has this name.
    #[error("{file} is of the world `{world}`, which is not known")]
    WorldUnknown {
        /// Its name.
        file: String,
        /// The world's.
        world: String,
    },
}

/// As it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    world: String,
    #[serde(default)]
    faults: String,
    schedule: String,
    #[serde(default)]
    violated: Vec<String>,
    planted: Option<String>,
}

impl Regression {
    /// What was found in the world of this name, shrunk.
    #[must_use]
    pub fn of(world: &str, faults: Faults, failure: &Failure) -> Self {
        let said = |text: String| text.chars().take(SAID_CHARS_MAX).collect();
        let violated = failure.shortest.violations.iter().map(|violation| said(violation.to_string()));
        let (world, schedule) = (world.to_owned(), failure.shortest.schedule.clone());
        Self { world, faults, schedule, violated: violated.collect(), planted: None }
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`RegressionError`], which names the file.
    pub fn read(path: &Path) -> Result<Self, RegressionError> {
        let file = path.display().to_string();
        let mut text = String::new();
        let opened = File::open(path).and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
        if let Err(error) = opened {
            return Err(RegressionError::Unreadable { file, error });
        }
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(RegressionError::Malformed { file, why: format!("it has more than {FILE_BYTES_MAX} bytes") });
        }
        let regression = Self::parse(&text).map_err(|why| RegressionError::Malformed { file: file.clone(), why })?;
        if worlds::find(&regression.world).is_none() {
            return Err(RegressionError::WorldUnknown { file, world: regression.world });
        }
        Ok(regression)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        let Written { world, faults, schedule, violated, planted } = written;
        Ok(Self { world, faults: Faults::parse(&faults)?, schedule: schedule.parse()?, violated, planted })
    }

    /// As a file has it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = "# What this is: `scenarios/regressions/README.md`.\n".to_owned();
        // Writing to a string does not fail.
        let _ = writeln!(text, "world = {}", quoted(&self.world));
        let _ = writeln!(text, "faults = {}", quoted(&self.faults.to_string()));
        let _ = writeln!(text, "schedule = {}", quoted(&self.schedule.to_string()));
        text.push_str("violated = [\n");
        for said in &self.violated {
            let _ = writeln!(text, "    {},", quoted(said));
        }
        text.push_str("]\n");
        if let Some(planted) = &self.planted {
            let _ = writeln!(text, "planted = {}", quoted(planted));
        }
        text
    }

    /// The name of its file: the same for the same schedule, so that it is kept once.
    #[must_use]
    pub fn file_name(&self) -> String {
        let what = self.planted.clone().unwrap_or_else(|| {
            let text = format!("{} {} {}", self.world, self.faults, self.schedule);
            // FNV-1a: the same everywhere and in every version.
            let mixed = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, mixed))
        });
        format!("{}-{what}.toml", self.world)
    }

    /// Writes it into `folder`, which is made if it is not there, and gives the file's path. A file of the same schedule
    /// is replaced.
    ///
    /// # Errors
    /// When the folder cannot be made or the file not be written.
    pub fn save(&self, folder: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let path = folder.join(self.file_name());
        fs::write(&path, self.to_toml())?;
        Ok(path)
    }

    /// Its world, with its faults.
    ///
    /// # Errors
    /// The world's name, when there is none of this name.
    pub fn world(&self) -> Result<World<Wire>, String> {
        worlds::find(&self.world).map(|world| world.faults(self.faults)).ok_or_else(|| self.world.clone())
    }

    /// Runs its schedule again in `world`, which [`Regression::world`] made.
    ///
    /// # Errors
    /// The run, if a rule does not hold.
    pub fn replay(&self, world: &mut World<Wire>) -> Result<Run, Box<Failure>> {
        explore::replay(world, &self.schedule)
    }
}

/// All files of past failures in a folder, in the order of their names.
///
/// # Errors
/// When the folder cannot be read, or the first file that is none.
pub fn all(folder: &Path) -> Result<Vec<(PathBuf, Regression)>, RegressionError> {
    let unreadable = |error| RegressionError::Unreadable { file: folder.display().to_string(), error };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.into_iter().map(|path| Regression::read(&path).map(|regression| (path, regression))).collect()
}

/// Text between quotation marks: of printable characters TOML's basic strings are JSON's.
fn quoted(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    serde_json::Value::String(printable.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::{Faults, Regression, Schedule};

    #[test]
    fn a_failure_is_read_as_it_was_written() {
        let regression = Regression {
            world: "9.2".to_owned(),
            faults: Faults { restarts: 1, ..Faults::NONE },
            schedule: Schedule { seed: 7, choices: vec![0, 0, 3] },
            violated: vec!["a \"rule\": C:\\ it is so".to_owned()],
            planted: None,
        };
        let text = regression.to_toml();
        assert_eq!(Regression::parse(&text), Ok(regression.clone()), "{text}");
        assert_eq!(regression.file_name(), regression.clone().file_name());
        let other = Regression { schedule: Schedule::default(), ..regression.clone() };
        assert_ne!(regression.file_name(), other.file_name());
        let planted = Regression { planted: Some("Bug".to_owned()), ..regression };
        assert_eq!(planted.file_name(), "9.2-Bug.toml");
    }

    #[test]
    fn what_is_not_of_the_form_is_told_with_its_place() {
        for (text, why) in [
            ("world = \"9.2\"", "schedule"),
            ("world = \"9.2\"\nschedule = 3", "line 2"),
            ("world = \"9.2\"\nschedule = \"x:1\"", "not the seed"),
            ("world = \"9.2\"\nschedule = \"1:1\"\nfaults = \"flood\"", "flood"),
            ("world = \"9.2\"\nschedule = \"1:1\"\nwhen = \"today\"", "when"),
        ] {
            let error = Regression::parse(text).expect_err("it is not of the form");
            assert!(error.contains(why), "{error}");
        }
    }
}
