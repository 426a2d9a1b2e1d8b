//! What a filter may name, and a search may be sorted by.

use twinway_protocol::registry::Health;

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
        /// A field of a registered system, as a filter names it.
        ///
        /// | field | what it is | of | absent |
        /// |---|---|---|---|
        $(#[doc = concat!("| `", $path, "` | ", $help, " | ", fields!(@of $of), " | ", $optional, " |")])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Field {
            $(#[doc = $help] $Field,)*
        }

        /// What a filter is, and the table of what it may name: for the documents of the interfaces.
        pub const FILTER_HELP: &str = concat!(
            "A CEL expression over the system, true or false: `system.type == \"commerce\" && charge.amount < 5.0 && ",
            "performance.p99_ms < 200.0`. A comparison with a field that is absent does not hold; `has(charge.amount)` asks ",
            "for it. It may name:\n\n| field | what it is | of | absent |\n|---|---|---|---|\n",
            $("| `", $path, "` | ", $help, " | ", fields!(@of $of), " | ", $optional, " |\n",)*
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

            /// Whether systems of this kind have it.
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
    (@kind both, $kind:ident) => { true };
    (@kind third, $kind:ident) => { matches!($kind, Kind::ThirdParty) };
    (@kind twins, $kind:ident) => { matches!($kind, Kind::TwinSystem) };
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
    MeasuredP50 = "performance.p50_ms", Number, indexed, both, "if no call was answered", "the measured time for half of the calls, in milliseconds";
    MeasuredP99 = "performance.p99_ms", Number, indexed, both, "if no call was answered", "the measured time for 99 of 100 calls, in milliseconds";
    ErrorRate = "performance.error_rate", Number, indexed, both, "never", "the share of calls that failed, from 0 to 1";
    MeasuredAvailability = "performance.availability", Number, indexed, both, "before it was measured", "the measured availability, from 0 to 1";
    Calls = "performance.calls", Number, read, both, "never", "the calls in the window of the rules";
    Failed = "performance.failed", Number, read, both, "never", "those of them that failed";
    TwinCount = "twins.count", Number, indexed, twins, "never", "how many twins it lists";
    TwinObjects = "twins.objects", Texts, indexed, twins, "never", "the physical objects of its twins: `\"urn:lamp\" in twins.objects`";
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

/// All words for a health.
pub(super) const HEALTHS: [&str; 4] =
    [health(Health::Healthy), health(Health::Degraded), health(Health::Offline), health(Health::Expired)];
