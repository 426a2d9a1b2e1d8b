//! The record of entities that write nothing down.

use serde::{Deserialize, Serialize};

/// The record of entities that write nothing down: there is none.
#[derive(Debug, Serialize, Deserialize)]
pub enum NoRecord {}
