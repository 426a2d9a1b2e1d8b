//! The runtime: what runs behaviours on actix, and how the rest of the process talks to them.
//!
//! An actix actor is a shell around one behaviour, or around a shard of them. It does not use actix's mailbox as
//! its queue: that bound is advisory and its drain does not yield. Instead it has an inbox, and a pump that takes
//! a bounded number of turns and yields.

mod book;
mod callers;
mod cells;
mod clock;
mod handle;
mod hasher;
mod inbox;
mod options;
mod recovery;
mod shell;
mod start;
mod tracer;
mod turn;

pub use book::Arrival;
pub use callers::CALLER_KIND;
pub use handle::Handle;
pub use inbox::{Inbox, Rejection};
pub use options::Options;
pub use start::{Builder, StartError, System};
pub use tracer::{TraceChunk, TraceFeed};
