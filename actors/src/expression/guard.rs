//! What is checked before the recursive parser sees an expression: hostile text would overflow its stack.

use cel::ParseErrors;

use super::{EXPRESSION_BRACKETS_MAX, EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, ExpressionError, Fault, Misfit};

/// Checks the length and the depth, and gives how many brackets stand in each other.
///
/// The scan takes no character for a token that the lexer would not take, and refuses what the lexer would recover from, so
/// that no bracket hides from it.
pub(super) fn check(text: &str) -> Result<usize, Misfit> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let message =
            format!("an expression has at most {EXPRESSION_BYTES_MAX} bytes, and this one has {}", text.len());
        return Err(Misfit::new(Fault::Limit, 0, message));
    }
    let chars: Vec<char> = text.chars().collect();
    let mut scan = Scan { chars: &chars, at: 0, open: vec![Level::default()], brackets: 0 };
    while let Some(c) = scan.peek(0) {
        scan.token(c)?;
    }
    match scan.open.as_slice() {
        [_, .., last] => Err(Misfit::new(Fault::Syntax, last.at, "this bracket is never closed")),
        _ => Ok(scan.brackets),
    }
}

/// What stands between two brackets.
#[derive(Default)]
struct Level {
    /// Where it was opened, and what closes it.
    at: usize,
    close: Option<char>,
    /// Operators and selections in a row: each may be one step down in the tree.
    row: usize,
    /// Those that a comma ends, but not `&&` or `||`.
    ternaries: usize,
}

