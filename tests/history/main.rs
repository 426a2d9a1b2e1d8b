//! What every history does (FGMV-29 8.3.4).

#[cfg(test)]
mod behaviour;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod limits;
