//! Sync leases in a daemon of its own, over real sockets, on real files, through SIGKILL, SIGSTOP and broken
//! connections: each guarantee by itself, and all of them in recorded histories (FGMV-28 7.1.3, REQ-DT-07, REQ-DT-08).

#[cfg(test)]
mod api;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
#[path = "../support/chance.rs"]
mod chance;
#[cfg(test)]
mod changing;
#[cfg(test)]
#[path = "../support/daemon.rs"]
mod daemon;
#[cfg(test)]
mod failing;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod history;
#[cfg(test)]
mod holding;
#[cfg(test)]
mod judged;
#[cfg(test)]
mod losing;
#[cfg(test)]
mod plant;
#[cfg(test)]
mod together;
#[cfg(test)]
mod waiting;
#[cfg(test)]
mod world;
