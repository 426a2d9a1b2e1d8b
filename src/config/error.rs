//! What can be wrong with a configuration, and where.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What stood in the way.
        error: io::Error,
    },
    /// Something in the file is not understood.
    #[error("{0}")]
    Wrong(Box<Place>),
    /// Values are out of bounds.
    #[error("{}: {}", file.display(), problems.join("; "))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// All that is wrong with it, each with its key.
        problems: Vec<String>,
    },
}

/// A place in the file that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// The key, with the tables that it is in; absent when the text is not TOML.
    pub key: Option<String>,
    /// What is wrong there.
    pub message: String,
    /// The setting that was probably meant.
    pub meant: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if let Some(key) = &self.key {
            write!(f, "`{key}`: ")?;
        }
        f.write_str(&self.message)?;
        match &self.meant {
            Some(meant) => write!(f, "; did you mean `{meant}`?"),
            None => Ok(()),
        }
    }
}

impl Place {
    /// The place of `error` in `text`; `path` is the setting at which reading stopped, if it came so far.
    pub(super) fn of(file: &Path, text: &str, path: Option<String>, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        let (_, last_line) = before.rsplit_once('\n').unwrap_or(("", before));
        let (line, column) = (before.matches('\n').count() + 1, last_line.chars().count() + 1);
        let mut message = error.message().trim().replace('\n', "; ");
        // The path of an unknown key ends at the key or at its table, as the format reports it; `.` is the top.
        let mut key = path.filter(|path| path != ".");
        let mut meant = None;
        if let Some(unknown) = Unknown::read(&message) {
            let table = key.filter(|path| path != unknown.name);
            let table =
                table.map(|path| path.strip_suffix(&format!(".{}", unknown.name)).map_or(path.clone(), str::to_owned));
            let full = |name: &str| table.as_ref().map_or(name.to_owned(), |table| format!("{table}.{name}"));
            meant = nearest(unknown.name, &unknown.known).map(full);
            let known =
                if meant.is_some() { String::new() } else { format!("; known are {}", unknown.known.join(", ")) };
            let (name, what) = (full(unknown.name), unknown.what);
            message = format!("there is no such {what}{known}");
            key = Some(name);
        }
        Self { file: file.to_path_buf(), line, column, key, message, meant }
    }
}

/// What serde says of a name that it does not know: the name, and those that it does know.
struct Unknown<'a> {
    what: &'static str,
    name: &'a str,
    known: Vec<&'a str>,
}

impl<'a> Unknown<'a> {
    fn read(message: &'a str) -> Option<Self> {
        let what = if message.starts_with("unknown field") { "setting" } else { return None };
        let mut quoted = message.split('`').skip(1).step_by(2);
        let name = quoted.next()?;
        Some(Self { what, name, known: quoted.collect() })
    }
}

/// The name that is so near to `name` that it was probably meant.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    let near = known.iter().map(|known| (distance(name, known), *known)).min()?;
    (near.0 <= limit).then_some(near.1)
}

/// How many characters must be changed, put in or taken out to make one text of the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (done, a) in from.chars().enumerate() {
        let mut next = vec![done + 1];
        for (pair, b) in row.windows(2).zip(&to) {
            let (&[diagonal, above], Some(&left)) = (pair, next.last()) else { continue };
            next.push((diagonal + usize::from(a != *b)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn the_distance_counts_changes() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("lisen", "listen"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        assert_eq!(nearest("lisen", &["data", "listen"]), Some("listen"));
        assert_eq!(nearest("colour", &["data", "listen"]), None);
    }
}
