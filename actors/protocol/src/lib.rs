//! The rules of Twinway, free of actors, clocks and I/O.
//!
//! Every numbered step of the operation flows of ITU-T FGMV-28 and FGMV-29 is a message type here
//! ([`message`]); every functional entity, digital twin and external system is a [`Behaviour`] over a
//! closed set of them. A behaviour gets a message and an [`Out`], and says what should happen; a
//! runtime (actix in production, a simulator in tests) makes it happen. Time, chance and identity
//! come in as values, so that a run can be repeated.

pub mod access;
pub mod behaviour;
pub mod collaboration;
mod document;
pub mod flow;
pub mod id;
pub mod lease;
mod mailboxes;
pub mod message;
mod mutation;
mod name;
mod pending;
pub mod problem;
pub mod registry;
pub mod signal;
pub mod spatial;
pub mod time;
pub mod trace;
pub mod twin;

pub use behaviour::{
    Answers, Ask, Asker, Behaviour, Effect, Envelope, Lane, Mailbox, Meta, Out, Recovery, Refusal, Step, Tell, Turn,
    WireSet,
};
pub use document::{JsonDoc, merge_patch};
pub use id::{EntityId, EventId, PendingKey, Ref};
pub use mailboxes::{Accepted, RefusedStep};
pub use name::{
    EntryId, ExecutionId, InvocationId, MapId, NAME_BYTES_MAX, NameError, ObjectUri, PermissionId, RegionId,
    SubscriptionId, SystemId, TwinId, UserId, WorldId,
};
pub use pending::Pending;
pub use problem::{Problem, ProblemKind};
pub use trace::StepId;
