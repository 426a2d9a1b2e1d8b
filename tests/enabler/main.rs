//! The enabler through the library's own interface, with external systems in the test's process.

#[cfg(test)]
mod acquiring;
#[cfg(test)]
mod avatars;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod house;
#[cfg(test)]
mod many_twins;
#[cfg(test)]
mod outsiders;
#[cfg(test)]
mod procedures;
#[cfg(test)]
mod recovery;
#[cfg(test)]
#[path = "../support/steps.rs"]
mod steps;
