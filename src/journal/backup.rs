//! Copies of a journal, made while it runs, and a data directory made of one.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, OpenFlags, backup::Backup, params};
use serde::Serialize;
use twinway_actors::port::journal::JournalError;

use super::{
    DATABASE_NAME, DataDirectory, FORMAT_VERSION,
    database::{connect, connect_to_read, storage, version},
    directory::{failed, supported, sync_directory},
    inspect::{self, VerifyReport},
    mark::{Mark, MarkFile},
    upgrade,
};

const STEP_PAGES: i32 = 1024;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// Where it is.
    pub file: PathBuf,
    /// The position of the last entry in it.
    pub durable: u64,
    /// How many commits it holds.
    pub commits: u64,
    /// How many entries these commits hold.
    pub entries: u64,
    /// How many snapshots it holds.
    pub snapshots: u64,
    /// Its size.
    pub bytes: u64,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// The data directory that was made.
    pub directory: PathBuf,
    /// The format of the backup; an older one was upgraded.
    pub format: u32,
    /// The position of the last entry.
    pub durable: u64,
    /// How many commits there are.
    pub commits: u64,
    /// How many snapshots there are.
    pub snapshots: u64,
}

/// Copies the journal of a data directory to `file`, also while a daemon writes it, and checks the copy.
///
/// # Errors
/// [`JournalError::Refused`] when `file` exists or the format is not this build's, [`JournalError::Corrupt`] when
/// the journal is damaged: then there is no file.
pub fn backup(data_dir: &Path, file: &Path) -> Result<BackupReport, JournalError> {
    backup_with(data_dir, file, &mut |_, _| {})
}

/// Does as [`backup`], and tells `progress` how many pages are copied, and of how many.
///
/// # Errors
/// As [`backup`].
pub fn backup_with(
    data_dir: &Path,
    file: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BackupReport, JournalError> {
    if file.exists() {
        return Err(JournalError::Refused(format!("{} exists; name another file", file.display())));
    }
    let source = inspect::open(&data_dir.join(DATABASE_NAME))?;
    let part = suffixed(file, ".part");
    let made = copy(&source, &part, progress).and_then(|()| stamp(&part)).and_then(|()| sound(inspect::verify(&part)?));
    let made = made.and_then(|report| {
        put(&part, file).map_err(|error| failed("write", file, &error))?;
        Ok(report)
    });
    if made.is_err() {
        // What is wrong is told; that the rest of it lies about matters less.
        let _left = fs::remove_file(&part);
    }
    let report = made?;
    Ok(BackupReport {
        file: file.to_owned(),
        durable: report.durable,
        commits: report.commits,
        entries: report.entries,
        snapshots: report.snapshots,
        bytes: report.bytes,
    })
}

/// Makes a data directory of a backup, after checking it.
///
/// # Errors
/// [`JournalError::Refused`] when something is in `data_dir` already, in use or not, or a newer build wrote the
/// backup; [`JournalError::Corrupt`] when the backup is damaged. Then there is no journal in `data_dir`.
pub fn restore(file: &Path, data_dir: &Path) -> Result<RestoreReport, JournalError> {
    restore_with(file, data_dir, &mut |_, _| {})
}

/// Does as [`restore`], and tells `progress` how many pages are copied, and of how many.
///
/// # Errors
/// As [`restore`].
pub fn restore_with(
    file: &Path,
    data_dir: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<RestoreReport, JournalError> {
    empty(data_dir)?;
    let source = connect_to_read(file)?;
    let format = version(&source, file)?;
    if format == 0 {
        return Err(JournalError::Refused(format!("{} is no backup of a journal", file.display())));
    }
    supported(format, file)?;
    if format == FORMAT_VERSION {
        sound(inspect::verify(file)?)?;
    }
    let directory = DataDirectory::open(data_dir)?;
    let part = suffixed(&directory.database(), ".part");
    let made = copy(&source, &part, progress).and_then(|()| {
        let target = connect(&part, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        if format != FORMAT_VERSION {
            upgrade::convert(&target, &part)?;
        }
        // What the backup says of its end holds no more once the journal goes on.
        target.execute_batch("DROP TABLE IF EXISTS backup").map_err(|error| storage(&error, &part))?;
        drop(target);
        sound(inspect::verify(&part)?)
    });
    let made = made.and_then(|report| {
        let end = Mark { position: report.durable, checksum: report.end_checksum };
        MarkFile::open(directory.path(), end)
            .and_then(|_| put(&part, &directory.database()))
            .map_err(|error| failed("write", &directory.database(), &error))?;
        Ok(report)
    });
    if made.is_err() {
        // What is wrong is told; that the rest of it lies about matters less.
        let _left = fs::remove_file(&part);
    }
    let report = made?;
    Ok(RestoreReport {
        directory: data_dir.to_owned(),
        format,
        durable: report.durable,
        commits: report.commits,
        snapshots: report.snapshots,
    })
}

/// Copies one consistent view of a database into a new file that needs no log.
pub(super) fn copy(source: &Connection, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), JournalError> {
    let mut copied = || -> rusqlite::Result<()> {
        let mut target = Connection::open(to)?;
        // The transaction holds the view: without it, each commit of the daemon would begin the copy anew.
        let view = source.unchecked_transaction()?;
        view.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let copying = Backup::new(source, &mut target)?;
        loop {
            let step = copying.step(STEP_PAGES)?;
            let at = copying.progress();
            let total = u64::try_from(at.pagecount).unwrap_or(0);
            progress(total.saturating_sub(u64::try_from(at.remaining).unwrap_or(0)), total);
            if step == rusqlite::backup::StepResult::Done {
                break;
            }
        }
        drop(copying);
        target.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
        target.close().map_err(|(_, error)| error)
    };
    // What an earlier attempt left is of no use to anybody.
    let _left = fs::remove_file(to);
    copied().map_err(|error| storage(&error, to))
}

/// Writes into a copy where it ends, so that one that was cut or changed later is found out.
fn stamp(file: &Path) -> Result<(), JournalError> {
    let end = inspect::end(file)?;
    let taken_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let written = || -> rusqlite::Result<()> {
        let target = Connection::open(file)?;
        target.execute_batch(
            "CREATE TABLE IF NOT EXISTS backup(position INTEGER NOT NULL, checksum INTEGER NOT NULL,
                taken_ms INTEGER NOT NULL) STRICT; DELETE FROM backup;",
        )?;
        let taken_ms = i64::try_from(taken_ms).unwrap_or(i64::MAX);
        target.execute("INSERT INTO backup VALUES(?1, ?2, ?3)", params![end.position, end.checksum, taken_ms])?;
        target.close().map_err(|(_, error)| error)
    };
    written().map_err(|error| storage(&error, file))
}

fn sound(report: VerifyReport) -> Result<VerifyReport, JournalError> {
    match &report.damage {
        None => Ok(report),
        Some(damage) => Err(JournalError::Corrupt(damage.to_string())),
    }
}

/// A directory that is not there, or in which nothing is.
fn empty(path: &Path) -> Result<(), JournalError> {
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(JournalError::Refused(format!(
                "{} is not empty; restore into a new directory and start twinway with it",
                path.display()
            ))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("read", path, &error)),
    }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Gives a file its name once it is on disk.
fn put(part: &Path, to: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    fs::rename(part, to)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync_directory(parent.unwrap_or(Path::new(".")))
}
