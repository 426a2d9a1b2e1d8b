//! Actions that a digital twin system carries out (as FGMV-29 9.2 steps 17 and 18).

use twinway_protocol::{
    Meta, Out, Ref,
    message::{ActionEnded, CarryOutAction, EmitTwinEvent, OutsideAnswer, PropertyValues, ReportAction, TwinMsg},
};

use super::{DigitalTwinSystem, Waiting, not_listed};

impl DigitalTwinSystem {
    /// An action leaves for the twin system, which answers when it has ended.
    pub(super) fn carry_out(&mut self, meta: &Meta, question: CarryOutAction, out: &mut Out<'_, Self>) {
        let invocation = question.0.invocation.clone();
        let left_ms = question.0.not_after.unix_ms().saturating_sub(out.now().wall.unix_ms());
        // Its answer may come a little after its end.
        let answer_ms = left_ms.saturating_add(self.shown_ms_max);
        let asker = meta.asker::<CarryOutAction>(out.event());
        let request = self.outside.ask_for(answer_ms, asker, question, out);
        let outside = &self.outside;
        self.actions.retain(|_, request| outside.is_waiting(*request));
        if let Some(request) = request {
            self.actions.insert(invocation, request);
        }
    }

    /// FGMV-29 8.3.4: an event of one of its twins.
    pub(super) fn emit(&mut self, meta: &Meta, event: EmitTwinEvent, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<EmitTwinEvent>(out.event());
        let Some(entity) = self.twins.get(&event.twin).map(|listed| listed.entity) else {
            return out.reply(asker, Err(not_listed(&event.twin)));
        };
        match self.waiting.insert(Waiting::Emitting(asker)) {
            Ok(key) => out.ask(entity, event, key),
            Err(waiting) => Self::refuse(waiting, out),
        }
    }

    /// The twin system says how far an action has come. That it has ended is the answer to the request, as well as it may
    /// say so; of an action from before a restart nobody knows the request any more, and the twin is told.
    pub(super) fn report_action(&mut self, meta: &Meta, report: ReportAction, out: &mut Out<'_, Self>) {
        let asker = meta.asker::<ReportAction>(out.event());
        let Some(listed) = self.twins.get(&report.twin) else {
            return out.reply(asker, Err(not_listed(&report.twin)));
        };
        let entity: Ref<TwinMsg> = listed.entity;
        if report.report.state.is_end()
            && let Some(request) = self.actions.remove(&report.invocation)
        {
            let said = report.report.clone();
            let (state, output, detail) = (said.state, said.output, said.detail);
            let ended = ActionEnded { state, output, detail, values: PropertyValues::new(), seen: None };
            self.outside.settle(request, OutsideAnswer::InvokeAction(ended), out);
        }
        match self.waiting.insert(Waiting::ReportingAction(asker)) {
            Ok(key) => out.ask(entity, report, key),
            Err(waiting) => Self::refuse(waiting, out),
        }
    }
}
