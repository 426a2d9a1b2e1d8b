//! What a filter may name, and a search may be sorted by.

use twinway_protocol::{
    registry::{BreakerState, Health},
    twin::TwinClass,
};

use super::Kind;

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Number,
    /// A list of texts.
    Texts,
    Documents,
}

macro_rules! fields {
    ($($Field:ident = $path:literal, $shape:ident, $index:ident, $of:ident, $optional:literal, $help:literal;)*) => {
        /// A field of a registered system, or of a twin, as a filter names it.
        ///
        /// | field | what it is | of | absent |
        /// |---|---|---|---|
        $(#[doc = concat!("| `", $path, "` | ", $help, " | ", fields!(@of $of), " | ", $optional, " |")])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Field {
            $(#[doc = $help] $Field,)*
        }

        /// What a filter over systems is, and the table of what it may name: for the documents of the interfaces.
        pub const FILTER_HELP: &str = concat!(
            "A CEL expression over the system, true or false: `system.type == \"commerce\" && charge.amount < 5.0 && ",
            "performance.p99_ms < 200.0`. A comparison with a field that is absent does not hold; `has(charge.amount)` asks ",
            "for it. It may name:\n\n| field | what it is | of | absent |\n|---|---|---|---|\n",
            $(fields!(@system_row $of, $path, $optional, $help),)*
        );

        /// What a filter over twins is, and the table of what it may name: for the documents of the interfaces.
        pub const TWIN_FILTER_HELP: &str = concat!(
            "A CEL expression over the twin, true or false: `\"brightness\" in twin.properties && twin.system == \"home\"`. A ",
            "comparison with a field that is absent does not hold; `has(twin.object)` asks for it. It may name:\n\n",
            "| field | what it is | absent |\n|---|---|---|\n",
            $(fields!(@twin_row $of, $path, $optional, $help),)*
        );

        impl Field {
            /// Every field.
            pub const ALL: &'static [Self] = &[$(Self::$Field,)*];

            /// As it is written.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self { $(Self::$Field => $path,)* }
            }

            /// What it is, for a person.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$Field => $help,)* }
            }

            pub(super) const fn shape(self) -> Shape {
                match self { $(Self::$Field => Shape::$shape,)* }
            }

            /// Whether an index answers for it.
            pub(super) const fn is_indexed(self) -> bool {
                match self { $(Self::$Field => fields!(@index $index),)* }
            }

            /// Whether what is of this kind has it.
            #[must_use]
            pub fn is_of(self, kind: Kind) -> bool {
                match self { $(Self::$Field => fields!(@kind $of, kind),)* }
            }
        }
    };
    (@index indexed) => { true };
    (@index read) => { false };
    (@of both) => { "both" };
    (@of third) => { "third-party systems" };
    (@of twins) => { "twin systems" };
    (@of twin) => { "twins" };
    (@kind both, $kind:ident) => { matches!($kind, Kind::ThirdParty | Kind::TwinSystem) };
    (@kind third, $kind:ident) => { matches!($kind, Kind::ThirdParty) };
    (@kind twins, $kind:ident) => { matches!($kind, Kind::TwinSystem) };
    (@kind twin, $kind:ident) => { matches!($kind, Kind::Twin) };
    (@system_row twin, $path:literal, $optional:literal, $help:literal) => { "" };
    (@system_row $of:ident, $path:literal, $optional:literal, $help:literal) => {
        concat!("| `", $path, "` | ", $help, " | ", fields!(@of $of), " | ", $optional, " |\n")
    };
    (@twin_row twin, $path:literal, $optional:literal, $help:literal) => {
        concat!("| `", $path, "` | ", $help, " | ", $optional, " |\n")
    };
    (@twin_row $of:ident, $path:literal, $optional:literal, $help:literal) => { "" };
}

