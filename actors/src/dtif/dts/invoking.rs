//! Actions (FGMV-29 8.3.4; as 9.2 steps 15 to 18), and how long what is wanted is wanted.

use std::sync::Arc;

use twinway_protocol::{
    InvocationId, Meta, Out, PendingKey, Problem, ProblemKind,
    message::{
        ActionBegan, ActionCall, ActionInvoked, ApplyChange, ChangeTerms, DTAC, Errand, InvokeAction, PropertyValues,
        VerifyAction,
    },
    time::Timestamp,
};

use super::{Asking, Dts, Stage, Waiting, blank, refuse};
use crate::settings::pending_full;

impl Dts {
    /// Until when something is wanted: never longer than `ms_max`.
    pub(super) fn deadline(
        &self,
        terms: ChangeTerms,
        ms_max: u64,
        out: &Out<'_, Self>,
    ) -> Result<Option<Timestamp>, Problem> {
        match terms.within_ms {
            None => Ok(None),
            Some(ms) if ms > 0 && u64::from(ms) <= ms_max => Ok(Some(out.now().wall.plus_ms(u64::from(ms)))),
            Some(ms) => {
                let detail = format!("`deadlineMs` is from 1 to {ms_max}, and not {ms}");
                Err(Problem::new(ProblemKind::InvalidQuery, detail))
            }
        }
    }

    /// As FGMV-29 9.2 steps 15 and 16: a wanted action is verified first.
    pub(super) fn invoke(&mut self, meta: &Meta, wanted: InvokeAction, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<InvokeAction>(out.event());
        let longest = out.now().wall.plus_ms(self.action_ms_max);
        let named = InvocationId::new(format!("inv-{:016x}", out.chance()));
        let invocation = named.map_err(|error| Problem::new(ProblemKind::Internal, error.to_string()));
        let deadline = self.deadline(wanted.terms, self.action_ms_max, out);
        let (not_after, invocation) = match (deadline, invocation) {
            (Ok(not_after), Ok(invocation)) => (not_after.unwrap_or(longest), invocation),
            (Err(problem), _) | (_, Err(problem)) => return out.reply(asker, Err(problem)),
        };
        let InvokeAction { metaverse, user, twin, what, token, terms } = wanted;
        let verify =
            VerifyAction { metaverse: metaverse.clone(), user: user.clone(), twin: twin.clone(), what: what.clone() };
        let action = Some(ActionCall { invocation, what: *what, began: PendingKey::NONE });
        let wanted = Box::new(ApplyChange {
            values: Arc::new(PropertyValues::new()),
            token,
            not_after: Some(not_after),
            errand: Some(Box::new(Errand { expects: terms.expects, action })),
            ..blank(metaverse, user, twin)
        });
        let asker = Asking::Action(Some(asker));
        match self.waiting.insert(Waiting::Change { asker, wanted, at: Stage::Verifying }) {
            Ok(key) => {
                // By this key the twin says that it began.
                if let Some(Waiting::Change { wanted, .. }) = self.waiting.get_mut(key)
                    && let Some(call) = wanted.errand.as_mut().and_then(|errand| errand.action.as_mut())
                {
                    call.began = key;
                }
                out.ask(DTAC, verify, key);
            }
            Err(waiting) => refuse(waiting, pending_full(), out),
        }
    }

    /// The action is on its way. Its lease, if it was taken for it, ends when it ends.
    pub(super) fn began(&mut self, began: ActionBegan, out: &mut Out<'_, Self>) {
        let ActionBegan { began, invocation } = began;
        if let Some(Waiting::Change { asker: Asking::Action(asker), .. }) = self.waiting.get_mut(began)
            && let Some(asker) = asker.take()
        {
            out.reply(asker, Ok(ActionInvoked { invocation }));
        }
    }
}
