//! What a search asks for, whatever is searched.

use twinway_protocol::registry::{SystemQuery, TwinQuery};

use super::Field;

/// A field that has to say this, with the parameter that asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) parameter: &'static str,
    pub(super) field: Field,
    pub(super) text: String,
}

/// What a search asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(super) wanted: Vec<Wanted>,
    pub(super) text: Option<String>,
    pub(super) filter: Option<String>,
    pub(super) sort: Option<String>,
    pub(super) cursor: Option<String>,
    pub(super) limit: Option<u32>,
}

fn wanted<const N: usize>(all: [(&'static str, Field, Option<String>); N]) -> Vec<Wanted> {
    let given = |(parameter, field, text): (_, _, Option<String>)| Some(Wanted { parameter, field, text: text? });
    all.into_iter().filter_map(given).collect()
}

impl From<SystemQuery> for Query {
    fn from(query: SystemQuery) -> Self {
        let SystemQuery { system_type, text, filter, sort, operation, physical_object, cursor, limit } = query;
        let wanted = wanted([
            ("type", Field::Type, system_type),
            ("operation", Field::Apis, operation),
            ("physicalObject", Field::TwinObjects, physical_object),
        ]);
        Self { wanted, text, filter, sort, cursor, limit }
    }
}

impl From<TwinQuery> for Query {
    fn from(query: TwinQuery) -> Self {
        let TwinQuery { system, physical_object, text, filter, sort, cursor, limit } = query;
        let wanted = wanted([
            ("system", Field::TwinLister, system.map(|system| system.as_str().to_owned())),
            ("physicalObject", Field::TwinObject, physical_object),
        ]);
        Self { wanted, text, filter, sort, cursor, limit }
    }
}