fields! {
    Id = "system.id", Text, read, both, "never", "its id";
    Type = "system.type", Text, indexed, both, "never", "its type";
    Title = "system.title", Text, read, both, "never", "its name for people";
    Description = "system.description", Text, read, both, "never", "what it does, in words";
    Properties = "system.properties", Documents, read, both, "each one can be", "what else it registered: `system.properties.region`, any JSON";
    ChargeAmount = "charge.amount", Number, indexed, third, "if it charges nothing", "what it charges";
    ChargeCurrency = "charge.currency", Text, indexed, third, "if it charges nothing", "in which currency";
    ChargePer = "charge.per", Text, indexed, third, "can be", "what is charged for";
    PromisedAvailability = "level.availability", Number, indexed, both, "can be", "the availability that it promises, from 0 to 1";
    PromisedP99 = "level.p99_ms", Number, indexed, both, "can be", "the time for 99 of 100 calls that it promises, in milliseconds";
    Promise = "level.description", Text, read, both, "can be", "what else it promises, in words";
    Apis = "apis", Texts, indexed, third, "never", "the names of the operations that it offers: `\"order\" in apis`";
    Health = "standing.health", Text, indexed, both, "never", "`healthy`, `degraded`, `offline` or `expired`";
    Reason = "standing.reason", Text, read, both, "if it is healthy", "why it is that";
    BreakerState = "breaker.state", Text, indexed, third, "never", "whether it is called: `closed`, `open` or `halfOpen`";
    MeasuredP50 = "performance.p50_ms", Number, indexed, both, "if no call was answered", "the measured time for half of the calls, in milliseconds";
    MeasuredP99 = "performance.p99_ms", Number, indexed, both, "if no call was answered", "the measured time for 99 of 100 calls, in milliseconds";
    ErrorRate = "performance.error_rate", Number, indexed, both, "never", "the share of calls that failed, from 0 to 1";
    MeasuredAvailability = "performance.availability", Number, indexed, both, "before it was measured", "the measured availability, from 0 to 1";
    Calls = "performance.calls", Number, read, both, "never", "the calls in the window of the rules";
    Failed = "performance.failed", Number, read, both, "never", "those of them that failed";
    TwinCount = "twins.count", Number, indexed, twins, "never", "how many twins it lists";
    TwinObjects = "twins.objects", Texts, indexed, twins, "never", "the physical objects of its twins: `\"urn:lamp\" in twins.objects`";
    TwinId = "twin.id", Text, read, twin, "never", "its id";
    TwinTitle = "twin.title", Text, read, twin, "never", "the title of its Thing Description";
    TwinDescription = "twin.description", Text, read, twin, "never", "what its Thing Description says in words";
    TwinClass = "twin.class", Text, read, twin, "never", "`object` or `avatar`";
    TwinLister = "twin.system", Text, indexed, twin, "never", "the twin system that lists it";
    TwinObject = "twin.object", Text, indexed, twin, "if it stands for none", "the physical object that it stands for";
    TwinTypes = "twin.types", Texts, indexed, twin, "never", "the `@type`s of its Thing Description";
    TwinProperties = "twin.properties", Texts, indexed, twin, "never", "the names of its properties: `\"on\" in twin.properties`";
    TwinActions = "twin.actions", Texts, indexed, twin, "never", "the names of its actions";
    TwinEvents = "twin.events", Texts, indexed, twin, "never", "the names of its events";
}

impl Field {
    /// The field that a path begins with, and the parts behind it.
    pub(crate) fn at(path: &[Box<str>]) -> Option<(Self, &[Box<str>])> {
        Self::ALL.iter().find_map(|field| {
            let mut parts = field.path().split('.');
            let length = parts.clone().count();
            let begins = path.get(..length)?;
            begins
                .iter()
                .all(|part| parts.next() == Some(part))
                .then(|| (*field, path.get(length..).unwrap_or_default()))
        })
    }

    /// All that a field can say, with what that is called, where it is no free text: anything else is a slip, and would
    /// never be found.
    pub(super) const fn vocabulary(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Health => Some(("a health", &HEALTHS)),
            Self::BreakerState => Some(("a breaker", &BREAKERS)),
            Self::TwinClass => Some(("a class", &CLASSES)),
            _ => None,
        }
    }

    /// The field of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.path() == name)
    }
}

/// The word for a health.
pub(super) const fn health(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Degraded => "degraded",
        Health::Offline => "offline",
        Health::Expired => "expired",
    }
}

/// The word for a breaker.
pub(super) const fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "halfOpen",
    }
}

const BREAKERS: [&str; 3] =
    [breaker(BreakerState::Closed), breaker(BreakerState::Open), breaker(BreakerState::HalfOpen)];

/// The word for a class of twins.
pub(super) const fn class(class: TwinClass) -> &'static str {
    match class {
        TwinClass::Object => "object",
        TwinClass::Avatar => "avatar",
    }
}

const CLASSES: [&str; 2] = [class(TwinClass::Object), class(TwinClass::Avatar)];
const HEALTHS: [&str; 4] =
    [health(Health::Healthy), health(Health::Degraded), health(Health::Offline), health(Health::Expired)];
