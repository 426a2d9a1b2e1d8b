//! The actors of external systems: each speaks for one system outside.

pub mod digital_twin_system;
mod measuring;
pub mod metaverse_system;
mod opened;
mod outside;
mod passing;
pub mod physical_object;
pub mod third_party_system;
pub mod user_device;
