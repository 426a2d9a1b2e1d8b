//! The entities of Twinway, and the runtime that runs them on actix.

pub mod assembly;
pub mod codec;
pub mod discovery;
pub mod dtif;
pub mod expression;
pub mod external;
pub mod port;
mod record;
pub mod runtime;
mod schema;
mod settings;
pub mod sif;
pub mod spatial;
mod standing;
pub mod sync_supervisor;
pub mod twin;

#[cfg(test)]
mod trial;

pub use record::NoRecord;
pub use settings::{HealthRules, Settings};
