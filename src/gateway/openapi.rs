//! The OpenAPI documents, made from the table of routes.

mod v30;

use bytes::Bytes;
use twinway_protocol::message::{OutsideAnswer, OutsideRequest};
use utoipa::openapi::{
    Components as Named, Content, HttpMethod, Info, License, OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref,
    RefOr, Required, Response, ResponseBuilder, ResponsesBuilder, Tag,
    path::{Operation, OperationBuilder, Parameter as PathParameter, ParameterBuilder, ParameterIn, PathItemBuilder},
    request_body::RequestBodyBuilder,
    schema::{ObjectBuilder, Type},
    security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
};

use super::{
    call::{JSON, PROBLEM},
    problem::ProblemDocument,
    routes::{self, Access, Parameter, Route, Run, Verb},
    schemas::{Components, schema},
};

/// The served documents.
#[derive(Debug)]
pub(super) struct Documents {
    /// OpenAPI 3.1.
    pub(super) v31: Bytes,
    /// OpenAPI 3.0.
    pub(super) v30: Bytes,
}

impl Documents {
    pub(super) fn new() -> Result<Self, serde_json::Error> {
        let document = serde_json::to_value(document())?;
        let v31 = serde_json::to_vec(&document)?.into();
        let v30 = serde_json::to_vec(&v30::project(document))?.into();
        Ok(Self { v31, v30 })
    }
}

const BEARER: &str = "bearer";
const PROBLEM_RESPONSE: &str = "Problem";

fn document() -> OpenApi {
    let mut components = Components::new();
    let problem = schema::<ProblemDocument>(&mut components);
    let mut paths = PathsBuilder::new();
    for route in routes::all() {
        paths = paths.path(route.path, item(route, &mut components));
    }
    let request = RequestBodyBuilder::new()
        .description(Some("With the header `Twinway-Request`: the request's id."))
        .content(JSON, Content::new(Some(schema::<OutsideRequest>(&mut components))))
        .required(Some(Required::True));
    let answered = ResponsesBuilder::new()
        .response(
            "200",
            Response::builder()
                .description("The answer.")
                .content(JSON, Content::new(Some(schema::<OutsideAnswer>(&mut components)))),
        )
        .response("202", Response::new("The answer will come by POST of `…/requests/{id}/answer`."));
    let ask = OperationBuilder::new()
        .operation_id(Some("askExternalSystem"))
        .summary(Some("What a system that is reached by webhook is asked."))
        .request_body(Some(request.build()))
        .responses(answered.build());
    let webhooks = PathsBuilder::new().path("request", PathItem::new(HttpMethod::Post, ask));
    let mut named = Named::new();
    named.schemas.extend(components);
    let refusal = Response::builder()
        .description("What stood in the way (RFC 9457); `type` explains itself.")
        .content(PROBLEM, Content::new(Some(problem)));
    named.responses.insert(PROBLEM_RESPONSE.to_owned(), refusal.build().into());
    named.add_security_scheme(BEARER, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let mut info = Info::new("Twinway", env!("CARGO_PKG_VERSION"));
    info.description = Some("The integration enabler of ITU-T FGMV-29: its interfaces to metaverse systems (MII), digital twin systems (DII) and third-party systems (SII).".to_owned());
    info.license = Some(License::new("Apache-2.0 OR MIT"));
    OpenApiBuilder::new()
        .info(info)
        .tags(Some(["mii", "dii", "sii", "operation"].map(Tag::new)))
        .paths(paths.build())
        .webhooks(Some(webhooks.build()))
        .components(Some(named))
        .build()
}

fn item(route: &Route, components: &mut Components) -> PathItem {
    let method = match route.verb {
        Verb::Get => HttpMethod::Get,
        Verb::Post => HttpMethod::Post,
        Verb::Put => HttpMethod::Put,
        Verb::Patch => HttpMethod::Patch,
        Verb::Delete => HttpMethod::Delete,
    };
    PathItemBuilder::new().operation(method, operation(route, components)).build()
}

fn tag(route: &Route) -> &'static str {
    let first = route.path.split('/').nth(1).unwrap_or_default();
    ["mii", "dii", "sii"].into_iter().find(|tag| *tag == first).unwrap_or("operation")
}

fn operation(route: &Route, components: &mut Components) -> Operation {
    let mut operation = OperationBuilder::new().tag(tag(route)).summary(Some(route.about)).operation_id(Some(route.id));
    for parameter in route.path_parameters {
        operation = operation.parameter(document_parameter(parameter, ParameterIn::Path));
    }
    for parameter in route.query {
        operation = operation.parameter(document_parameter(parameter, ParameterIn::Query));
    }
    for parameter in route.headers {
        operation = operation.parameter(document_parameter(parameter, ParameterIn::Header));
    }
    if let Run::Session(_) = route.run {
        let ticket = Parameter::text("ticket", "A ticket, in place of the token, for browsers.");
        operation = operation.parameter(document_parameter(&ticket, ParameterIn::Query));
    }
    operation = match route.access {
        // An empty requirement says that none is needed.
        Access::Open => operation.security(SecurityRequirement::default()),
        Access::Any | Access::Only(_) => {
            let acting = Parameter::text("as", "The system to act for; an operator's token only.");
            operation
                .parameter(document_parameter(&acting, ParameterIn::Query))
                .security(SecurityRequirement::new(BEARER, [""; 0]))
        }
    };
    if let Some(schema) = route.body {
        let mut body = RequestBodyBuilder::new().required(Some(Required::True));
        for media in route.body_media {
            body = body.content(*media, Content::new(Some(schema(components))));
        }
        operation = operation.request_body(Some(body.build()));
    }
    operation.responses(responses(route, components)).build()
}

