//! Thing Models: a class of twins described once (W3C WoT Thing Description 1.1, section 10).

use super::steps;
use crate::{JsonDoc, StepId};

/// A twin system registers a Thing Model, by which it describes its twins.
#[derive(Clone, Debug)]
pub struct KeepThingModel {
    /// Its name, unique among those of the system.
    pub id: Box<str>,
    /// The document, kept byte for byte.
    pub model: JsonDoc,
}

/// A twin system reads a Thing Model of its own.
#[derive(Clone, Debug)]
pub struct ReadThingModel {
    /// Its name.
    pub id: Box<str>,
}

/// The Thing Model.
#[derive(Clone, Debug)]
pub struct ThingModelShown {
    /// The document.
    pub model: JsonDoc,
}

steps! {
    ask KeepThingModel -> ThingModelShown;
    ask ReadThingModel -> ThingModelShown;
    answer ThingModelShown;
}
