//! The systems integration functions (FGMV-29 8.2).

mod converting;
pub mod dtda;
pub mod mapping;
mod numbered;
pub mod sdc;
pub mod tpsaa;
pub mod tpsd;
pub mod tpsr;
pub(crate) mod transform;

#[cfg(test)]
pub(crate) mod testing;
