//! Chains of third-party systems over sockets (FGMV-29 8.2.4): a daemon, and three servers whose APIs have nothing in
//! common.

#[cfg(test)]
mod authorizations;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod breaker;
#[cfg(test)]
mod command;
#[cfg(test)]
mod crash;
#[cfg(test)]
#[path = "../support/daemon.rs"]
mod daemon;
#[cfg(test)]
mod order;
#[cfg(test)]
mod server;
#[cfg(test)]
mod world;
