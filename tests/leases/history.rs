//! Histories of many clients on a few objects, under SIGKILL, SIGSTOP and broken connections; and what judges them.
//!
//! Clients are processes that append to one file: a line when they send something, a line when they have an answer. The
//! file's order is the order of real time, whichever process is stopped in between. The devices and whoever kills write
//! into it too.

mod client;
mod devices;
mod judge;
mod planted;
mod proxy;
mod record;
mod register;
mod run;
