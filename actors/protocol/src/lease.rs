//! Sync leases: who may drive a physical object now (FGMV-28 7.1.3, REQ-DT-07, REQ-DT-08; FGMV-29 8.3.4).
//!
//! Many twins, of many virtual worlds, may stand for one physical object; one user at a time is synchronized with it.
//! A [`Table`] decides who, for all objects: it is a state machine without clock or I/O, which takes an [`Input`]
//! and says [`Effect`]s. The gate, the object's actor, makes a decision true: it accepts a command only with the
//! newest token, from its holder, in time; and it says that a token is fenced only when nothing sent under an
//! older one can act on the device any more.
//!
//! ```text
//! Free ─► Fencing(F) ─► Held(F) ─► Revoking(F, grace) ─► Fencing(F') ─► …       Fencing unanswered ─► Quarantined
//! ```
//!
//! | word | is |
//! |---|---|
//! | request | somebody wants an object or a set of objects, now |
//! | claim | a request as the table keeps it: it waits, holds, or has ended |
//! | lease | a claim that was granted, with its token |
//! | vacate | a lease ends, and its objects are nobody's or the next one's |
//! | ready | a claim that is first in line for each of its objects, and above everyone who holds one |
//!
//! Study: Gray and Cheriton, "Leases", SOSP 1989; Burrows, "The Chubby lock service", OSDI 2006 (sequencers).

mod change;
mod claim;
pub(crate) mod document;
mod due;
mod fence;
mod hold;
mod ids;
mod input;
mod limits;
pub mod mutation;
mod object;
mod replay;
mod request;
mod reserve;
mod retire;
pub mod rules;
mod settle;
mod table;
mod terms;
mod token;
mod view;
pub mod watch;

pub use change::{Change, ClaimRecord, ClaimRef, Conflict, Done, Effect, End, Notice, Over, Refused, Reply};
pub use fence::EPOCHS_AHEAD_MAX;
pub use input::{Booking, Input, Shown};
pub use limits::LeaseLimits;
pub use table::Table;
pub use terms::{
    Claimant, Fencing, Grant, Holder, HolderClass, Manner, Objects, Priority, PriorityRule, Request, Reservation,
    Synchronization, Terms, Wanted,
};
pub use token::{RequestId, RequestIdError, Token, TokenError};
pub use view::{ClaimView, Counts, ObjectView, Phase};