fn document_parameter(parameter: &Parameter, place: ParameterIn) -> PathParameter {
    let kind = if parameter.number { Type::Integer } else { Type::String };
    ParameterBuilder::new()
        .name(parameter.name)
        .parameter_in(place)
        .required(if parameter.needed { Required::True } else { Required::False })
        .description(Some(parameter.about))
        .schema(Some(ObjectBuilder::new().schema_type(kind)))
        .build()
}

fn responses(route: &Route, components: &mut Components) -> utoipa::openapi::Responses {
    let mut answers: std::collections::BTreeMap<String, ResponseBuilder> = std::collections::BTreeMap::new();
    for answer in route.answers {
        let entry =
            answers.remove(&answer.status.to_string()).unwrap_or_else(|| Response::builder().description(answer.about));
        let entry = match answer.media {
            "" => entry,
            media => entry.content(media, Content::new(answer.schema.map(|schema| schema(components)))),
        };
        answers.insert(answer.status.to_string(), entry);
    }
    let problem = || RefOr::<Response>::Ref(Ref::from_response_name(PROBLEM_RESPONSE));
    let mut responses = ResponsesBuilder::new();
    for status in refusals(route) {
        if !answers.contains_key(*status) {
            responses = responses.response(*status, problem());
        }
    }
    for (status, answer) in answers {
        responses = responses.response(status, answer);
    }
    responses.response("default", problem()).build()
}

/// The statuses of the problems that a client of the route has to expect.
fn refusals(route: &Route) -> &'static [&'static str] {
    match (route.access, route.run, route.body) {
        (Access::Open, ..) => &["404", "431"],
        (_, Run::Now(_), None) => &["400", "401", "403", "404", "429", "431"],
        (_, _, None) => &["400", "401", "403", "404", "409", "429", "431", "500", "503"],
        (_, _, Some(_)) => &["400", "401", "403", "404", "409", "413", "415", "429", "431", "500", "502", "503", "504"],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::{super::routes, document, v30};

    const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

    fn v31() -> Value {
        serde_json::to_value(document()).expect("it is written")
    }

    fn operations(document: &Value) -> Vec<(String, String, Value)> {
        let mut all = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for method in METHODS {
                if let Some(operation) = item.get(method) {
                    all.push((path.clone(), method.to_uppercase(), operation.clone()));
                }
            }
        }
        all
    }

    fn each(value: &Value, visit: &mut impl FnMut(&Value)) {
        visit(value);
        match value {
            Value::Array(items) => items.iter().for_each(|item| each(item, visit)),
            Value::Object(members) => members.values().for_each(|member| each(member, visit)),
            _ => {}
        }
    }

    #[test]
    fn every_served_route_is_documented_and_nothing_else() {
        let served: BTreeSet<_> =
            routes::all().map(|route| (route.path.to_owned(), route.verb.as_str().to_owned())).collect();
        for document in [v31(), v30::project(v31())] {
            let documented: BTreeSet<_> =
                operations(&document).into_iter().map(|(path, method, _)| (path, method)).collect();
            assert_eq!(documented, served);
        }
    }

    #[test]
    fn operation_ids_are_unique_and_every_operation_documents_its_problems() {
        let mut ids = BTreeSet::new();
        for (path, _, operation) in operations(&v31()) {
            assert!(ids.insert(operation["operationId"].to_string()), "{path}");
            assert_eq!(operation["responses"]["default"]["$ref"], "#/components/responses/Problem", "{path}");
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let refusal = status.starts_with('4') || (status.starts_with('5') && path != "/readyz");
                assert_eq!(refusal || status == "default", response.get("$ref").is_some(), "{path} {status}");
            }
        }
    }

    #[test]
    fn every_route_but_the_open_ones_asks_for_the_bearer_token() {
        let document = v31();
        assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
        for (path, _, operation) in operations(&document) {
            let open = ["/livez", "/readyz", "/problems", "/openapi"].iter().any(|start| path.starts_with(start));
            let expected = if open { serde_json::json!([{}]) } else { serde_json::json!([{"bearer": []}]) };
            assert_eq!(operation["security"], expected, "{path}");
        }
    }

    #[test]
    fn every_reference_leads_to_a_component() {
        for document in [v31(), v30::project(v31())] {
            each(&document, &mut |value| {
                if let Some(target) = value.get("$ref").and_then(Value::as_str) {
                    let pointer = target.strip_prefix('#').expect("references stay within the document");
                    assert!(document.pointer(pointer).is_some(), "{target}");
                }
            });
        }
    }

    #[test]
    fn a_carried_document_may_be_any_json() {
        let value = &v31()["components"]["schemas"]["JsonDoc"];
        assert_eq!(value.get("type"), None, "{value}");
    }
}
