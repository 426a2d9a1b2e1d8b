//! What the lists of planted bugs share: one switch a thread, and that there is none in a build without the feature.

/// Makes an enum of bugs that tests can plant, with `ALL` of them in their order, and beside it `broken`, which asks for
/// one. With the feature `mutations` of the crate that says this, `set` plants one of them on the thread; without it
/// nothing can, and `broken` is a constant.
#[macro_export]
macro_rules! mutations {
    ($(#[$about:meta])* pub enum $Mutation:ident { $($(#[$what:meta])* $Bug:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $Mutation {
            $($(#[$what])* $Bug,)*
        }

        impl $Mutation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$Bug,)*];
        }

        #[cfg(feature = "mutations")]
        mod switch {
            use std::cell::Cell;

            use super::$Mutation;

            thread_local! {
                static BROKEN: Cell<Option<$Mutation>> = const { Cell::new(None) };
            }

            /// Plants a bug on this thread, or mends all.
            pub fn set(mutation: Option<$Mutation>) {
                BROKEN.set(mutation);
            }

            /// Whether the bug is planted on this thread.
            #[must_use]
            pub fn broken(mutation: $Mutation) -> bool {
                BROKEN.get() == Some(mutation)
            }
        }

        #[cfg(feature = "mutations")]
        pub use switch::{broken, set};

        /// Whether the bug is planted: never, in this build.
        #[cfg(not(feature = "mutations"))]
        #[inline(always)]
        #[must_use]
        pub const fn broken(_mutation: $Mutation) -> bool {
            false
        }
    };
}
