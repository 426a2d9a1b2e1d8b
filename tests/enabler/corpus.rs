//! Thing Descriptions of real devices, and the W3C's own schema for them.
//!
//! They are in the folder that `TWINWAY_TEST_DATA` names: descriptions in `td`, Thing Models in `tm`, the schema in
//! `schema`. Without it the tests go on with the descriptions in `tests/descriptions`, which they always use.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};
use twinway::{
    Enabler,
    enabler::EnablerOptions,
    protocol::{
        JsonDoc, Problem, ProblemKind, TwinId,
        message::PropertyValues,
        registry::SystemQuery,
        twin::{Affordances, TwinEntry, TwinView},
    },
};

use super::{
    house::{House, name, nothing_is_lost, rights, twin_system},
    outsiders::{Answering, ada, willing},
};

/// A file, named by its path in its folder.
struct Document {
    name: String,
    text: String,
}

impl Document {
    fn description(&self) -> JsonDoc {
        JsonDoc::parse(self.text.as_str()).expect("it is JSON")
    }

    fn value(&self) -> Value {
        serde_json::from_str(&self.text).expect("it is JSON")
    }

    fn twin(&self) -> TwinId {
        name(&self.name)
    }
}

fn read_all(folder: &Path, below: &Path, into: &mut Vec<Document>) {
    for found in fs::read_dir(below).expect("the folder is there") {
        let path = found.expect("it can be read").path();
        if path.is_dir() {
            read_all(folder, &path, into);
        } else {
            let name = path.strip_prefix(folder).expect("it is below").to_string_lossy().into_owned();
            into.push(Document { name, text: fs::read_to_string(&path).expect("it is text") });
        }
    }
}

fn read_folder(folder: &Path) -> Vec<Document> {
    let mut found = Vec::new();
    read_all(folder, folder, &mut found);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The folder of real input; without it the test says that it did without.
fn test_data() -> Option<PathBuf> {
    let folder = env::var_os("TWINWAY_TEST_DATA").map(PathBuf::from);
    if folder.is_none() {
        let skipped = "SKIPPED: corpus: TWINWAY_TEST_DATA is not set";
        println!("{skipped}");
        if let Some(skips) = env::var_os("TWINWAY_SKIPS") {
            let mut file = OpenOptions::new().create(true).append(true).open(skips).expect("it can be written");
            writeln!(file, "{skipped}").expect("there is room");
        }
    }
    folder
}

/// All Thing Descriptions that there are.
fn corpus(folder: Option<&Path>) -> Vec<Document> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/descriptions");
    let mut all = read_folder(&own);
    assert_eq!(all.len(), 4);
    if let Some(folder) = folder {
        let real = read_folder(&folder.join("td"));
        assert!(real.len() >= 80, "only {} descriptions found: did the folder move?", real.len());
        all.extend(real);
    }
    all
}

/// The contexts of the Recommendations, which the schema's newest state does not take any more.
const CONTEXTS: [&str; 2] = ["https://www.w3.org/2019/wot/td/v1", "https://www.w3.org/2022/wot/td/v1.1"];

/// The W3C's schema, as it is and for the contexts of the Recommendations.
fn schemas(folder: &Path) -> [jsonschema::Validator; 2] {
    let text = fs::read_to_string(folder.join("schema/td-json-schema-validation.json")).expect("it is text");
    let newest: Value = serde_json::from_str(&text).expect("it is JSON");
    let mut recommended = newest.clone();
    let only = recommended.pointer_mut("/definitions/thing-context-td-uri-temp").expect("the schema has it");
    *only = json!({"enum": [CONTEXTS[0], CONTEXTS[1], only["const"].clone()]});
    [newest, recommended].map(|schema| jsonschema::validator_for(&schema).expect("it is a schema"))
}

/// What the schema accepts and Twinway does not, each with the reason.
const JUSTIFIED: [(&str, &str); 0] = [];

#[test]
fn what_the_schema_of_the_w3c_accepts_is_accepted() {
    let Some(folder) = test_data() else { return };
    let documents = corpus(Some(&folder));
    let [newest, recommended] = schemas(&folder);
    let (mut wrong, mut refused_by_schema, mut refused_by_newest) = (Vec::new(), Vec::new(), 0);
    for document in &documents {
        let (accepted, value) = (Affordances::read(&document.description()), document.value());
        refused_by_newest += usize::from(accepted.is_ok() && !newest.is_valid(&value));
        match (accepted, recommended.is_valid(&value)) {
            (Err(problem), true) => wrong.push((document.name.as_str(), problem)),
            (Ok(_), false) => refused_by_schema.push(&document.name),
            _ => {}
        }
    }
    wrong.retain(|(name, _)| !JUSTIFIED.iter().any(|(justified, _)| justified == name));
    println!(
        "{} descriptions; accepted here and refused by the schema: {} ({refused_by_newest} with its newest context): \
         {refused_by_schema:?}",
        documents.len(),
        refused_by_schema.len(),
    );
    assert!(wrong.is_empty(), "the schema accepts what is refused here: {wrong:?}");
}

