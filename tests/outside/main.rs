//! The way out, as signals go in and as sessions, listeners, webhooks and readers see it.

#[cfg(test)]
mod sessions;
#[cfg(test)]
mod support;
#[cfg(test)]
mod watching;
#[cfg(test)]
mod webhooks;
