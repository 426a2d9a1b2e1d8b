//! What a twin shows: the values of the properties that its description names.

use std::{collections::BTreeMap, sync::Arc};

use twinway_protocol::{
    JsonDoc, Problem,
    twin::{Affordances, PropertyValue, TwinView},
};

/// The names of the properties that a description has, to be looked up in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PropertyNames(Box<[Box<str>]>);

impl PropertyNames {
    /// Those of a description.
    ///
    /// # Errors
    /// When it is not a Thing Description.
    pub(crate) fn read(description: &JsonDoc) -> Result<Self, Problem> {
        // They come in order.
        let names = Affordances::read(description)?.properties;
        Ok(Self(names.into_keys().map(String::into_boxed_str).collect()))
    }

    /// Whether `name` is among them.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(name)).is_ok()
    }
}

/// What is known before the twin is described again after a restart.
#[derive(Debug, Default)]
pub(super) struct Undescribed {
    version: u64,
    properties: BTreeMap<String, PropertyValue>,
}

/// The values of the properties.
#[derive(Debug)]
pub(super) enum Shown {
    /// As they were written down.
    Undescribed(Box<Undescribed>),
    /// As readers have it.
    View(Arc<TwinView>),
}

impl Shown {
    pub(super) fn version(&self) -> u64 {
        match self {
            Self::Undescribed(bare) => bare.version,
            Self::View(view) => view.version,
        }
    }

    pub(super) fn properties(&self) -> &BTreeMap<String, PropertyValue> {
        match self {
            Self::Undescribed(bare) => &bare.properties,
            Self::View(view) => &view.properties,
        }
    }

    pub(super) fn change(&mut self, to: u64, by: BTreeMap<String, PropertyValue>) {
        let (version, properties) = match self {
            Self::Undescribed(bare) => (&mut bare.version, &mut bare.properties),
            Self::View(view) => {
                // Readers keep what they were handed; the documents inside are shared.
                let view = Arc::make_mut(view);
                (&mut view.version, &mut view.properties)
            }
        };
        *version = to;
        properties.extend(by);
    }
}
