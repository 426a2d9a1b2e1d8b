//! Which instance of a chain an event belongs to: it goes on with what its parents belong to, or begins another.

use super::{
    Flow, Place, Rule, Taken,
    instance::InstanceId,
    judge::{Given, Marks, Verdicts},
    window::Kept,
};

impl Verdicts {
    /// Takes a parent's instances over.
    pub(super) fn belong(&mut self, flow: &Flow, given: &mut Given, taken: Taken, parent: &Marks, is_joined: bool) {
        let (first, second) = match parent.own_instance {
            0 => (parent.instance, parent.also),
            own => (own, parent.instance),
        };
        let (first, second) = (self.instances.known(first), self.instances.known(second));
        if first != 0 {
            self.offer(flow, given, taken, first, is_joined);
        }
        if second != 0 && second != first {
            self.offer_also(flow, given, taken, second);
        }
    }

    /// A step is of the instance of its chain, and of one of two that both wait for it: these become one.
    fn offer(&mut self, flow: &Flow, given: &mut Given, taken: Taken, instance: InstanceId, is_joined: bool) {
        // What a turn takes up again says what it goes on with, and not what made it do so.
        if instance != given.fallback {
            let old = given.fallback;
            if old == 0 || is_joined {
                (given.fallback, given.also) = (instance, old);
            } else if given.also == 0 {
                given.also = instance;
            }
        }
        let Some((rule, place)) = self.rule(flow, taken, instance) else { return };
        let other = given.instance;
        if instance == other {
            return;
        }
        // One that is not where this step comes next only made way for it; a step that may come again is of both.
        given.instance = match (self.awaits(other, rule, place), self.awaits(instance, rule, place)) {
            _ if other == 0 => instance,
            _ if rule.repeated => self.instances.merge(other, instance),
            (true, true) => self.instances.merge(other, instance),
            (false, true) => instance,
            (_, false) => other,
        };
    }

    /// What else a parent belongs to counts if the first has this step already.
    fn offer_also(&mut self, flow: &Flow, given: &mut Given, taken: Taken, instance: InstanceId) {
        if given.also == 0 && instance != given.fallback {
            given.also = instance;
        }
        let Some((rule, place)) = self.rule(flow, taken, instance) else { return };
        let has_it = self.instances.get(given.instance).is_some_and(|first| first.took(place.number));
        if given.instance == 0 || (has_it && !rule.repeated && self.awaits(instance, rule, place)) {
            given.instance = instance;
        }
    }

    /// The rule of a step, and its place, if the instance is of its chain.
    fn rule<'f>(&self, flow: &'f Flow, taken: Taken, instance: InstanceId) -> Option<(&'f Rule, Place)> {
        let Taken::Hop { place, .. } = taken else { return None };
        let rule = flow.rules.get(usize::from(place.step))?;
        (self.instances.chain(instance) == Some(rule.chain)).then_some((rule, place))
    }

    fn awaits(&mut self, id: InstanceId, rule: &Rule, place: Place) -> bool {
        self.instances.get(id).is_some_and(|instance| instance.awaits(rule, place.number))
    }

    /// The instance that a step belongs to; a step that nothing must cause begins one.
    pub(super) fn instance(
        &mut self,
        flow: &Flow,
        kept: &Kept,
        known: InstanceId,
        rule: &Rule,
        place: Place,
    ) -> InstanceId {
        if !rule.opens {
            return known;
        }
        let goes_on = self.instances.get(known).is_some_and(|instance| rule.repeated || !instance.took(place.number));
        if goes_on {
            return known;
        }
        self.report.instances += 1;
        let (instance, incomplete) = self.instances.begin(flow, rule.chain, kept.id, kept.place);
        self.report.forgotten_instances += u64::from(incomplete);
        instance
    }
}
