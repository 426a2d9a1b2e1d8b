//! Passing questions on (the steps of FGMV-29 9.1 and 9.2 that external systems take): what comes from outside is a step's message already, and an actor's sending it is the step.

/// Declares the questions that a behaviour passes on: for every answer that it hears, the questions that are
/// answered so, and to whom each goes; `own` names the step that the behaviour takes by itself before.
///
/// Makes `Waiting` (who asked, by type of question), `pass` (takes a question and asks it on) and `Heard::hear`
/// (answers whoever asked).
macro_rules! passes {
    ($Behaviour:ident { $($Answer:ident: $($Question:ident $(own $own:expr)? => $TO:expr),+;)* }) => {
        /// Who waits for an answer, by type of question.
        #[derive(Debug)]
        enum Waiting {
            $($($Question(Asker<$Question>),)+)*
        }

        /// A question that is passed on.
        trait Passed: Ask<Answer: Answers<Wire>> {
            /// Keeps the right to answer it.
            fn waiting(asker: Asker<Self>) -> Waiting
            where
                Self: Sized;
            /// Asks it on.
            fn ask_on(self, pending: PendingKey, out: &mut Out<'_, $Behaviour>);
        }

        $($(impl Passed for $Question {
            fn waiting(asker: Asker<Self>) -> Waiting {
                Waiting::$Question(asker)
            }
            fn ask_on(self, pending: PendingKey, out: &mut Out<'_, $Behaviour>) {
                $(out.own($own);)?
                out.ask($TO, self, pending);
            }
        })+)*

        /// Passes a question on. When the table is full, the question is refused and nothing is asked.
        fn pass<T: Passed>(pending: &mut Pending<Waiting>, meta: Meta, question: T, out: &mut Out<'_, $Behaviour>) {
            match pending.insert(T::waiting(meta.asker(out.event()))) {
                Ok(key) => question.ask_on(key, out),
                Err(_) => out.reply(meta.asker::<T>(out.event()), Err(crate::settings::pending_full())),
            }
        }

        /// An answer to questions that were passed on.
        trait Heard: Sized {
            /// Answers the one who asked. An answer that nobody waits for, or that answers another type of
            /// question, is none.
            fn hear(
                pending: &mut Pending<Waiting>,
                meta: Meta,
                answer: Result<Self, Problem>,
                out: &mut Out<'_, $Behaviour>,
            );
        }

        $(impl Heard for $Answer {
            fn hear(
                pending: &mut Pending<Waiting>,
                meta: Meta,
                answer: Result<Self, Problem>,
                out: &mut Out<'_, $Behaviour>,
            ) {
                if !matches!(pending.get_mut(meta.pending), Some($(Waiting::$Question(_))|+)) {
                    return;
                }
                match pending.take(meta.pending) {
                    $(Some(Waiting::$Question(asker)) => out.reply(asker, answer),)+
                    _ => {}
                }
            }
        })*
    };
}
pub(crate) use passes;
