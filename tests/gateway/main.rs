//! The gateway over real sockets.

#[cfg(test)]
mod discovery;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod maps;
#[cfg(test)]
mod refusals;
mod registrations;
#[cfg(test)]
mod services;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod support;
#[cfg(test)]
mod twins;
#[cfg(test)]
mod watching;
