//! Which instance of a chain an event belongs to: it goes on with what its parents belong to, or begins another.

use super::{Checker, Place, Rule, Taken, checker::Frame, kept::Kept};
use crate::EventId;

impl Checker {
    /// Takes a parent's instances over.
    pub(super) fn belong(&mut self, frame: &mut Frame, kept: &Kept, parent: &Kept) {
        let (first, second) = match parent.own_instance {
            0 => (parent.instance, parent.also),
            own => (own, parent.instance),
        };
        let (first, second) = (self.instances.known(first), self.instances.known(second));
        if first != 0 {
            self.offer(frame, kept, first);
        }
        if second != 0 && second != first {
            self.offer_also(frame, kept, second);
        }
    }

    /// A step is of the instance of its chain, and of one of two that both wait for it: these become one.
    fn offer(&mut self, frame: &mut Frame, kept: &Kept, instance: u32) {
        // What a turn takes up again says what it goes on with, and not what made it do so.
        if instance != frame.fallback {
            let old = frame.fallback;
            if old == 0 || frame.next > 1 {
                (frame.fallback, frame.also) = (instance, old);
            } else if frame.also == 0 {
                frame.also = instance;
            }
        }
        let flow = std::sync::Arc::clone(&self.flow);
        let Some((rule, place)) = self.rule(&flow, kept, instance) else { return };
        let other = frame.instance;
        if instance == other {
            return;
        }
        // One that is not where this step comes next only made way for it; a step that may come again is of both.
        frame.instance = match (self.awaits(other, rule, place), self.awaits(instance, rule, place)) {
            _ if other == 0 => instance,
            _ if rule.repeated => self.instances.merge(other, instance),
            (true, true) => self.instances.merge(other, instance),
            (false, true) => instance,
            (_, false) => other,
        };
    }

    /// What else a parent belongs to counts if the first has this step already.
    fn offer_also(&mut self, frame: &mut Frame, kept: &Kept, instance: u32) {
        if frame.also == 0 && instance != frame.fallback {
            frame.also = instance;
        }
        let flow = std::sync::Arc::clone(&self.flow);
        let Some((rule, place)) = self.rule(&flow, kept, instance) else { return };
        let has_it = self.instances.get(frame.instance).is_some_and(|first| first.took(place.number));
        if frame.instance == 0 || (has_it && !rule.repeated && self.awaits(instance, rule, place)) {
            frame.instance = instance;
        }
    }

    /// The rule of a step, and its place, if the instance is of its chain.
    fn rule<'f>(&self, flow: &'f super::Flow, kept: &Kept, instance: u32) -> Option<(&'f Rule, Place)> {
        let Taken::Hop { place, .. } = kept.taken else { return None };
        let rule = flow.rules.get(usize::from(place.step))?;
        (self.instances.chain(instance) == Some(rule.chain)).then_some((rule, place))
    }

    fn awaits(&mut self, id: u32, rule: &Rule, place: Place) -> bool {
        self.instances.get(id).is_some_and(|instance| instance.awaits(rule, place.number))
    }

    /// The instance that a step belongs to; a step that nothing must cause begins one.
    pub(super) fn instance(&mut self, kept: &Kept, known: u32, rule: &Rule, place: Place) -> u32 {
        if !rule.opens {
            return known;
        }
        let goes_on = self.instances.get(known).is_some_and(|instance| rule.repeated || !instance.took(place.number));
        if goes_on {
            return known;
        }
        self.report.instances += 1;
        let began = EventId::from_bits(kept.id);
        let (instance, incomplete) = self.instances.begin(&self.flow, rule.chain, began, kept.place);
        self.report.forgotten_instances += u64::from(incomplete);
        instance
    }
}
