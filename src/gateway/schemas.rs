//! How the table of routes names the schemas of bodies: functions, so that the table can be a constant.

use std::collections::BTreeMap;

use utoipa::{
    ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Ref, SchemaType, Type},
    },
};

/// The named schemas of a document, by name.
pub(super) type Components = BTreeMap<String, RefOr<Schema>>;
/// Gives the schema of a type, and adds what it refers to.
pub(super) type SchemaOf = fn(&mut Components) -> RefOr<Schema>;

/// A type, by its name.
pub(super) fn schema<T: ToSchema>(components: &mut Components) -> RefOr<Schema> {
    let name = T::name().into_owned();
    let mut others = Vec::new();
    T::schemas(&mut others);
    components.extend(others);
    components.insert(name.clone(), T::schema());
    RefOr::Ref(Ref::from_schema_name(name))
}

/// A list of it.
pub(super) fn list_of<T: ToSchema>(components: &mut Components) -> RefOr<Schema> {
    ArrayBuilder::new().items(schema::<T>(components)).build().into()
}

/// An object whose members are all of it.
pub(super) fn map_of<T: ToSchema>(components: &mut Components) -> RefOr<Schema> {
    let members = AdditionalProperties::RefOr(schema::<T>(components));
    ObjectBuilder::new().additional_properties(Some(members)).build().into()
}

/// A page of a list of it.
pub(super) fn page_of<T: ToSchema>(components: &mut Components) -> RefOr<Schema> {
    let name = format!("PageOf{}", T::name());
    let next = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .description(Some("The `cursor` of the next page; null: there is none."));
    let page = ObjectBuilder::new()
        .property("items", list_of::<T>(components))
        .required("items")
        .property("next", next)
        .description(Some("One page of a list, in the order of ids."));
    components.insert(name.clone(), page.build().into());
    RefOr::Ref(Ref::from_schema_name(name))
}
