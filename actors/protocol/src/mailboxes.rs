//! The macro that makes the mailboxes of a system, and with them what can be sent to whom.

use crate::{Problem, StepId};

/// A type of message that a mailbox accepts, or an answer that it hears: a line of a system's table.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// The mailbox, by the name of its kind.
    pub mailbox: &'static str,
    /// The type of the message.
    pub message: &'static str,
    /// The step that its delivery is.
    pub step: Option<StepId>,
    /// Of a question: the type of its answer, and the step that a refusal of it is.
    pub answered: Option<(&'static str, RefusedStep)>,
}

/// The step that a question's refusal is, by the problem.
pub type RefusedStep = fn(&Problem) -> Option<StepId>;

/// Declares a system's mailboxes: for each an enum of what it accepts, and one enum over all of them.
///
/// `asks` and `tells` are what can be sent to the mailbox, `hears` the answers it can wait for. `answers` says,
/// for every answer, which mailboxes hear it: that is what lets an entity ask. What is not declared does not compile.
///
/// ```
/// use twinway_protocol::{Ask, Step, StepId, Tell, mailboxes};
/// #[derive(Debug)]
/// pub struct Ping;
/// impl Step for Ping { const STEP: Option<StepId> = None; const NAME: &'static str = "Ping"; }
/// impl Ask for Ping { type Answer = Pong; }
/// #[derive(Debug)]
/// pub struct Pong;
/// impl Step for Pong { const STEP: Option<StepId> = None; const NAME: &'static str = "Pong"; }
/// #[derive(Debug)]
/// pub struct Start;
/// impl Step for Start { const STEP: Option<StepId> = None; const NAME: &'static str = "Start"; }
/// impl Tell for Start {}
/// #[derive(Debug)]
/// pub struct Nothing;
/// mailboxes! {
///     /// Two entities.
///     pub enum Wire signals Nothing {
///         /// Asks.
///         Client(ClientMsg) = 1 { asks {} tells { Start } hears { Pong } }
///         /// Answers.
///         Server(ServerMsg) = 2 { asks { Ping } tells {} hears {} }
///     }
///     answers { Pong => Client(ClientMsg); }
/// }
/// let message: ServerMsg = Ping.into();
/// # let _ = message;
/// ```
#[macro_export]
macro_rules! mailboxes {
    (
        $(#[$wire_meta:meta])*
        $vis:vis enum $Wire:ident signals $Signal:ident {
            $(
                $(#[$box_meta:meta])*
                $Name:ident($Msg:ident) = $kind:literal {
                    asks { $($ask:ident),* $(,)? }
                    tells { $($tell:ident),* $(,)? }
                    hears { $($hear:ident),* $(,)? }
                }
            )*
        }
        answers { $($Answer:ident => $($Hearer:ident($HearerMsg:ident)),+;)* }
    ) => {
        $(#[$wire_meta])*
        #[derive(Debug)]
        $vis enum $Wire {
            $(#[doc = concat!("To a `", stringify!($Name), "`.")] $Name($Msg),)*
        }

        impl $Wire {
            /// All that the mailboxes accept and hear.
            pub const ACCEPTED: &'static [$crate::Accepted] = &[
                $(
                    $($crate::Accepted {
                        mailbox: stringify!($Name),
                        message: <$ask as $crate::Step>::NAME,
                        step: <$ask as $crate::Step>::STEP,
                        answered: Some((
                            <<$ask as $crate::Ask>::Answer as $crate::Step>::NAME,
                            <$ask as $crate::Ask>::refused,
                        )),
                    },)*
                    $($crate::Accepted {
                        mailbox: stringify!($Name),
                        message: <$tell as $crate::Step>::NAME,
                        step: <$tell as $crate::Step>::STEP,
                        answered: None,
                    },)*
                    $($crate::Accepted {
                        mailbox: stringify!($Name),
                        message: <$hear as $crate::Step>::NAME,
                        step: <$hear as $crate::Step>::STEP,
                        answered: None,
                    },)*
                )*
            ];
        }

        impl $crate::WireSet for $Wire {
            type Signal = $Signal;
            fn kind(&self) -> u8 {
                match self { $($Wire::$Name(_) => $kind,)* }
            }
            fn kind_name(kind: u8) -> &'static str {
                match kind { $($kind => stringify!($Name),)* _ => "unknown" }
            }
            fn describe(&self) -> (Option<$crate::StepId>, &'static str) {
                match self { $($Wire::$Name(message) => $crate::Mailbox::describe(message),)* }
            }
            fn refusal(&self) -> Option<$crate::Refusal<Self>> {
                match self { $($Wire::$Name(message) => $crate::Mailbox::refusal(message),)* }
            }
            fn lane(&self) -> $crate::Lane {
                match self { $($Wire::$Name(message) => $crate::Mailbox::lane(message),)* }
            }
        }

        $(
            $(#[$box_meta])*
            #[derive(Debug)]
            $vis enum $Msg {
                $(#[doc = concat!("The question `", stringify!($ask), "`.")] $ask($ask),)*
                $(#[doc = concat!("What `", stringify!($tell), "` tells.")] $tell($tell),)*
                $(#[doc = concat!("The answer `", stringify!($hear), "`.")] $hear(Result<$hear, $crate::Problem>),)*
            }

            impl $crate::Mailbox for $Msg {
                type Wire = $Wire;
                const KIND: u8 = $kind;
                fn into_wire(self) -> $Wire {
                    $Wire::$Name(self)
                }
                #[allow(unreachable_patterns, reason = "a system may have one mailbox")]
                fn from_wire(wire: $Wire) -> Result<Self, $Wire> {
                    match wire {
                        $Wire::$Name(message) => Ok(message),
                        other => Err(other),
                    }
                }
                fn describe(&self) -> (Option<$crate::StepId>, &'static str) {
                    match *self {
                        $($Msg::$ask(_) => (<$ask as $crate::Step>::STEP, <$ask as $crate::Step>::NAME),)*
                        $($Msg::$tell(_) => (<$tell as $crate::Step>::STEP, <$tell as $crate::Step>::NAME),)*
                        // As `flow::REFUSED` says, so that a trace tells a refusal from an answer.
                        $($Msg::$hear(ref answer) => {
                            let refused = answer.as_ref().map_or(true, $crate::Step::is_refusal);
                            let name = <$hear as $crate::Step>::NAME;
                            (<$hear as $crate::Step>::STEP, if refused { concat!(stringify!($hear), " refused") } else { name })
                        })*
                    }
                }
                fn lane(&self) -> $crate::Lane {
                    match *self {
                        $($Msg::$ask(_) => <$ask as $crate::Step>::LANE,)*
                        $($Msg::$tell(_) => <$tell as $crate::Step>::LANE,)*
                        $($Msg::$hear(_) => <$hear as $crate::Step>::LANE,)*
                    }
                }
                fn refusal(&self) -> Option<$crate::Refusal<$Wire>> {
                    match *self {
                        $($Msg::$ask(_) => Some(|kind, problem| {
                            <<$ask as $crate::Ask>::Answer as $crate::Answers<$Wire>>::answer(Err(problem), kind)
                        }),)*
                        $($Msg::$tell(_) => None,)*
                        $($Msg::$hear(_) => None,)*
                    }
                }
            }

            $(impl From<$ask> for $Msg {
                fn from(message: $ask) -> Self { $Msg::$ask(message) }
            })*
            $(impl From<$tell> for $Msg {
                fn from(message: $tell) -> Self { $Msg::$tell(message) }
            })*
        )*

        $(
            $(impl From<Result<$Answer, $crate::Problem>> for $HearerMsg {
                fn from(answer: Result<$Answer, $crate::Problem>) -> Self { $HearerMsg::$Answer(answer) }
            })+
            impl $crate::Answers<$Wire> for $Answer {
                fn answer(answer: Result<Self, $crate::Problem>, kind: u8) -> Option<$Wire> {
                    $(if kind == <$HearerMsg as $crate::Mailbox>::KIND {
                        return Some($Wire::$Hearer(answer.into()));
                    })+
                    None
                }
                fn heard(wire: $Wire) -> Option<Result<Self, $crate::Problem>> {
                    match wire {
                        $($Wire::$Hearer($HearerMsg::$Answer(answer)) => Some(answer),)+
                        #[allow(unreachable_patterns, reason = "a system may have one mailbox")]
                        _ => None,
                    }
                }
            }
        )*
    };
}
