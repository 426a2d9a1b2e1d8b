//! Registered third-party systems by where they are (FGMV-28 7.3.3): asked of TPSD.

use std::collections::BTreeSet;

use super::steps;
use crate::{
    StepId, SystemId, UserId,
    spatial::{Bounds, FoundPlace, Frame, PlaceQuery},
};

/// Asks which registered third-party systems offer services at a place.
#[derive(Clone, Debug)]
pub struct FindRegisteredPlaces {
    /// What is wanted.
    pub wanted: Box<PlacesWanted>,
}

/// What is wanted of a place.
#[derive(Clone, Debug)]
pub struct PlacesWanted {
    /// The metaverse system that asks.
    pub metaverse: SystemId,
    /// For this user.
    pub user: Option<UserId>,
    /// What the user's device is capable of; absent: of everything.
    pub capabilities: Option<BTreeSet<String>>,
    /// The map's frame.
    pub frame: Frame,
    /// Where to look, in that frame, and what for.
    pub query: PlaceQuery,
    /// Boxes of the map that the asker may not see into.
    pub hidden: Vec<Bounds>,
    /// A CEL expression over the system, as for searches.
    pub filter: Option<String>,
}

/// They are these.
#[derive(Clone, Debug)]
pub struct RegisteredPlacesFound {
    /// The nearest first; in a box, by id.
    pub places: Vec<FoundPlace>,
}

steps! {
    ask FindRegisteredPlaces -> RegisteredPlacesFound;
    answer RegisteredPlacesFound;
}
