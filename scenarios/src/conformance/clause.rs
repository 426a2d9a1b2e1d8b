//! What the texts ask for.

use serde::Serialize;
use twinway_protocol::flow::{Flow, FlowStep};

use crate::flow;

/// What a clause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A requirement of FGMV-28 clause 8.
    Requirement,
    /// A function of an entity, of FGMV-29 clause 8.
    Function,
    /// A step of a flow, of FGMV-28 clause 7 or FGMV-29 clause 9.
    Step,
}

/// One thing that the texts ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clause {
    /// Where it stands: what checks name.
    pub id: String,
    /// What is asked for, in our words.
    pub title: String,
    /// What it is.
    pub kind: Kind,
}

/// FGMV-28 clause 8. Two requirements there have the number REQ-SI-02.
const REQUIREMENTS: [(&str, &str); 20] = [
    ("REQ-DT-01", "a twin is identified uniquely"),
    ("REQ-DT-02", "a system that talks to metaverse systems maintains the twin"),
    ("REQ-DT-03", "that system can be searched for"),
    ("REQ-DT-04", "that system says what its twins are"),
    ("REQ-DT-05", "that system manages who may do what with each twin"),
    ("REQ-DT-06", "a twin interacts with avatars and other twins"),
    ("REQ-DT-07", "a twin is synchronized with its object, periodically or when a user asks"),
    ("REQ-DT-08", "a twin says which users go before which when it is synchronized"),
    ("REQ-MV-01", "users get the information of twins that they need"),
    ("REQ-MV-02", "the metaverse system talks to the system of the twins that users chose"),
    ("REQ-MV-03", "users use the twins that they chose"),
    ("REQ-MV-04", "the metaverse system talks to the system that is synchronized with objects"),
    ("REQ-MV-05", "users are told which services of third parties they can use"),
    ("REQ-MV-06", "services of third parties are provided"),
    ("REQ-MV-07", "the metaverse system talks to the third party whose service a user chose"),
    ("REQ-SI-01", "twin systems and metaverse systems talk to each other"),
    ("REQ-SI-02 (three systems)", "twin systems, metaverse systems and third parties talk to each other"),
    ("REQ-SI-02 (connecting)", "the metaverse system connects to the twin system that users want"),
    ("REQ-SI-03", "the metaverse system connects to the third party whose services users want"),
    ("REQ-SI-04", "a third party connects to the twin system that its service needs"),
];

/// FGMV-29 clause 8: entity by entity.
const FUNCTIONS: [(&str, &str); 24] = [
    ("8.2.1 registration", "TPSR: third-party systems register their information"),
    ("8.2.1 information", "TPSR: type, id, properties, charge, service level and APIs are collected"),
    ("8.2.1 status", "TPSR: the status of registered systems is monitored"),
    ("8.2.1 performance", "TPSR: the performance of registered systems is monitored"),
    ("8.2.2 search", "TPSD: registered systems that meet conditions are found"),
    ("8.2.3 user information", "TPSAA: user information for access to a system is managed"),
    ("8.2.3 permission", "TPSAA: permission to interact with a system and use its resources"),
    ("8.2.4 service execution", "SDC: services are executed"),
    ("8.2.4 data sharing", "SDC: data is shared among several third-party systems"),
    ("8.2.4 processing and transformation", "SDC: data is processed and transformed"),
    ("8.2.4 API conversion", "SDC: one API is converted to another"),
    ("8.2.5 acquisition", "DTDA: third-party systems ask for information of twins directly"),
    ("8.3.1 registration", "DTSR: twin systems register their information"),
    ("8.3.1 information", "DTSR: type, id and properties are collected"),
    ("8.3.1 status", "DTSR: the status of registered twin systems is monitored"),
    ("8.3.1 performance", "DTSR: the performance of registered twin systems is monitored"),
    ("8.3.2 search", "DTSD: registered twin systems that meet conditions are found"),
    ("8.3.3 information", "DTIA: information of twins comes from the selected twin system"),
    ("8.3.4 state", "DTS: the state of virtual and physical objects is synchronized"),
    ("8.3.4 location", "DTS: their location is synchronized"),
    ("8.3.4 behaviour", "DTS: their behaviour is synchronized"),
    ("8.3.5 access", "DTAC: access to each twin is controlled"),
    ("8.3.5 characteristics", "DTAC: what each object can do is specified"),
    ("8.3.6 collection", "TSI: information of twins is collected for a third-party system"),
];

/// Everything that is asked for.
#[must_use]
pub fn clauses() -> Vec<Clause> {
    let listed = |text: &'static str, kind: Kind| {
        move |(id, title): &(&str, &str)| Clause { id: format!("{text} {id}"), title: (*title).to_owned(), kind }
    };
    let mut clauses: Vec<Clause> = REQUIREMENTS.iter().map(listed("FGMV-28", Kind::Requirement)).collect();
    clauses.extend(FUNCTIONS.iter().map(listed("FGMV-29", Kind::Function)));
    for flow in flow::embedded() {
        let step = |step: &FlowStep| Clause { id: of_step(flow, step), title: step.title.clone(), kind: Kind::Step };
        clauses.extend(flow.steps().iter().map(step));
    }
    clauses
}

/// The id of a step's clause. A step that the text leaves out stands behind the one that it belongs to.
pub(super) fn of_step(flow: &Flow, step: &FlowStep) -> String {
    if step.clause.is_empty() || step.extension {
        format!("{} step {}", flow.clause(), step.number)
    } else {
        step.clause.clone()
    }
}