/// A change of a description that makes it none, and the place of the mistake.
struct Damage {
    value: Value,
    at: String,
    /// What the schema does not know: a name that refers to something.
    beyond_schema: bool,
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn damages(of: &Value) -> Vec<Damage> {
    let mut damages = Vec::new();
    let mut set = |member: &str, value: Value, at: &str, beyond_schema: bool| {
        let mut damaged = of.clone();
        damaged[member] = value;
        damages.push(Damage { value: damaged, at: at.to_owned(), beyond_schema });
    };
    set("title", json!(7), "/title", false);
    set("security", json!("nobody-defines-this"), "/security", true);
    set("security", json!(["nobody-defines-this"]), "/security/0", true);
    set("security", json!([]), "/security", false);
    set("securityDefinitions", json!({"x/y": {}}), "/securityDefinitions/x~1y", false);
    set("properties", json!([]), "/properties", false);
    set("actions", json!({"go": 1}), "/actions/go", false);
    set("events", json!({"gone": {"forms": [{}]}}), "/events/gone/forms/0", false);
    set("@type", json!("tm:ThingModel"), "/@type", false);
    set("@type", json!(["Thing", "tm:ThingModel"]), "/@type/1", false);
    set("id", json!({}), "/id", false);
    set("@context", json!(7), "/@context", false);
    for member in ["@context", "title", "security", "securityDefinitions"] {
        let mut value = of.clone();
        value.as_object_mut().expect("it is an object").remove(member).expect("it is mandatory");
        damages.push(Damage { value, at: String::new(), beyond_schema: false });
    }
    let affordances = ["properties", "actions", "events"].into_iter();
    for (member, (key, affordance)) in
        affordances.flat_map(|member| of[member].as_object().into_iter().flatten().map(move |found| (member, found)))
    {
        let place = format!("/{member}/{}", escaped(key));
        let mut set = |inside: &str, wrong: Value| {
            let mut value = of.clone();
            let at = format!("{place}{inside}");
            *value.pointer_mut(&at).expect("it is there") = wrong;
            damages.push(Damage { value, at, beyond_schema: false });
        };
        set("", json!("text"));
        set("/forms", json!({}));
        set("/forms/0", json!([]));
        if affordance["forms"][0].get("href").is_some() {
            set("/forms/0/href", json!(1));
        }
        if affordance.get("readOnly").is_some() && member == "properties" {
            set("/readOnly", json!("yes"));
        }
    }
    damages
}

/// Registers one twin with this description, and nothing else.
async fn register_alone(enabler: &Enabler, description: &str) -> Result<(), Problem> {
    let entry = format!(r#"{{"id": "alone", "description": {description}}}"#);
    let system = enabler.dii(name("alone"));
    system.register(twin_system("alone", &[entry])).await.map(|_| ())
}

/// Asserts that the problem is an invalid document, at this place of the only twin's description, which is there.
fn assert_place(problem: &Problem, value: &Value, at: &str, of: &str) {
    let pointer = problem.pointer.as_deref().expect("a place is told");
    let inside = pointer.strip_prefix("/twins/0/description").expect("it is in the description");
    assert_eq!((problem.kind, inside), (ProblemKind::InvalidDocument, at), "{of}: {problem}");
    assert!(value.pointer(inside).is_some(), "{of}: there is no {inside}");
}

#[tokio::test]
async fn what_is_no_description_is_refused_with_the_exact_place() {
    let house = House::in_memory(EnablerOptions::default()).await;
    let enabler = &house.enabler;
    let folder = test_data();
    let schema = folder.as_deref().map(schemas).map(|[_, recommended]| recommended);
    let documents = corpus(folder.as_deref());
    let mut refused = 0;
    for document in &documents {
        for Damage { value, at, beyond_schema } in damages(&document.value()) {
            let problem = register_alone(enabler, &value.to_string()).await.expect_err(&at);
            assert_place(&problem, &value, &at, &document.name);
            if let Some(schema) = schema.as_ref().filter(|_| !beyond_schema) {
                assert!(!schema.is_valid(&value), "{} at {at}: the schema accepts it", document.name);
            }
            refused += 1;
        }
    }
    // A Thing Model describes a class of things, and is no description of one.
    for model in folder.map(|folder| read_folder(&folder.join("tm"))).unwrap_or_default() {
        let problem = register_alone(enabler, &model.text).await.expect_err(&model.name);
        assert_place(&problem, &model.value(), "/@type", &model.name);
        refused += 1;
    }
    println!("{refused} documents refused, each with the place of its mistake");
    let world = enabler.mii(name("world"));
    assert!(world.search_twin_systems(SystemQuery::default()).await.expect("it is understood").items.is_empty());
    assert_eq!(enabler.outside().counts().twins, 0);
    register_alone(enabler, &documents[0].text).await.expect("a good one is registered after so many bad ones");
}

/// A property that can be changed, if the thing has one, and a value for it that its schema allows.
fn writable(document: &Document) -> Option<PropertyValues> {
    let affordances = Affordances::read(&document.description()).expect("it is accepted");
    let thing = document.value();
    let writable = affordances.properties.iter().filter(|(_, property)| !property.read_only);
    writable.map(|(name, _)| (name, &thing["properties"][name])).find_map(|(name, schema)| {
        let own = [&schema["enum"][0], &schema["const"], &schema["minimum"], &schema["default"]];
        let any = [json!(true), json!(42), json!(1), json!("as you like"), json!({}), json!([]), json!([1, 2, 3])];
        // What does not compile judges nothing.
        let judge = jsonschema::draft7::new(schema).ok();
        let mut values = own.into_iter().filter(|value| !value.is_null()).cloned().chain(any);
        let value = values.find(|value| judge.as_ref().is_none_or(|judge| judge.is_valid(value)))?;
        Some(PropertyValues::from([(name.clone(), JsonDoc::from_value(&value).expect("it is JSON"))]))
    })
}

/// Every Thing Model of the corpus describes a twin, whose description it is then without being a model.
#[tokio::test]
async fn real_things_are_described_by_the_models_of_their_class() {
    let Some(folder) = test_data() else { return };
    let models = read_folder(&folder.join("tm"));
    assert!(models.len() >= 10, "only {} models found: did the folder move?", models.len());
    let house = House::on_disk(nothing_is_lost()).await;
    let system = house.enabler.dii(name("corpus"));
    let mut description = twin_system("corpus", &[]);
    for model in &models {
        system.keep_thing_model(&model.name, model.description()).await.expect("it is a model");
        let mut entry = entry(model);
        let reference = json!({"model": model.name, "with": {"id": format!("urn:test:{}", model.name)}});
        entry.description = JsonDoc::from_value(&reference).expect("it is JSON");
        description.twins.push(Arc::new(entry));
    }
    system.register(description.clone()).await.expect("every one of them describes a thing");
    let house = house.restarted().await;
    let system = house.enabler.dii(name("corpus"));
    for model in &models {
        let kept = system.thing_model(&model.name).await.expect("it is kept");
        assert_eq!(kept.as_str(), model.text, "{}: byte for byte", model.name);
        let twin = house.enabler.mii(name("world")).twin(&model.twin()).expect("it is registered");
        let actions = Affordances::read(&twin.description).expect("it is a description").actions;
        assert_eq!(actions.len(), model.value()["actions"].as_object().map_or(0, |actions| actions.len()));
    }
    system.register(description).await.expect("the same again changes nothing");
}

/// What is published of every document's twin.
fn views(enabler: &Enabler, documents: &[Document]) -> BTreeMap<TwinId, Arc<TwinView>> {
    let world = enabler.mii(name("world"));
    let view = |document: &Document| (document.twin(), world.twin(&document.twin()).expect("it is registered"));
    documents.iter().map(view).collect()
}

#[tokio::test]
async fn real_things_are_registered_selected_read_and_changed() {
    let documents = corpus(test_data().as_deref());
    let house = House::on_disk(nothing_is_lost()).await;
    let system = house.enabler.dii(name("corpus"));
    let mut description = twin_system("corpus", &[]);
    description.twins = documents.iter().map(|document| Arc::new(entry(document))).collect();
    system.register(description.clone()).await.expect("every one of them is accepted");
    let answering = Answering::twin_system(system, willing).await;

    let world = house.enabler.mii(name("world"));
    let all: Vec<TwinId> = documents.iter().map(Document::twin).collect();
    world.select_twins(all.clone(), vec![]).await.expect("they are registered");
    let granted = world.request_permission(ada(), all.clone(), rights()).await.expect("the system is willing");
    assert_eq!((granted.permissions.len(), granted.twins.len(), granted.refused.len()), (all.len(), all.len(), 0));

    let mut changed = 0;
    for document in &documents {
        let twin = world.twin(&document.twin()).expect("it is registered");
        assert_eq!(twin.description.as_str(), document.text, "{}: byte for byte", document.name);
        let Some(wanted) = writable(document) else { continue };
        let got = world.change_twin(ada(), document.twin(), wanted.clone()).await.expect("it is done");
        assert_eq!(got, wanted, "{}", document.name);
        let twin = world.twin(&document.twin()).expect("it is registered");
        for (property, value) in &wanted {
            assert_eq!(twin.properties[property].value, *value, "{}", document.name);
        }
        changed += 1;
    }
    println!("{} things read, {changed} of them changed", documents.len());
    assert!(changed >= 3);
    let before = views(&house.enabler, &documents);
    drop(answering);

    let house = house.restarted().await;
    assert_eq!(views(&house.enabler, &documents), before);
    let world = house.enabler.mii(name("world"));
    let listed = world.list_twins(Some(name("corpus")), None, Some(1000)).await.expect("it is registered").items;
    assert_eq!(listed.len(), all.len());
    assert!(listed.iter().all(|twin| twin.selected));
    let again = house.enabler.dii(name("corpus")).register(description).await;
    again.expect("the same again changes nothing");
}

fn entry(document: &Document) -> TwinEntry {
    let text = json!({"id": document.name, "physicalObject": format!("urn:test:{}", document.name), "description": 0});
    let mut entry: TwinEntry = serde_json::from_value(text).expect("it is an entry");
    entry.description = document.description();
    entry
}
