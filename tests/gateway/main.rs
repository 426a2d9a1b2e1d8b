//! The gateway over real sockets.

#[cfg(test)]
mod acquiring;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod client;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod discovery;
#[cfg(test)]
mod gathering;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod mapkeeping;
#[cfg(test)]
mod maps;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod registrations;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod services;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod support;
#[cfg(test)]
mod twins;
#[cfg(test)]
mod wanting;
#[cfg(test)]
mod watching;