struct Scan<'t> {
    chars: &'t [char],
    at: usize,
    open: Vec<Level>,
    /// The most brackets that stood in each other.
    brackets: usize,
}

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn misfit(&self, message: impl Into<String>) -> Misfit {
        Misfit::new(Fault::Syntax, self.at, message)
    }

    fn token(&mut self, c: char) -> Result<(), Misfit> {
        match c {
            '"' | '\'' => return self.literal(false),
            '/' if self.peek(1) == Some('/') => {
                while self.peek(0).is_some_and(|c| c != '\n') {
                    self.at += 1;
                }
                return Ok(());
            }
            'a'..='z' | 'A'..='Z' | '_' => return self.word(),
            '0'..='9' => return self.number(),
            '(' | '[' | '{' => self.opens(c),
            ')' | ']' | '}' => self.closes(c)?,
            '&' | '|' if self.peek(1) == Some(c) => {
                self.at += 1;
                self.level(|level| level.row = 0);
            }
            '=' if self.peek(1) != Some('=') => return Err(self.misfit("`=` is no operator; equality is `==`")),
            '=' | '<' | '>' | '!' => {
                self.at += usize::from(self.peek(1) == Some('='));
                self.level(|level| level.row += 1);
            }
            '+' | '-' | '*' | '/' | '%' | '.' => self.level(|level| level.row += 1),
            '?' => self.level(|level| (level.ternaries, level.row) = (level.ternaries + 1, 0)),
            ':' => self.level(|level| level.row = 0),
            ',' => self.level(|level| (level.ternaries, level.row) = (0, 0)),
            ' ' | '\t' | '\n' | '\r' | '\u{c}' => {}
            _ => return Err(self.misfit(format!("`{}` does not belong here", c.escape_default()))),
        }
        self.at += 1;
        let depth: usize = self.open.iter().map(|level| 1 + level.row + level.ternaries).sum();
        self.brackets = self.brackets.max(self.open.len() - 1);
        let message = if self.brackets > EXPRESSION_BRACKETS_MAX {
            format!("more than {EXPRESSION_BRACKETS_MAX} brackets stand in each other")
        } else if depth > EXPRESSION_DEPTH_MAX {
            format!("more than {EXPRESSION_DEPTH_MAX} brackets and operators stand in each other or in a row")
        } else {
            return Ok(());
        };
        Err(Misfit::new(Fault::Limit, self.at - 1, message))
    }

    fn level(&mut self, change: impl FnOnce(&mut Level)) {
        if let Some(level) = self.open.last_mut() {
            change(level);
        }
    }

    fn opens(&mut self, c: char) {
        let close = match c {
            '(' => ')',
            '[' => ']',
            _ => '}',
        };
        // What is called or indexed stands one step down from its call.
        self.level(|level| level.row += 1);
        self.open.push(Level { at: self.at, close: Some(close), ..Level::default() });
    }

    fn closes(&mut self, c: char) -> Result<(), Misfit> {
        if self.open.last().and_then(|level| level.close) != Some(c) {
            return Err(self.misfit(format!("`{c}` closes nothing")));
        }
        self.open.pop();
        Ok(())
    }

    /// A name, or the prefix of a literal.
    fn word(&mut self) -> Result<(), Misfit> {
        let begins = self.at;
        while self.peek(0).is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.at += 1;
        }
        let word = self.chars.get(begins..self.at).unwrap_or_default();
        if matches!(self.peek(0), Some('"' | '\'')) {
            return match word {
                ['r' | 'R'] => self.literal(true),
                _ => Err(self.misfit("a text begins without a prefix, or with `r`; JSON has no bytes")),
            };
        }
        if word == ['i', 'n'] {
            self.level(|level| level.row += 1);
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Misfit> {
        let hex = self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X'));
        while let Some(c) = self.peek(0) {
            let exponent = !hex && matches!(c, 'e' | 'E') && matches!(self.peek(1), Some('+' | '-'));
            let fraction = c == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit());
            if !(c.is_ascii_alphanumeric() || fraction) {
                break;
            }
            self.at += 1 + usize::from(exponent);
        }
        Ok(())
    }

    /// A text in quotes, in three quotes, or raw.
    fn literal(&mut self, raw: bool) -> Result<(), Misfit> {
        let begins = self.at;
        let Some(quote) = self.peek(0) else { return Ok(()) };
        let long = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let unclosed = || Misfit::new(Fault::Syntax, begins, "this text is never closed");
        self.at += if long { 3 } else { 1 };
        loop {
            match self.peek(0).ok_or_else(unclosed)? {
                '\\' if !raw => self.escape()?,
                '\n' | '\r' if !long => return Err(unclosed()),
                c if c == quote && (!long || self.peek(1) == Some(quote) && self.peek(2) == Some(quote)) => {
                    self.at += if long { 3 } else { 1 };
                    return Ok(());
                }
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), Misfit> {
        let digits = |from: usize, count: usize, radix: u32| {
            (from..from + count).all(|ahead| self.peek(ahead).is_some_and(|c| c.is_digit(radix)))
        };
        let length = match self.peek(1) {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`') => 2,
            Some('x' | 'X') if digits(2, 2, 16) => 4,
            Some('u') if digits(2, 4, 16) => 6,
            Some('U') if digits(2, 8, 16) => 10,
            Some('0'..='3') if digits(2, 2, 8) => 4,
            _ => return Err(self.misfit("there is no such escape")),
        };
        self.at += length;
        Ok(())
    }
}

/// The first of the parser's errors, in words of one line.
pub(super) fn worded(errors: &ParseErrors, text: &str) -> ExpressionError {
    let first = errors.errors.iter().find(|error| error.pos.0 > 0).or(errors.errors.first());
    let place = |n: isize| usize::try_from(n).unwrap_or(1).max(1);
    let (line, column) = first.map_or((1, 1), |error| (place(error.pos.0), place(error.pos.1)));
    // Its messages repeat much of the text, and break lines.
    let message = first.map_or("", |error| error.msg.lines().next().unwrap_or_default());
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.chars().take(200).collect::<String>();
    let message = if text.trim().is_empty() { "the expression is empty".to_owned() } else { message };
    ExpressionError { fault: Fault::Syntax, line, column, message }
}
