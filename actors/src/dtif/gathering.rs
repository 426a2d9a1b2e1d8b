//! Several answers that together make one: in FGMV-29 9.2 steps 2, 7 and 10.

use twinway_protocol::Problem;

/// Counts the answers that one request waits for, and keeps the first problem among them.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    waiting: usize,
    problem: Option<Problem>,
}

impl Gathering {
    /// Waits for this many answers.
    pub(super) fn new(waiting: usize) -> Self {
        Self { waiting, problem: None }
    }

    /// Takes an answer; true: it was the last.
    pub(super) fn hear<T>(&mut self, answer: Result<T, Problem>) -> bool {
        if let Err(problem) = answer {
            self.problem.get_or_insert(problem);
        }
        self.waiting = self.waiting.saturating_sub(1);
        self.waiting == 0
    }

    /// What came of all of them.
    pub(super) fn outcome(self) -> Result<(), Problem> {
        self.problem.map_or(Ok(()), Err)
    }
}
