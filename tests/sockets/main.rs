//! A daemon in a process of its own, and external systems in processes of theirs: everything goes over real sockets.

#[cfg(test)]
mod bad_requests;
#[cfg(test)]
mod procedures;
#[cfg(test)]
mod support;
#[cfg(test)]
mod trace;
