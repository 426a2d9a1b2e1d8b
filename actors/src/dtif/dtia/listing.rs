//! The list of twins, and searches in it (FGMV-29 9.2 steps 6 and 7; the list of 8.3.1).
//!
//! Whoever may list twins may see the entry and the Thing Description of each; that, and no more, is what a search names.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;
use serde_json::Value;
use twinway_protocol::{
    JsonDoc, ObjectUri, Out, Problem, ProblemKind, SystemId, TwinId,
    message::{ListTwins, TwinsListed},
    registry::TwinSystem,
    twin::{Affordances, RegisteredTwin, TwinListing},
};

use super::{Dtia, KnownTwin};
use crate::discovery::{Fact, Field, Kind, Subject, class_fact};

/// What only a search wants of a description.
#[derive(Debug, Default)]
pub(super) struct About {
    description: Box<str>,
    types: Box<[Box<str>]>,
}

/// The same, as it stands in the description.
#[derive(Debug, Default, Deserialize)]
struct Written<'d> {
    #[serde(borrow, default)]
    description: Cow<'d, str>,
    #[serde(rename = "@type", default)]
    types: Value,
}

impl About {
    fn read(description: &JsonDoc) -> Self {
        // A description whose `description` is no text is kept as it came, and has no words.
        let Written { description, types } = serde_json::from_str(description.as_str()).unwrap_or_default();
        let name = |name: &Value| name.as_str().map(Into::into);
        let types = match &types {
            Value::Array(types) => types.iter().filter_map(name).collect(),
            one => name(one).into_iter().collect(),
        };
        Self { description: description.into(), types }
    }
}

impl Subject for KnownTwin {
    const KIND: Kind = Kind::Twin;
    type Id = TwinId;
    const LISTS: &'static [Field] = &[Field::TwinTypes, Field::TwinProperties, Field::TwinActions, Field::TwinEvents];

    fn id(&self) -> &TwinId {
        &self.entry.id
    }

    fn fact(&self, field: Field) -> Fact<'_> {
        match field {
            Field::TwinId => Fact::Text(self.entry.id.as_str()),
            Field::TwinTitle => Fact::Text(&self.affordances.title),
            Field::TwinDescription => Fact::Text(&self.about.description),
            Field::TwinClass => class_fact(self.entry.class),
            Field::TwinLister => Fact::Text(self.system.as_str()),
            Field::TwinObject => Fact::text(self.entry.physical_object.as_ref().map(ObjectUri::as_str)),
            Field::TwinTypes => Fact::List(self.about.types.iter().map(|name| &**name).collect()),
            Field::TwinProperties => Fact::List(self.affordances.properties.keys().map(String::as_str).collect()),
            Field::TwinActions => Fact::List(self.affordances.actions.iter().map(String::as_str).collect()),
            Field::TwinEvents => Fact::List(self.affordances.events.iter().map(String::as_str).collect()),
            _ => Fact::Absent,
        }
    }

    fn lists(&self, field: Field, item: &str) -> bool {
        match field {
            Field::TwinTypes => self.about.types.iter().any(|name| **name == *item),
            Field::TwinProperties => self.affordances.properties.contains_key(item),
            Field::TwinActions => self.affordances.actions.contains(item),
            Field::TwinEvents => self.affordances.events.contains(item),
            _ => false,
        }
    }
}

impl Dtia {
    /// Keeps a twin as it is listed now: the next search finds it so.
    pub(super) fn keep_twin(&mut self, system: &TwinSystem, twin: &RegisteredTwin) -> Result<(), Problem> {
        self.twins.keep(KnownTwin {
            system: system.description.id.clone(),
            system_entity: system.entity,
            entity: twin.entity,
            entry: Arc::clone(&twin.entry),
            affordances: Affordances::read(&twin.entry.description)?,
            about: About::read(&twin.entry.description),
        });
        Ok(())
    }

    /// FGMV-29 9.2 steps 6 and 7: the metaverse system looks at what there is.
    pub(super) fn list(&mut self, question: ListTwins, out: &mut Out<'_, Self>) -> Result<TwinsListed, Problem> {
        let ListTwins { metaverse, query } = question;
        if let Some(system) = query.system.as_ref().filter(|system| !self.systems.contains(*system)) {
            return Err(unknown(system));
        }
        let selections = &self.selections;
        let listing = |known: &KnownTwin| TwinListing {
            id: known.entry.id.clone(),
            system: known.system.clone(),
            title: known.affordances.title.clone(),
            physical_object: known.entry.physical_object.clone(),
            class: known.entry.class,
            selected: selections.has(&metaverse, &known.entry.id),
            period_ms: selections.period(&metaverse, &known.entry.id),
        };
        let limits = (&self.settings).into();
        let page = self.searches.page(&self.twins, &(*query).into(), &limits, out.chance(), listing)?;
        Ok(TwinsListed { page })
    }
}

fn unknown(system: &SystemId) -> Problem {
    Problem::new(ProblemKind::SystemUnknown, format!("no twin system `{system}` is registered"))
}
